//! Resumable uploads: the tus protocol 1.0.0 with creation, creation-with-upload, expiration, checksum and termination.
//!
//! The request that completes a file replies with the outcome of its upload, and so does every later request.

mod headers;

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, ResponseError,
    dev::HttpServiceFactory,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    middleware::DefaultHeaders,
    web::{self, Data, Path, Payload},
};
use futures_util::StreamExt;
use serde_json::Value;

use super::{
    Context,
    access_log::RequestLog,
    auth::Caller,
    body::{self, BodyTimes},
    endpoint::Endpoint,
    params::id,
    places,
    problem::{Code, Problem},
    reply::TransferReply,
    uploads,
};
use crate::{
    model::{TransferId, TransferOutcome, transfer},
    query,
    transfer::{Append, Checksum, TransferError, TransferProgress},
};
use headers::{CHUNK_TYPE, TusHeaders, VERSION};

const EXTENSIONS: &str = "creation,creation-with-upload,expiration,checksum,termination";
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// Longest problem that is stored with its rejected rows; a longer one is stored without them.
const MAX_REFUSAL_BYTES: usize = 256 << 10;

/// The routes of `/uploads/tus`.
pub(super) fn routes() -> impl HttpServiceFactory {
    let version = DefaultHeaders::new()
        .add(("Tus-Resumable", VERSION))
        .add(("Tus-Version", VERSION));
    let uploads = Endpoint::new("")
        .on(Method::OPTIONS, options)
        .on(Method::POST, create);
    let upload = Endpoint::new("/{id}")
        .on(Method::OPTIONS, options)
        .on(Method::GET, show)
        .on(Method::HEAD, resume)
        .on(Method::PATCH, append)
        .on(Method::DELETE, terminate)
        .on(Method::POST, override_method);
    web::scope("/uploads/tus")
        .wrap(version)
        .service(uploads)
        .service(upload)
}

/// `OPTIONS /uploads/tus`, `OPTIONS /uploads/tus/{id}`: returns the extensions and limits of the server.
async fn options(context: Data<Context>) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(("Tus-Max-Size", context.limits.body.to_string()))
        .insert_header(("Tus-Extension", EXTENSIONS))
        .insert_header(("Tus-Checksum-Algorithm", Checksum::ALGORITHMS))
        .finish()
}

/// `POST /uploads/tus`: creates an upload, with its first bytes if the request has a body.
async fn create(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let log = RequestLog::begin(&context, &caller);
    let headers = TusHeaders::of(&request)?;
    let length = headers.length()?;
    check_length(&context, length)?;
    let options = headers.options()?;
    uploads::check_rate(&context, &caller).await?;
    // Before anything is stored: a refusal stores nothing.
    let _place = headers
        .has_chunk()
        .then(|| places::upload(&context, &caller))
        .transpose()?;
    let sender = caller.address.map(transfer::sender);
    let mut progress = context.transfers.open(length, options, sender).await?;
    let location = format!("/uploads/tus/{}", progress.transfer.id);
    let mut reply = HttpResponse::Created();
    if headers.has_chunk() {
        let id = progress.transfer.id;
        let append = context
            .transfers
            .begin_append(id, headers.append_request(0)?);
        let append = append.await?;
        progress = match append_body(&context, append, payload).await {
            Ok(progress) => progress,
            Err(why) => {
                let mut refused = with_offset(&context, id, why).await;
                let headers = refused.headers_mut();
                headers.insert(header::LOCATION, ascii(&location));
                return Ok(refused);
            }
        };
        if progress.is_complete()
            && let Some(refused) = conclude(&context, &progress, &mut reply, &log).await?
        {
            return Ok(refused);
        }
    }
    Ok(insert_progress(&mut reply, &progress)
        .insert_header((header::LOCATION, location))
        .finish())
}

fn check_length(context: &Context, length: u64) -> Result<(), Problem> {
    let limit = context.limits.body;
    if length <= limit {
        return Ok(());
    }
    let why = format!(
        "the file has {length} bytes, the limit is {limit}: split it, or raise BODY_LIMIT_BYTES"
    );
    Err(Problem::new(Code::TooLarge, why).limit(limit, "BODY_LIMIT_BYTES"))
}

