//! Reads the body of an upload as a stream of chunks: a raw body, or the file of a form. Idle and slow bodies are errors.

use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{error::PayloadError, web::Bytes, web::Payload};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{
    Context,
    pace::{MIN_BYTES_PER_SECOND, Pace},
    problem::{Code, Problem},
};
use crate::ingest::BodyError;

/// Largest number of parts of a form.
const MAX_PARTS: usize = 16;
/// Largest value of an option.
const MAX_OPTION_BYTES: usize = 8 * 1024;
/// Bytes that are discarded after an error, so that a client that still sends can read the reply.
const MAX_DRAINED_BYTES: usize = 64 << 20;
/// Time for discarding them.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a body may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyTimes {
    /// Longest wait for the next bytes.
    stall: Duration,
    /// Longest time from the first byte to the last.
    total: Duration,
}

impl BodyTimes {
    pub(super) fn of(context: &Context) -> Self {
        Self {
            stall: context.limits.stall,
            total: context.limits.body_time,
        }
    }
}

fn broken(why: &dyn std::fmt::Display) -> BodyError {
    let cause = why.to_string();
    BodyError::Broken { cause }
}

/// Returns a body that is the file itself.
pub(super) fn raw(
    payload: Payload,
    times: BodyTimes,
) -> impl Stream<Item = Result<Bytes, BodyError>> {
    with_timeouts(payload.map_err(|why: PayloadError| broken(&why)), times)
}

/// Ends a stream with an error if it stalls, is slower than [`MIN_BYTES_PER_SECOND`], or takes too long in all. Only the
/// time for which the client is waited for counts against its rate.
fn with_timeouts<S>(body: S, times: BodyTimes) -> impl Stream<Item = Result<Bytes, BodyError>>
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
{
    let until = Instant::now() + times.total;
    let pace = Pace::new(times.stall);
    stream::unfold(Some((body, pace)), move |state| async move {
        let (mut body, mut pace) = state?;
        let asked = Instant::now();
        let patience = asked + pace.patience();
        let next = match tokio::time::timeout_at(patience.min(until), body.next()).await {
            Ok(next) => next?,
            Err(_) if until <= patience => Err(too_long(times)),
            Err(_) if pace.patience() == times.stall => Err(BodyError::Idle {
                seconds: times.stall.as_secs(),
            }),
            Err(_) => Err(TOO_SLOW),
        };
        let next = next.and_then(|chunk| {
            let moved = pace.moved(chunk.len(), asked.elapsed());
            moved.map(|()| chunk).map_err(|_| TOO_SLOW)
        });
        let state = next.is_ok().then_some((body, pace));
        Some((next, state))
    })
}

const TOO_SLOW: BodyError = BodyError::TooSlow {
    bytes_per_second: MIN_BYTES_PER_SECOND,
};

fn too_long(times: BodyTimes) -> BodyError {
    BodyError::TooLong {
        seconds: times.total.as_secs(),
    }
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
    /// Reads the options that stand before the file, which has to begin as soon as any body.
    pub(super) async fn open(form: Multipart, times: BodyTimes) -> Result<Self, Problem> {
        let begin = Pace::new(times.stall).patience();
        let opened = tokio::time::timeout(begin, Self::read_options(form)).await;
        opened.unwrap_or_else(|_| {
            let why = format!(
                "the file did not begin within {} seconds; nothing was stored",
                begin.as_secs()
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
    pub(super) fn into_file(
        self,
        times: BodyTimes,
    ) -> impl Stream<Item = Result<Bytes, BodyError>> {
        let Self { file, rest, .. } = self;
        let bytes = with_timeouts(file.map_err(|why| broken(&why)), times);
        bytes.chain(
            stream::once(error_after_file(rest, times.stall))
                .filter_map(|error| async { error.map(Err) }),
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
