//! Replies that hold a place until their last byte is sent or the client has disconnected. They are passed on in small pieces,
//! each only when the one before it has been written.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    body::{BodySize, MessageBody},
    web::Bytes,
};
use futures_util::{Stream, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use super::pace::{Pace, TooSlow};
use crate::limit::Place;

/// Bytes passed on at a time.
const PIECE_BYTES: usize = 32 << 10;

/// Returns a reply of JSON that holds a place.
pub(super) fn json(place: Place, pause: Duration, reply: &impl Serialize) -> HttpResponse {
    let text = serde_json::to_vec(reply).expect("field names are text");
    HttpResponse::Ok()
        .content_type("application/json")
        .body(HeldBody {
            rest: text.into(),
            pace: PaceOfReader::new(pause),
            _place: place,
        })
}

/// A body in memory.
struct HeldBody {
    rest: Bytes,
    pace: PaceOfReader,
    _place: Place,
}

impl MessageBody for HeldBody {
    type Error = TooSlow;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.rest.len() as u64)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, TooSlow>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Err(slow) = self.pace.asked() {
            return Poll::Ready(Some(Err(slow)));
        }
        let length = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(length);
        self.pace.passed(piece.len());
        Poll::Ready(Some(Ok(piece)))
    }
}

/// Measures how fast a client reads: by the time between two requests of the server for the next piece, less the time
/// that the piece took to be made.
struct PaceOfReader {
    pace: Pace,
    /// The last piece: when it was passed on, and its bytes.
    last: Option<(Instant, usize)>,
}

impl PaceOfReader {
    fn new(pause: Duration) -> Self {
        Self {
            pace: Pace::new(pause),
            last: None,
        }
    }

    /// The server asks for the next piece, so it has written those before.
    fn asked(&mut self) -> Result<(), TooSlow> {
        match self.last.take() {
            Some((at, bytes)) => self.pace.moved(bytes, at.elapsed()),
            None => Ok(()),
        }
    }

    fn passed(&mut self, bytes: usize) {
        self.last = Some((Instant::now(), bytes));
    }
}

/// What a stream is aborted for.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError<E> {
    /// The source failed.
    #[error(transparent)]
    Source(E),
    /// The client reads too slowly.
    #[error(transparent)]
    TooSlow(TooSlow),
}

/// Returns the bytes of `chunks` in small pieces. The stream holds `place`, and fails once the client reads too slowly.
pub(super) fn stream<E, S>(
    place: Place,
    pause: Duration,
    chunks: S,
) -> impl Stream<Item = Result<Bytes, StreamError<E>>>
where
    S: Stream<Item = Result<Bytes, E>>,
{
    let pieces = chunks
        .map_ok(|chunk| stream::iter(split(chunk).map(Ok)))
        .try_flatten();
    let mut pace = PaceOfReader::new(pause);
    // One state, so that asking and passing on alternate.
    let mut pieces = Box::pin(pieces);
    stream::poll_fn(move |context| {
        let _place = &place;
        if let Err(slow) = pace.asked() {
            return Poll::Ready(Some(Err(StreamError::TooSlow(slow))));
        }
        let piece = std::task::ready!(pieces.as_mut().poll_next(context));
        if let Some(Ok(piece)) = &piece {
            pace.passed(Bytes::len(piece));
        }
        Poll::Ready(piece.map(|piece| piece.map_err(StreamError::Source)))
    })
}

fn split(mut chunk: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        (!chunk.is_empty()).then(|| chunk.split_to(chunk.len().min(PIECE_BYTES)))
    })
}
