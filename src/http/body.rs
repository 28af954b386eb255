//! Reads the body of an upload as a stream of chunks: a raw body, or the file of a form. Idle and slow bodies are errors.

use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{error::PayloadError, web::Bytes, web::Payload};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::problem::{Code, Problem};
use crate::ingest::BodyError;

/// Largest number of parts of a form.
const MAX_PARTS: usize = 16;
/// Largest value of an option.
const MAX_OPTION_BYTES: usize = 8 * 1024;
/// Bytes that are discarded after an error, so that a client that still sends can read the reply.
const MAX_DRAINED_BYTES: usize = 64 << 20;
/// Time for discarding them.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// Lowest average rate of a body after [`GRACE`], in bytes per second.
const MIN_BYTES_PER_SECOND: u64 = 16 << 10;
/// Time before the rate is checked.
const GRACE: Duration = Duration::from_secs(60);

fn broken(why: &dyn std::fmt::Display) -> BodyError {
    let cause = why.to_string();
    BodyError::Broken { cause }
}

/// Returns a body that is the file itself.
pub(super) fn raw(
    payload: Payload,
    idle: Duration,
) -> impl Stream<Item = Result<Bytes, BodyError>> {
    with_timeouts(payload.map_err(|why: PayloadError| broken(&why)), idle)
}

/// Ends a stream with an error if it is idle, or slower than [`MIN_BYTES_PER_SECOND`] on average.
fn with_timeouts<S>(body: S, idle: Duration) -> impl Stream<Item = Result<Bytes, BodyError>>
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
{
    let started = Instant::now();
    stream::unfold(Some((body, 0)), move |state| async move {
        let (mut body, seen) = state?;
        let next = match tokio::time::timeout(idle, body.next()).await {
            Ok(next) => next?,
            Err(_) => Err(BodyError::Idle {
                seconds: idle.as_secs(),
            }),
        };
        let seen = seen + next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let late = started.elapsed() > GRACE + Duration::from_secs(seen / MIN_BYTES_PER_SECOND);
        let next = match next {
            Ok(_) if late => Err(BodyError::TooSlow {
                bytes_per_second: MIN_BYTES_PER_SECOND,
            }),
            next => next,
        };
        let state = next.is_ok().then_some((body, seen));
        Some((next, state))
    })
}

/// A form read as far as its file.
pub(super) struct Form {
    pub(super) options: Vec<(String, String)>,
    pub(super) file_name: Option<String>,
    file: Field,
    rest: Multipart,
}

fn bad_form(why: &MultipartError) -> Problem {
    Problem::new(Code::BadMultipart, format!("the form can't be read: {why}"))
}

impl Form {
    /// Reads the options that stand before the file, which has to begin within `idle`.
    pub(super) async fn open(form: Multipart, idle: Duration) -> Result<Self, Problem> {
        let opened = tokio::time::timeout(idle, Self::read_options(form)).await;
        opened.unwrap_or_else(|_| {
            let why = format!(
                "the file did not begin within {} seconds; nothing was stored",
                idle.as_secs()
            );
            Err(Problem::new(Code::BodyTimeout, why))
        })
    }

    async fn read_options(mut form: Multipart) -> Result<Self, Problem> {
        let mut options = Vec::new();
        for _ in 0..MAX_PARTS {
            let Some(part) = form.next().await else {
                return Err(Problem::new(
                    Code::NoFile,
                    "the form has no file: send one part with a file name, as `curl -F file=@events.csv` does",
                ));
            };
            let mut part = part.map_err(|why| bad_form(&why))?;
            let file_name = part
                .content_disposition()
                .and_then(|d| d.get_filename())
                .map(str::to_owned);
            if file_name.is_some() {
                return Ok(Self {
                    options,
                    file_name,
                    file: part,
                    rest: form,
                });
            }
            let name = part.name().unwrap_or_default().to_owned();
            let value = part.bytes(MAX_OPTION_BYTES).await;
            let value = value.map_err(|_| {
                Problem::new(
                    Code::BadOption,
                    format!("the option `{name}` is longer than {MAX_OPTION_BYTES} bytes"),
                )
            })?;
            let value = value.map_err(|why| bad_form(&why))?;
            let value = String::from_utf8(value.to_vec());
            options.push((
                name.clone(),
                value.map_err(|_| {
                    Problem::new(
                        Code::BadOption,
                        format!("the option `{name}` is not UTF-8 text"),
                    )
                })?,
            ));
        }
        Err(Problem::new(
            Code::BadMultipart,
            format!("the form has more than {MAX_PARTS} parts"),
        ))
    }

    /// Returns the bytes of the file. Ends with an error if anything but the end of the form follows them.
    pub(super) fn into_file(self, idle: Duration) -> impl Stream<Item = Result<Bytes, BodyError>> {
        let Self { file, rest, .. } = self;
        let bytes = with_timeouts(file.map_err(|why| broken(&why)), idle);
        bytes.chain(
            stream::once(error_after_file(rest, idle)).filter_map(|error| async { error.map(Err) }),
        )
    }
}

/// Returns an error unless the form ends.
async fn error_after_file(mut rest: Multipart, idle: Duration) -> Option<BodyError> {
    let Ok(next) = tokio::time::timeout(idle, rest.next()).await else {
        return Some(BodyError::FormNotEnded {
            seconds: idle.as_secs(),
        });
    };
    match next {
        None => None,
        Some(Err(why)) => Some(broken(&why)),
        Some(Ok(part))
            if part
                .content_disposition()
                .is_some_and(|d| d.get_filename().is_some()) =>
        {
            Some(BodyError::SeveralFiles)
        }
        Some(Ok(part)) => {
            let name = part.name().unwrap_or_default().to_owned();
            Some(BodyError::LateOption { name })
        }
    }
}

/// Reads and discards the rest of a body. Without it, a connection reset could reach the client before the reply.
pub(super) async fn drain<S: Stream<Item = Result<Bytes, BodyError>>>(body: S) {
    let mut body = std::pin::pin!(body);
    let read = async {
        let mut seen = 0;
        while let Some(Ok(chunk)) = body.next().await {
            seen += chunk.len();
            if seen > MAX_DRAINED_BYTES {
                break;
            }
        }
    };
    // After the timeout the reply is sent all the same.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, read).await;
}
