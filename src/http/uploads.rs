//! Uploads: a form with one file, or the file as the body.

use actix_multipart::Multipart;
use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Payload, Query},
};
use futures_util::{Stream, StreamExt};

use super::{
    Context,
    access_log::RequestLog,
    auth::Caller,
    batches,
    body::{self, BodyTimes, Form},
    idempotency,
    params::batch_missing,
    places,
    problem::{Code, Problem},
    reply::{BatchWithErrors, DryRunReply, UploadReply},
};
use crate::{
    ingest::{BodyError, UploadOptions, UploadOutcome},
    limit::{Place, RateLimit},
    model::{Batch, BatchId, IdempotencyKey},
    query,
    receive::Packing,
};

/// Media types of a body that may be a file.
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

/// `POST /uploads`: stores a file as a batch, and returns its receipt.
pub(super) async fn create(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let log = RequestLog::begin(&context, &caller);
    let reply = receive(&context, &request, &caller, payload, &log).await;
    if let Err(why) = &reply {
        log.upload_refused(why);
    }
    reply
}

async fn receive(
    context: &Context,
    request: &HttpRequest,
    caller: &Caller,
    payload: Payload,
    log: &RequestLog<'_>,
) -> Result<HttpResponse, Problem> {
    let options = query_options(request)?;
    check_rate(context, caller).await?;
    let key = idempotency::key(context, request, caller, "POST /uploads").await?;
    check_head(context, request)?;
    let coding = parse_coding(request)?;
    let times = BodyTimes::of(context);
    if content_type(request) != "multipart/form-data" {
        let place = places::upload(context, caller)?;
        let mut options = context.ingest.options(options).await?;
        options.receive.coding = coding;
        let body = body::raw(payload, times);
        return store(context, key, options, body, (place, log)).await;
    }
    if coding.is_some() {
        let why = "a form in a Content-Encoding is not taken: pack the file in it (events.csv.gz), not the form";
        return Err(Problem::new(Code::UnsupportedType, why));
    }
    let form = Multipart::from_request(request, &mut payload.into_inner()).await;
    let form = Form::open(
        form.map_err(|why| Problem::new(Code::BadMultipart, why.to_string()))?,
        times,
    )
    .await?;
    // Only now: a client that does not get to its file holds no place.
    let place = places::upload(context, caller)?;
    let all = options.into_iter().chain(form.options.iter().cloned());
    let mut options = context.ingest.options(all.collect()).await?;
    options.file_name = options
        .file_name
        .or_else(|| UploadOptions::clean_file_name(form.file_name.as_deref()?));
    let body = form.into_file(times);
    store(context, key, options, body, (place, log)).await
}