/// `PATCH /uploads/tus/{id}`: appends the body to an upload.
async fn append(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let log = RequestLog::begin(&context, &caller);
    let headers = TusHeaders::of(&request)?;
    let id: TransferId = id(&path)?;
    if !headers.has_chunk() {
        let why = format!("the bytes of an upload are sent as `{CHUNK_TYPE}`");
        return Err(Problem::new(Code::UnsupportedType, why));
    }
    let append = headers.append_request(headers.offset()?)?;
    uploads::check_append_rate(&context, &caller).await?;
    // Offset and length before the place: a request that can't be appended holds none.
    let append = match context.transfers.begin_append(id, append).await {
        Ok(append) => append,
        Err(why) => return Ok(with_offset(&context, id, why.into()).await),
    };
    let _place = places::upload(&context, &caller)?;
    let progress = match append_body(&context, append, payload).await {
        Ok(progress) => progress,
        Err(why) => return Ok(with_offset(&context, id, why).await),
    };
    progress_reply(&context, &progress, HttpResponse::NoContent(), &log).await
}

/// `HEAD /uploads/tus/{id}`: returns the offset at which the client resumes.
async fn resume(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let log = RequestLog::begin(&context, &caller);
    TusHeaders::of(&request)?;
    let progress = context.transfers.progress(id(&path)?).await?;
    // The process that received the last byte may have stopped before the batch was stored.
    let is_unfinished = progress.is_complete() && progress.transfer.outcome.is_none();
    let _place = is_unfinished
        .then(|| places::upload(&context, &caller))
        .transpose()?;
    progress_reply(&context, &progress, HttpResponse::Ok(), &log).await
}

/// `DELETE /uploads/tus/{id}`: deletes an incomplete upload.
async fn terminate(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    TusHeaders::of(&request)?;
    let id: TransferId = id(&path)?;
    let log = RequestLog::begin(&context, &caller);
    let ended = context.transfers.terminate(id).await;
    let reply = ended
        .map(|()| HttpResponse::NoContent().finish())
        .map_err(Problem::from);
    log.request("terminate upload", &id, &reply);
    reply
}

/// `POST /uploads/tus/{id}`: acts as the method in `X-HTTP-Method-Override`, for clients limited to POST.
async fn override_method(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let method = request.headers().get("x-http-method-override");
    match method.map(HeaderValue::as_bytes) {
        Some(b"PATCH") => append(context, request, caller, path, payload).await,
        Some(b"DELETE") => terminate(context, request, caller, path).await,
        Some(b"HEAD") => resume(context, request, caller, path).await,
        Some(_) | None => {
            let why = "POST to an upload needs `X-HTTP-Method-Override` with PATCH, DELETE or HEAD";
            Err(Problem::new(Code::BadUpload, why))
        }
    }
}

/// `GET /uploads/tus/{id}`: returns the progress of an upload and its outcome as JSON. Not part of tus.
async fn show(context: Data<Context>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let progress = context.transfers.progress(id(&path)?).await?;
    let batch = match &progress.transfer.outcome {
        Some(TransferOutcome::Refused { reply }) => return Ok(refusal(reply)),
        Some(TransferOutcome::Stored { batch } | TransferOutcome::Duplicate { batch }) => {
            Some(*batch)
        }
        Some(TransferOutcome::Terminated) | None => None,
    };
    Ok(HttpResponse::Ok().json(TransferReply::new(&progress, batch)))
}

/// Appends the body of a request. After a fault the rest is drained, so that the client reads the reply.
async fn append_body(
    context: &Context,
    append: Append<'_>,
    payload: Payload,
) -> Result<TransferProgress, Problem> {
    let mut body = std::pin::pin!(body::raw(payload, BodyTimes::of(context)).fuse());
    let appended = append.body(body.as_mut()).await;
    if appended.is_err() {
        body::drain(body).await;
    }
    Ok(appended?)
}

