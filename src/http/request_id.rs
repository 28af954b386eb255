//! Middleware that gives each request an id: the client's own `X-Request-Id` if it is valid, else a new one. The reply
//! and all log lines of the request carry it.

use actix_web::{
    Error,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::header::{HeaderName, HeaderValue},
    middleware::Next,
};
use tracing::Instrument;
use uuid::Uuid;

const NAME: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that is accepted from a client.
const MAX_ID_BYTES: usize = 64;

pub(super) async fn assign(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let sent = request.headers().get(&NAME);
    let id = sent.filter(|id| is_valid(id)).cloned();
    let id = id.unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string()).expect("a UUID is ASCII")
    });
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), method = %request.method(), path = request.path());
    let mut reply = next.call(request).instrument(span.clone()).await?;
    reply.headers_mut().insert(NAME, id);
    span.in_scope(|| tracing::debug!(status = reply.status().as_u16(), "request handled"));
    Ok(reply)
}

/// Whether an id is short and safe to log.
fn is_valid(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    let is_safe = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=MAX_ID_BYTES).contains(&bytes.len()) && bytes.iter().all(is_safe)
}
