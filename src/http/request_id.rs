//! Every reply carries `X-Request-Id`, the client's own if it sent a sane one; log lines carry it too.

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
/// Longest id taken from a client.
const LONGEST: usize = 64;

pub(super) async fn mark(
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let id = request.headers().get(&NAME).filter(|id| sane(id)).cloned();
    let id = id.unwrap_or_else(|| {
        HeaderValue::from_str(&Uuid::now_v7().to_string()).expect("a UUID is ASCII")
    });
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), method = %request.method(), path = request.path());
    let mut reply = next.call(request).instrument(span.clone()).await?;
    reply.headers_mut().insert(NAME, id);
    span.in_scope(|| tracing::debug!(status = reply.status().as_u16(), "answered"));
    Ok(reply)
}

fn sane(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    (1..=LONGEST).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}