/// Converts a problem to a reply with the offset of the upload, since bytes received before the fault are stored.
async fn with_offset(context: &Context, id: TransferId, why: Problem) -> HttpResponse {
    let mut refused = why.error_response();
    if let Ok(progress) = context.transfers.progress(id).await {
        let end = ascii(&progress.end.to_string());
        refused.headers_mut().insert(UPLOAD_OFFSET, end);
    }
    refused
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("numbers and ids are ASCII")
}

/// Completes a reply with the progress of an upload, and with its outcome if the file is complete.
async fn progress_reply(
    context: &Context,
    progress: &TransferProgress,
    mut reply: HttpResponseBuilder,
    log: &RequestLog<'_>,
) -> Result<HttpResponse, Problem> {
    if progress.is_complete()
        && let Some(refused) = conclude(context, progress, &mut reply, log).await?
    {
        return Ok(refused);
    }
    Ok(insert_progress(&mut reply, progress).finish())
}

fn insert_progress<'a>(
    reply: &'a mut HttpResponseBuilder,
    progress: &TransferProgress,
) -> &'a mut HttpResponseBuilder {
    let expires = progress.expires_at();
    reply
        .insert_header(("Upload-Offset", progress.end.to_string()))
        .insert_header(("Upload-Length", progress.transfer.length.to_string()))
        .insert_header(("Upload-Expires", headers::http_date(expires)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
}

/// Ingests a complete file and inserts the outcome into the reply. Returns another reply if the file is refused.
async fn conclude(
    context: &Context,
    progress: &TransferProgress,
    reply: &mut HttpResponseBuilder,
    log: &RequestLog<'_>,
) -> Result<Option<HttpResponse>, Problem> {
    let id = progress.transfer.id;
    let is_first = progress.transfer.outcome.is_none();
    let outcome = match context.transfers.complete(progress).await {
        Err(TransferError::Ingest(why)) if why.is_of_file() => {
            let problem = Problem::from(why);
            log.upload_refused(&problem);
            let reply = problem.text(MAX_REFUSAL_BYTES);
            let refused = TransferOutcome::Refused { reply };
            context.transfers.settle(id, &refused).await?;
            refused
        }
        Err(why) => {
            let problem = Problem::from(why);
            log.upload_refused(&problem);
            return Err(problem);
        }
        Ok(outcome) => outcome,
    };
    if is_first {
        log_stored(context, &outcome, log).await;
    }
    match outcome {
        TransferOutcome::Stored { batch } => {
            reply.insert_header(("Batch-Location", format!("/batches/{batch}")));
        }
        TransferOutcome::Duplicate { batch } => {
            reply.insert_header(("Batch-Location", format!("/batches/{batch}")));
            reply.insert_header(("Duplicate-Of", batch.to_string()));
        }
        TransferOutcome::Refused { reply } => return Ok(Some(refusal(&reply))),
        TransferOutcome::Terminated => return Err(TransferError::Missing(id).into()),
    }
    Ok(None)
}

/// Logs the outcome of a file as the log has it of a file sent at once.
async fn log_stored(context: &Context, outcome: &TransferOutcome, log: &RequestLog<'_>) {
    match outcome {
        TransferOutcome::Stored { batch } => {
            // Only the line lacks the counts if the batch can't be read.
            let stored = query::visible(context.store.as_ref(), *batch).await;
            let receipt = stored.ok().flatten().and_then(|batch| batch.receipt);
            log.upload("stored", Some(*batch), receipt.as_ref());
        }
        TransferOutcome::Duplicate { batch } => log.upload("is a duplicate", Some(*batch), None),
        TransferOutcome::Refused { .. } | TransferOutcome::Terminated => {}
    }
}

/// Repeats the stored problem of a refused file.
fn refusal(problem: &str) -> HttpResponse {
    let status = serde_json::from_str::<Value>(problem)
        .ok()
        .and_then(|body| u16::try_from(body.get("status")?.as_u64()?).ok())
        .and_then(|status| StatusCode::from_u16(status).ok());
    HttpResponse::build(status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY))
        .content_type("application/problem+json")
        .body(problem.to_owned())
}