async fn store<S>(
    context: &Context,
    key: Option<IdempotencyKey>,
    options: UploadOptions,
    body: S,
    (place, log): (Place, &RequestLog<'_>),
) -> Result<HttpResponse, Problem>
where
    S: Stream<Item = Result<Bytes, BodyError>>,
{
    // After an error the rest of the body is read and discarded, even if nothing is left.
    let mut body = std::pin::pin!(body.fuse());
    match context.ingest.upload(&options, key, body.as_mut()).await {
        Ok(outcome) => reply(context, outcome, options.parent, log).await,
        Err(error) => {
            drop(place);
            body::drain(body).await;
            Err(error.into())
        }
    }
}

async fn reply(
    context: &Context,
    outcome: UploadOutcome,
    parent: Option<BatchId>,
    log: &RequestLog<'_>,
) -> Result<HttpResponse, Problem> {
    let (response, replayed) = match outcome {
        UploadOutcome::Stored { batch, replayed } => {
            let result = if replayed { "replayed" } else { "stored" };
            log.upload(result, Some(batch.id), batch.receipt.as_ref());
            (stored(context, &batch).await?, replayed)
        }
        UploadOutcome::Duplicate { first, replayed } => {
            (duplicate(context, first, parent, log).await?, replayed)
        }
        UploadOutcome::DryRun(run) => {
            log.upload("dry run", None, Some(&run.receipt));
            let reply = DryRunReply::from(&*run);
            (HttpResponse::Ok().json(reply), false)
        }
    };
    Ok(if replayed {
        idempotency::replayed(response)
    } else {
        response
    })
}

async fn stored(context: &Context, batch: &Batch) -> Result<HttpResponse, Problem> {
    // The batch is stored, so the reply says so even if its rejections can't be read: it has their number and a link.
    let errors = batches::receipt_errors(context, batch)
        .await
        .unwrap_or_else(|error| {
            tracing::warn!(batch.id = %batch.id, %error, "rejected rows of a new batch could not be read, its receipt lists none");
            Vec::new()
        });
    let location = (header::LOCATION, format!("/batches/{}", batch.id));
    Ok(HttpResponse::Created()
        .insert_header(location)
        .json(UploadReply {
            batch: BatchWithErrors::new(batch, &errors),
            duplicate_of: None,
            note: None,
        }))
}

async fn duplicate(
    context: &Context,
    first: BatchId,
    parent: Option<BatchId>,
    log: &RequestLog<'_>,
) -> Result<HttpResponse, Problem> {
    let batch = query::visible(context.store.as_ref(), first)
        .await?
        .ok_or_else(|| batch_missing(first))?;
    log.upload("is a duplicate", Some(first), batch.receipt.as_ref());
    let errors = batches::receipt_errors(context, &batch).await?;
    let stored_parent = batch.receipt.as_ref().and_then(|receipt| receipt.parent);
    let other_parent = parent.filter(|parent| Some(*parent) != stored_parent);
    let note = other_parent.map(|parent| {
        format!(
            "this very file was uploaded before, and not as mended rows of {parent}: nothing was changed; undo that batch and upload the file again to link them"
        )
    });
    Ok(HttpResponse::Ok().json(UploadReply {
        batch: BatchWithErrors::new(&batch, &errors),
        duplicate_of: Some(first),
        note,
    }))
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

/// Returns the compression in `Content-Encoding`, if there is one.
fn parse_coding(request: &HttpRequest) -> Result<Option<Packing>, Problem> {
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

/// Counts an upload of the caller, even if it is refused later.
pub(super) async fn check_rate(context: &Context, caller: &Caller) -> Result<(), Problem> {
    check_limit(
        &*context.upload_rate_limit,
        caller,
        "uploads",
        "UPLOAD_LIMIT",
    )
    .await
}

/// Counts an append of the caller to a resumable upload, even if it is refused later.
pub(super) async fn check_append_rate(context: &Context, caller: &Caller) -> Result<(), Problem> {
    let limit = &*context.append_rate_limit;
    check_limit(limit, caller, "appends to uploads", "UPLOAD_APPEND_LIMIT").await
}

/// Counts an act of the caller. `setting` names the limit.
pub(super) async fn check_limit(
    limit: &dyn RateLimit,
    caller: &Caller,
    acts: &str,
    setting: &str,
) -> Result<(), Problem> {
    let Some(address) = caller.address else {
        return Ok(());
    };
    let Err(wait) = limit.check(address).await else {
        return Ok(());
    };
    let seconds = wait.seconds();
    let why = format!(
        "this address has used up its {acts}: try again in {seconds} seconds (settings {setting}, UPLOAD_WINDOW_SECONDS)"
    );
    Err(Problem::new(Code::RateLimited, why)
        .after(seconds)
        .with("setting", setting))
}

/// Checks type and length before the body is read.
fn check_head(context: &Context, request: &HttpRequest) -> Result<(), Problem> {
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
    if let Some(length) = length.filter(|length| *length > context.limits.body) {
        let why = format!(
            "the body has {length} bytes, the limit is {}: split the file, or raise BODY_LIMIT_BYTES",
            context.limits.body
        );
        return Err(
            Problem::new(Code::TooLarge, why).limit(context.limits.body, "BODY_LIMIT_BYTES")
        );
    }
    Ok(())
}
