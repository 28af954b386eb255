//! Uploads: a form with one file, or the raw body.

use actix_multipart::Multipart;
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Payload, Query},
};
use futures_util::{Stream, StreamExt};
use std::{cell::RefCell, rc::Rc};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    Context,
    auth::Caller,
    batches,
    body::{self, BodyFault, Form},
    idempotency,
    problem::{Code, Problem},
    reply::{BatchWithErrors, DryRunReply, UploadReply},
};
use crate::{
    ingest::{Accepted, DryRun, Kept, UploadOptions},
    model::{BatchId, RequestKey},
    query,
    receive::Packing,
};

/// Types of a raw body that may be CSV.
const RAW_TYPES: [&str; 11] = [
    "text/csv",
    "text/tab-separated-values",
    "application/csv",
    "application/vnd.ms-excel",
    "text/plain",
    "application/octet-stream",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/zip",
    "application/x-zip-compressed",
];

/// Uploads received at once; each has two threads and some tens of megabytes.
const MAX_UPLOADS: usize = 16;

/// Returns the permits of all uploads in progress.
#[must_use]
pub fn upload_permits() -> Semaphore {
    Semaphore::new(MAX_UPLOADS)
}

pub(super) async fn create(
    at: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let options = query_options(&request)?;
    check_rate(&at, &caller).await?;
    let key = idempotency::key(&request, &caller, "POST /uploads")?;
    check_head(&at, &request)?;
    let coding = coding(&request)?;
    let _permit = permit(&at)?;
    if content_type(&request) != "multipart/form-data" {
        let mut options = at.ingest.options(options).await?;
        options.receive.coding = coding;
        return store(&at, key, options, body::raw(payload, at.limits.body_idle)).await;
    }
    if coding.is_some() {
        let why = "a form in a Content-Encoding is not taken: pack the file in it (events.csv.gz), not the form";
        return Err(Problem::new(Code::UnsupportedType, why));
    }
    let form = Multipart::from_request(&request, &mut payload.into_inner()).await;
    let form = Form::open(
        form.map_err(|why| Problem::new(Code::BadMultipart, why.to_string()))?,
        at.limits.body_idle,
    )
    .await?;
    let stated = options.into_iter().chain(form.options.iter().cloned());
    let mut options = at.ingest.options(stated.collect()).await?;
    options.file_name = options
        .file_name
        .or_else(|| UploadOptions::clean_name(form.file_name.as_deref()?));
    store(&at, key, options, form.into_file(at.limits.body_idle)).await
}

/// Acquires the permit of an upload.
pub(super) fn permit(at: &Context) -> Result<SemaphorePermit<'_>, Problem> {
    at.upload_permits.try_acquire().map_err(|_| {
        Problem::new(
            Code::Unavailable,
            format!(
                "{MAX_UPLOADS} uploads are being received at the moment: try again in a few seconds"
            ),
        )
    })
}

async fn store<S>(
    at: &Context,
    key: Option<RequestKey>,
    options: UploadOptions,
    body: S,
) -> Result<HttpResponse, Problem>
where
    S: Stream<Item = Result<Bytes, BodyFault>>,
{
    // What is left after a fault is read and thrown away, also if there is nothing left.
    let mut body = std::pin::pin!(body.fuse());
    // A fault of the form is found behind the file, within the pipeline, which knows no problems.
    let form_fault = Rc::new(RefCell::new(None));
    let noted = Rc::clone(&form_fault);
    let watched = body.as_mut().map(move |chunk| {
        chunk.map_err(|fault| match fault {
            BodyFault::Form(problem) => {
                let told = BodyFault::Broken(problem.to_string());
                *noted.borrow_mut() = Some(problem);
                told
            }
            broken @ BodyFault::Broken(_) => broken,
        })
    });
    let parent = options.parent;
    let outcome = match key {
        _ if options.dry_run => {
            let seen = at.ingest.dry_run(&options, watched).await;
            seen.map(|run| Outcome::Seen(Box::new(run)))
        }
        Some(key) => {
            let kept = at.ingest.upload_once(key, options, watched).await;
            kept.map(Outcome::Kept)
        }
        None => {
            let accepted = at.ingest.upload(options, watched).await;
            accepted.map(|accepted| Outcome::Kept(Kept::Now(accepted)))
        }
    };
    match outcome {
        Ok(Outcome::Seen(run)) => Ok(HttpResponse::Ok().json(DryRunReply::from(&*run))),
        Ok(Outcome::Kept(Kept::Now(accepted))) => reply(at, accepted, parent).await,
        Ok(Outcome::Kept(Kept::Before(accepted))) => {
            reply(at, accepted, parent).await.map(idempotency::replayed)
        }
        Err(why) => {
            let problem = form_fault.borrow_mut().take().unwrap_or_else(|| why.into());
            body::drain(body).await;
            Err(problem)
        }
    }
}

