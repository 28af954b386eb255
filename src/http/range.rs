//! A part of a file, for downloads that resume (RFC 9110, section 14): one range of bytes per request.

use actix_web::{
    HttpRequest, HttpResponseBuilder,
    http::{
        StatusCode,
        header::{self, Range},
    },
    web::Bytes,
};
use futures_util::{Stream, StreamExt, stream};

use super::problem::{Code, Problem};

/// A range of bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ByteRange {
    first: u64,
    last: u64,
    length: u64,
}

/// Whether a request is for a part of a file.
pub(super) fn is_requested(request: &HttpRequest) -> bool {
    let headers = request.headers();
    // Files have no validator, so a part of the one that the client had before can't be promised.
    headers.contains_key(header::RANGE) && !headers.contains_key(header::IF_RANGE)
}

/// Returns the range that a request is for, of a file of `length` bytes; none for the complete file: without a range, with
/// several, or with one that can't be parsed.
///
/// # Errors
/// The range begins after the end of the file.
pub(super) fn of(request: &HttpRequest, length: u64) -> Result<Option<ByteRange>, Problem> {
    if !is_requested(request) {
        return Ok(None);
    }
    let header = request.headers().get(header::RANGE);
    let parsed = header
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .and_then(|range| match range {
            Range::Bytes(specs) if specs.len() == 1 => Some(specs),
            Range::Bytes(_) | Range::Unregistered(..) => None,
        });
    let Some(specs) = parsed else { return Ok(None) };
    match specs[0].to_satisfiable_range(length) {
        Some((first, last)) => Ok(Some(ByteRange {
            first,
            last,
            length,
        })),
        None => Err(Problem::new(
            Code::RangeNotSatisfiable,
            format!("the file has {length} bytes, and the range begins after its end"),
        )
        .with("length", length)),
    }
}

impl ByteRange {
    /// Makes a reply one with a part of the file.
    pub(super) fn describe(self, reply: &mut HttpResponseBuilder) {
        let Self {
            first,
            last,
            length,
        } = self;
        reply.status(StatusCode::PARTIAL_CONTENT);
        let range = format!("bytes {first}-{last}/{length}");
        reply.insert_header((header::CONTENT_RANGE, range));
        reply.no_chunking(last - first + 1);
    }

    /// Returns the bytes of the range. The last ones come once the file is read to its end, so that a part of a file which
    /// turns out to be damaged is not complete either.
    pub(super) fn cut<E>(
        self,
        chunks: impl Stream<Item = Result<Bytes, E>>,
    ) -> impl Stream<Item = Result<Bytes, E>> {
        let state = (Box::pin(chunks), 0, None);
        stream::unfold(state, move |(mut chunks, mut at, mut held)| async move {
            loop {
                match chunks.next().await {
                    Some(Ok(chunk)) => {
                        let part = self.part(at, &chunk);
                        at += chunk.len() as u64;
                        if part.is_empty() {
                            continue;
                        }
                        if let Some(ready) = held.replace(part) {
                            return Some((Ok(ready), (chunks, at, held)));
                        }
                    }
                    Some(Err(why)) => return Some((Err(why), (chunks, at, None))),
                    None => return held.take().map(|last| (Ok(last), (chunks, at, None))),
                }
            }
        })
    }

    /// Returns the bytes of the range in a chunk that begins at `at`.
    fn part(self, at: u64, chunk: &Bytes) -> Bytes {
        let clamp = |bound: u64| {
            let within = bound.saturating_sub(at).min(chunk.len() as u64);
            usize::try_from(within).expect("at most the length of a chunk")
        };
        chunk.slice(clamp(self.first)..clamp(self.last + 1))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use futures_util::TryStreamExt;

    use super::*;

    const FILE: &[u8] = b"0123456789";

    fn range(header: &str) -> Result<Option<ByteRange>, Code> {
        let request = TestRequest::default().append_header(("range", header));
        of(&request.to_http_request(), FILE.len() as u64).map_err(|problem| problem.code())
    }

    async fn bytes(header: &str, chunk: usize) -> Vec<u8> {
        let range = range(header).expect("lies in the file").expect("a range");
        let chunks = FILE
            .chunks(chunk)
            .map(|part| Ok::<_, ()>(Bytes::copy_from_slice(part)));
        let parts: Vec<Bytes> = range
            .cut(stream::iter(chunks))
            .try_collect()
            .await
            .expect("reads");
        parts.concat()
    }

    #[tokio::test]
    async fn parts_are_those_of_the_range_whatever_the_chunks() {
        for (header, expected) in [
            ("bytes=0-0", &b"0"[..]),
            ("bytes=2-5", b"2345"),
            ("bytes=7-", b"789"),
            ("bytes=-3", b"789"),
            ("bytes=0-99", FILE),
            ("bytes=-99", FILE),
            ("bytes=9-9", b"9"),
        ] {
            for chunk in 1..=11 {
                assert_eq!(bytes(header, chunk).await, expected, "{header} by {chunk}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_fails_after_the_range_ends_the_part_early() {
        let range = range("bytes=0-3").expect("in the file").expect("a range");
        let chunks = [
            Ok(Bytes::from_static(b"0123")),
            Ok(Bytes::from_static(b"45")),
            Err("rot"),
        ];
        let parts: Result<Vec<Bytes>, _> = range.cut(stream::iter(chunks)).try_collect().await;
        assert_eq!(parts, Err("rot"));
    }

    #[test]
    fn what_is_no_single_range_is_the_complete_file() {
        for header in [
            "",
            "bytes=",
            "bytes=a-b",
            "bytes=0-1,3-4",
            "rows=1-2",
            "bytes=5-2",
        ] {
            assert_eq!(range(header), Ok(None), "{header}");
        }
        assert_eq!(range("bytes=10-"), Err(Code::RangeNotSatisfiable));
        assert_eq!(range("bytes=-0"), Err(Code::RangeNotSatisfiable));
    }
}
