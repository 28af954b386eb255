//! Bodies as they arrive: one stream of chunks, whether raw or one part of a form, with a bound on silence.

use std::time::Duration;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::{error::PayloadError, web::Bytes, web::Payload};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::problem::{Code, Problem};
use crate::ingest::BodyError;

/// Parts of a form: the file and a few options.
const PARTS: usize = 16;
/// Bytes of an option's value.
const OPTION_BYTES: usize = 8 * 1024;
/// What is read and thrown away so that a client that is still sending gets to see why it was refused.
const DRAINED: usize = 64 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// Slowest body, in bytes a second, after a time of grace: a connection is not held open for nothing.
const SLOWEST: u64 = 16 << 10;
/// Time before slowness counts.
const GRACE: Duration = Duration::from_secs(60);

fn broken(why: &dyn std::fmt::Display) -> BodyError {
    let cause = why.to_string();
    BodyError::Broken { cause }
}

/// A raw body.
pub(super) fn raw(
    payload: Payload,
    idle: Duration,
) -> impl Stream<Item = Result<Bytes, BodyError>> {
    patient(payload.map_err(|why: PayloadError| broken(&why)), idle)
}

/// Ends a stream that is silent for too long, or slower than [`SLOWEST`] all in all.
fn patient<S>(body: S, idle: Duration) -> impl Stream<Item = Result<Bytes, BodyError>>
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
{
    let begun = Instant::now();
    stream::unfold(Some((body, 0)), move |state| async move {
        let (mut body, seen) = state?;
        let next = match tokio::time::timeout(idle, body.next()).await {
            Ok(next) => next?,
            Err(_) => Err(BodyError::Idle {
                seconds: idle.as_secs(),
            }),
        };
        let seen = seen + next.as_ref().map_or(0, |chunk| chunk.len() as u64);
        let late = begun.elapsed() > GRACE + Duration::from_secs(seen / SLOWEST);
        let next = match next {
            Ok(_) if late => Err(BodyError::TooSlow {
                bytes_per_second: SLOWEST,
            }),
            next => next,
        };
        let go_on = next.is_ok().then_some((body, seen));
        Some((next, go_on))
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
        for _ in 0..PARTS {
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
            let value = part.bytes(OPTION_BYTES).await;
            let value = value.map_err(|_| {
                Problem::new(
                    Code::BadOption,
                    format!("the option `{name}` is longer than {OPTION_BYTES} bytes"),
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
            format!("the form has more than {PARTS} parts"),
        ))
    }

    /// The file's bytes; ends with a fault if anything but the form's end follows them.
    pub(super) fn into_file(self, idle: Duration) -> impl Stream<Item = Result<Bytes, BodyError>> {
        let Self { file, rest, .. } = self;
        let bytes = patient(file.map_err(|why| broken(&why)), idle);
        bytes.chain(
            stream::once(nothing_more(rest, idle)).filter_map(|fault| async { fault.map(Err) }),
        )
    }
}

async fn nothing_more(mut rest: Multipart, idle: Duration) -> Option<BodyError> {
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

/// Reads on for a while, so that the reply is not lost in a connection reset.
pub(super) async fn drain<S: Stream<Item = Result<Bytes, BodyError>>>(body: S) {
    let mut body = std::pin::pin!(body);
    let read = async {
        let mut seen = 0;
        while let Some(Ok(chunk)) = body.next().await {
            seen += chunk.len();
            if seen > DRAINED {
                break;
            }
        }
    };
    // Late is as good as done: the reply follows anyway.
    let _ = tokio::time::timeout(DRAIN_TIME, read).await;
}
