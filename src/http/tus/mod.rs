//! Resumable uploads: the tus protocol 1.0.0, with creation, creation-with-upload, expiration, checksum and termination.
//! The request that completes a file answers for what became of it; so does every later one.

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
    Context, body, client,
    params::id,
    problem::{Code, Problem},
    reply::TransferReply,
    uploads,
};
use crate::{
    ingest::IngestError,
    model::{TransferId, TransferOutcome, transfer},
    transfer::{Checksum, Piece, Progress, TransferError},
};
use headers::{CHUNK_TYPE, Headers, VERSION};

const EXTENSIONS: &str = "creation,creation-with-upload,expiration,checksum,termination";
const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// Longest refusal that is kept whole: one with long rows is kept without them.
const REFUSAL_BYTES: usize = 256 << 10;

/// The routes below `/uploads/tus`.
pub(super) fn routes() -> impl HttpServiceFactory {
    let said = DefaultHeaders::new()
        .add(("Tus-Resumable", VERSION))
        .add(("Tus-Version", VERSION));
    web::scope("/uploads/tus")
        .wrap(said)
        .route("", web::method(Method::OPTIONS).to(abilities))
        .route("", web::post().to(create))
        .route("/{id}", web::method(Method::OPTIONS).to(abilities))
        .route("/{id}", web::get().to(show))
        .route("/{id}", web::head().to(resume))
        .route("/{id}", web::patch().to(append))
        .route("/{id}", web::delete().to(terminate))
        .route("/{id}", web::post().to(overridden))
}

async fn abilities(at: Data<Context>) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(("Tus-Max-Size", at.limits.body.to_string()))
        .insert_header(("Tus-Extension", EXTENSIONS))
        .insert_header(("Tus-Checksum-Algorithm", Checksum::ALGORITHMS))
        .finish()
}

async fn create(
    at: Data<Context>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let said = Headers::of(&request)?;
    let length = said.length()?;
    if length > at.limits.body {
        let why = format!(
            "the file has {length} bytes, the limit is {}: split it, or raise BODY_LIMIT_BYTES",
            at.limits.body
        );
        return Err(Problem::new(Code::TooLarge, why).limit(at.limits.body, "BODY_LIMIT_BYTES"));
    }
    let options = said.options()?;
    uploads::check_rate(&at, &request).await?;
    let sender = client::address(&request, &at.trusted_proxies).map(transfer::sender);
    let mut progress = at.transfers.open(length, options, sender).await?;
    let location = format!("/uploads/tus/{}", progress.transfer.id);
    let mut reply = HttpResponse::Created();
    if said.has_chunk() {
        let _place = uploads::place(&at)?;
        let id = progress.transfer.id;
        progress = match take(&at, id, said.piece(0)?, payload).await {
            Ok(progress) => progress,
            Err(why) => {
                let mut refused = with_offset(&at, id, why).await;
                let headers = refused.headers_mut();
                headers.insert(header::LOCATION, text(&location));
                return Ok(refused);
            }
        };
        if progress.is_whole()
            && let Some(refused) = conclude(&at, &progress, &mut reply).await?
        {
            return Ok(refused);
        }
    }
    Ok(tell(&mut reply, &progress)
        .insert_header((header::LOCATION, location))
        .finish())
}

async fn append(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let said = Headers::of(&request)?;
    let id: TransferId = id(&path)?;
    if !said.has_chunk() {
        let why = format!("the bytes of an upload are sent as `{CHUNK_TYPE}`");
        return Err(Problem::new(Code::UnsupportedType, why));
    }
    let piece = said.piece(said.offset()?)?;
    let _place = uploads::place(&at)?;
    let progress = match take(&at, id, piece, payload).await {
        Ok(progress) => progress,
        Err(why) => return Ok(with_offset(&at, id, why).await),
    };
    state(&at, &progress, HttpResponse::NoContent()).await
}

async fn resume(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    Headers::of(&request)?;
    let progress = at.transfers.progress(id(&path)?).await?;
    // Whoever completed it may have died before it was stored.
    let left = progress.is_whole() && progress.transfer.outcome.is_none();
    let _place = left.then(|| uploads::place(&at)).transpose()?;
    state(&at, &progress, HttpResponse::Ok()).await
}