/// What became of a file.
enum Outcome {
    /// It is stored.
    Kept(Kept),
    /// It was looked at.
    Seen(Box<DryRun>),
}

async fn reply(
    at: &Context,
    accepted: Accepted,
    parent: Option<BatchId>,
) -> Result<HttpResponse, Problem> {
    match accepted {
        Accepted::New(batch) => {
            let errors = batches::receipt_errors(at, &batch).await?;
            let location = (header::LOCATION, format!("/batches/{}", batch.id));
            Ok(HttpResponse::Created()
                .insert_header(location)
                .json(UploadReply {
                    batch: BatchWithErrors::new(&batch, &errors),
                    duplicate_of: None,
                    note: None,
                }))
        }
        Accepted::DuplicateOf(id) => {
            let first = query::visible(at.store.as_ref(), id)
                .await?
                .ok_or_else(|| super::params::no_batch(id))?;
            let errors = batches::receipt_errors(at, &first).await?;
            let known = first.receipt.as_ref().and_then(|receipt| receipt.parent);
            let note = parent.filter(|parent| Some(*parent) != known).map(|parent| {
                format!(
                    "this very file was uploaded before, and not as mended rows of {parent}: nothing was changed; undo that batch and upload the file again to link them"
                )
            });
            Ok(HttpResponse::Ok().json(UploadReply {
                batch: BatchWithErrors::new(&first, &errors),
                duplicate_of: Some(id),
                note,
            }))
        }
    }
}

fn query_options(request: &HttpRequest) -> Result<Vec<(String, String)>, Problem> {
    let options = Query::<Vec<(String, String)>>::from_query(request.query_string());
    options
        .map(Query::into_inner)
        .map_err(|why| Problem::new(Code::BadOption, why.to_string()))
}

fn content_type(request: &HttpRequest) -> String {
    let value = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase()
}

/// How the body is packed for the way.
fn coding(request: &HttpRequest) -> Result<Option<Packing>, Problem> {
    let coding = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .and_then(|v| v.to_str().ok())
        .filter(|coding| !coding.eq_ignore_ascii_case("identity"));
    let Some(coding) = coding else {
        return Ok(None);
    };
    let known = Packing::of_coding(coding);
    known.map(Some).ok_or_else(|| {
        let why = format!(
            "a body in Content-Encoding `{coding}` is not taken: send the CSV as it is, or packed with gzip or zstd"
        );
        Problem::new(Code::UnsupportedType, why)
    })
}

/// Counts an upload of this client, whatever comes of it.
pub(super) async fn check_rate(at: &Context, caller: &Caller) -> Result<(), Problem> {
    let Some(address) = caller.address else {
        return Ok(());
    };
    let Err(wait) = at.upload_rate_limit.check(address).await else {
        return Ok(());
    };
    let seconds = wait.0.as_secs().max(1);
    let why = format!(
        "this address has used up its uploads: try again in {seconds} seconds (settings UPLOAD_LIMIT, UPLOAD_WINDOW_SECONDS)"
    );
    Err(Problem::new(Code::RateLimited, why)
        .after(seconds)
        .with("setting", "UPLOAD_LIMIT"))
}

/// What can be refused before a byte of the body is read.
fn check_head(at: &Context, request: &HttpRequest) -> Result<(), Problem> {
    let kind = content_type(request);
    if !kind.is_empty() && kind != "multipart/form-data" && !RAW_TYPES.contains(&kind.as_str()) {
        let types = RAW_TYPES.join(", ");
        let why = format!(
            "a body of type `{kind}` is not taken: send multipart/form-data with one file, or the CSV itself as one of {types}"
        );
        return Err(Problem::new(Code::UnsupportedType, why));
    }
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    // The boundary and the options of a form are few bytes, so the same bound holds.
    if let Some(length) = length.filter(|length| *length > at.limits.body) {
        let why = format!(
            "the body has {length} bytes, the limit is {}: split the file, or raise BODY_LIMIT_BYTES",
            at.limits.body
        );
        return Err(Problem::new(Code::TooLarge, why).limit(at.limits.body, "BODY_LIMIT_BYTES"));
    }
    Ok(())
}
