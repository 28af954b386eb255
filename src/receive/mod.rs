//! Body bytes in, the text of a CSV file out: counted, hashed, its byte-order mark left out.
//! Refuses what is over the limit or no text at all. Constant memory; chunks pass through without a copy.

mod sniff;

use sha2::{Digest, Sha256};

/// First bytes held back until it is clear that they begin a text.
const HEAD_BYTES: usize = 64;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// What a body has to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a body.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 * 1024 * 1024 * 1024,
        }
    }
}

/// Why a body is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// More bytes than allowed.
    #[error("the file is larger than {limit} bytes; split it, or raise the limit")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// Something else than a CSV text.
    #[error("the file is {found}, not a CSV file; {hint}")]
    NotCsv {
        /// What it is.
        found: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
}

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the file, its byte-order mark included.
    pub bytes: u64,
    /// Digest of all these bytes.
    pub sha256: [u8; 32],
    /// Whether it began with a byte-order mark.
    pub bom: bool,
}

/// Receives one body.
pub struct Receiver {
    limits: Limits,
    bytes: u64,
    digest: Sha256,
    head: Vec<u8>,
    bom: bool,
}

impl Receiver {
    /// A receiver before the first byte.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            bytes: 0,
            digest: Sha256::new(),
            head: Vec::with_capacity(HEAD_BYTES),
            bom: false,
        }
    }

    /// Takes in a chunk and gives back the text that is ready, in two pieces of which either may be empty: the head
    /// of the file once it is judged, and what can pass through.
    pub fn push<'a>(&'a mut self, chunk: &'a [u8]) -> Result<[&'a [u8]; 2], ReceiveError> {
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limits.body {
            let limit = self.limits.body;
            return Err(ReceiveError::TooLarge { limit });
        }
        self.digest.update(chunk);
        let missing = HEAD_BYTES - self.head.len();
        if missing == 0 {
            return Ok([&[], chunk]);
        }
        let (head, rest) = chunk.split_at(missing.min(chunk.len()));
        self.head.extend_from_slice(head);
        if self.head.len() < HEAD_BYTES {
            return Ok([&[], &[]]);
        }
        Ok([self.judge()?, rest])
    }

    /// Ends the body and gives back the text still held: all of a file shorter than the head.
    pub fn finish(mut self) -> Result<(Vec<u8>, Received), ReceiveError> {
        let tail = if self.head.len() < HEAD_BYTES {
            self.judge()?.to_vec()
        } else {
            Vec::new()
        };
        let received = Received {
            bytes: self.bytes,
            sha256: self.digest.finalize().into(),
            bom: self.bom,
        };
        Ok((tail, received))
    }

    /// The head without its byte-order mark, if it may begin a CSV text.
    fn judge(&mut self) -> Result<&[u8], ReceiveError> {
        let text = self.head.strip_prefix(BOM);
        self.bom = text.is_some();
        let text = text.unwrap_or(&self.head);
        match sniff::foreign(text) {
            Some((found, hint)) => Err(ReceiveError::NotCsv { found, hint }),
            None => Ok(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] =
        b"event_type,timestamp,user_id\nlogin,2025-11-10,u1\nlogout,2025-11-10,u1\nlogin,2025-11-11,u2\n";

    fn receive(bytes: &[u8], size: usize) -> Result<(Vec<u8>, Received), ReceiveError> {
        let mut receiver = Receiver::new(Limits { body: 1000 });
        let mut text = Vec::new();
        for chunk in bytes.chunks(size) {
            receiver
                .push(chunk)?
                .iter()
                .for_each(|piece| text.extend_from_slice(piece));
        }
        let (tail, received) = receiver.finish()?;
        text.extend(tail);
        Ok((text, received))
    }

    #[test]
    fn text_comes_out_as_it_went_in_however_it_is_cut() {
        for length in 0..TABLE.len() {
            for size in [1, 2, 3, 63, 64, 65, 1000] {
                let (text, received) = receive(&TABLE[..length], size).expect("text");
                assert_eq!(text, &TABLE[..length]);
                assert_eq!((received.bytes, received.bom), (length as u64, false));
                assert_eq!(received.sha256[..], Sha256::digest(&TABLE[..length])[..]);
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_left_out_but_hashed_however_it_is_cut() {
        for table in [TABLE, &TABLE[..10], b""] {
            let marked = [BOM, table].concat();
            for size in [1, 2, 3, 4, 1000] {
                let (text, received) = receive(&marked, size).expect("text");
                assert_eq!(text, table);
                assert!(received.bom);
                assert_eq!(received.bytes, marked.len() as u64);
                assert_eq!(received.sha256[..], Sha256::digest(&marked)[..]);
            }
        }
    }

    #[test]
    fn large_chunks_pass_through_in_place() {
        let mut receiver = Receiver::new(Limits::default());
        receiver.push(TABLE).expect("text");
        let [head, rest] = receiver.push(TABLE).expect("text");
        assert!(head.is_empty());
        assert_eq!(rest.as_ptr(), TABLE.as_ptr());
    }

    #[test]
    fn the_limit_is_the_last_byte_taken() {
        assert!(receive(&[b'a'; 1000], 300).is_ok());
        let error = receive(&[b'a'; 1001], 300).expect_err("too large");
        assert_eq!(error, ReceiveError::TooLarge { limit: 1000 });
    }

    #[test]
    fn what_is_no_text_is_refused_however_it_is_cut() {
        let zip = [b"PK\x03\x04".as_slice(), &[1; 100]].concat();
        for size in [1, 7, 1000] {
            let error = receive(&zip, size).expect_err("a zip file");
            assert!(
                error.to_string().starts_with("the file is a zip archive"),
                "{error}"
            );
        }
        assert!(receive(b"PK\x03\x04", 4).is_err());
    }
}