async fn terminate(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    Headers::of(&request)?;
    at.transfers.give_up(id(&path)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// For clients that can send nothing but POST.
async fn overridden(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let meant = request.headers().get("x-http-method-override");
    match meant.map(header::HeaderValue::as_bytes) {
        Some(b"PATCH") => append(at, request, path, payload).await,
        Some(b"DELETE") => terminate(at, request, path).await,
        Some(b"HEAD") => resume(at, request, path).await,
        Some(_) | None => {
            let why = "POST to an upload needs `X-HTTP-Method-Override` with PATCH, DELETE or HEAD";
            Err(Problem::new(Code::BadUpload, why))
        }
    }
}

/// The same for people, and for what a HEAD can't say.
async fn show(at: Data<Context>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let progress = at.transfers.progress(id(&path)?).await?;
    let batch = match &progress.transfer.outcome {
        Some(TransferOutcome::Refused { reply }) => return Ok(refusal(reply)),
        Some(TransferOutcome::Stored { batch } | TransferOutcome::Duplicate { batch }) => {
            Some(*batch)
        }
        Some(TransferOutcome::Terminated) | None => None,
    };
    Ok(HttpResponse::Ok().json(TransferReply::new(&progress, batch)))
}

/// Appends the body of a request; reads on after a fault, so that its sender gets to see why.
async fn take(
    at: &Context,
    id: TransferId,
    piece: Piece,
    payload: Payload,
) -> Result<Progress, Problem> {
    let mut body = std::pin::pin!(body::raw(payload, at.limits.body_idle).fuse());
    let chunks = body.as_mut().map(|chunk| {
        chunk.map_err(|_| {
            let why = "the body broke off or was too slow: HEAD tells how much of it is here";
            IngestError::Body(why.into())
        })
    });
    let taken = at.transfers.append(id, piece, chunks).await;
    if taken.is_err() {
        body::drain(body).await;
    }
    Ok(taken?)
}

/// A refusal that says how much of the upload is here: what arrived before it is kept.
async fn with_offset(at: &Context, id: TransferId, why: Problem) -> HttpResponse {
    let mut refused = why.error_response();
    if let Ok(progress) = at.transfers.progress(id).await {
        let end = text(&progress.end.to_string());
        refused.headers_mut().insert(UPLOAD_OFFSET, end);
    }
    refused
}

fn text(plain: &str) -> HeaderValue {
    HeaderValue::from_str(plain).expect("numbers and ids are ASCII")
}

/// Where an upload stands, and if it is whole what it came to.
async fn state(
    at: &Context,
    progress: &Progress,
    mut reply: HttpResponseBuilder,
) -> Result<HttpResponse, Problem> {
    if progress.is_whole()
        && let Some(refused) = conclude(at, progress, &mut reply).await?
    {
        return Ok(refused);
    }
    Ok(tell(&mut reply, progress).finish())
}

fn tell<'a>(
    reply: &'a mut HttpResponseBuilder,
    progress: &Progress,
) -> &'a mut HttpResponseBuilder {
    let expires = progress.expires_at();
    reply
        .insert_header(("Upload-Offset", progress.end.to_string()))
        .insert_header(("Upload-Length", progress.transfer.length.to_string()))
        .insert_header(("Upload-Expires", headers::http_date(expires)))
        .insert_header((header::CACHE_CONTROL, "no-store"))
}

/// Says in the reply what the file came to; gives another reply if it is refused.
async fn conclude(
    at: &Context,
    progress: &Progress,
    reply: &mut HttpResponseBuilder,
) -> Result<Option<HttpResponse>, Problem> {
    let outcome = match at.transfers.conclude(progress).await {
        Err(TransferError::Ingest(why)) if why.is_of_file() => {
            let reply = Problem::from(why).text(REFUSAL_BYTES);
            let refused = TransferOutcome::Refused { reply };
            at.transfers.settle(progress.transfer.id, &refused).await?;
            refused
        }
        outcome => outcome?,
    };
    match outcome {
        TransferOutcome::Stored { batch } => {
            reply.insert_header(("Batch-Location", format!("/batches/{batch}")));
        }
        TransferOutcome::Duplicate { batch } => {
            reply.insert_header(("Batch-Location", format!("/batches/{batch}")));
            reply.insert_header(("Duplicate-Of", batch.to_string()));
        }
        TransferOutcome::Refused { reply } => return Ok(Some(refusal(&reply))),
        TransferOutcome::Terminated => {
            return Err(TransferError::Missing(progress.transfer.id).into());
        }
    }
    Ok(None)
}

/// The reply that a refused file had, again.
fn refusal(reply: &str) -> HttpResponse {
    let status = serde_json::from_str::<Value>(reply)
        .ok()
        .and_then(|body| u16::try_from(body.get("status")?.as_u64()?).ok())
        .and_then(|status| StatusCode::from_u16(status).ok());
    HttpResponse::build(status.unwrap_or(StatusCode::UNPROCESSABLE_ENTITY))
        .content_type("application/problem+json")
        .body(reply.to_owned())
}
