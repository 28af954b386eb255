//! Turns the bytes of a body into the text of a CSV file in UTF-8: unpacked, counted, hashed, decoded, without its
//! byte-order mark. Reads from its source on demand, so memory stays flat however much a packed byte unpacks to.
//! Rejects files over the limit and files that are not text. Passes UTF-8 on without a copy.

mod accents;
mod encoding;
mod file_type;
mod unpack;
mod zip;

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

pub use encoding::{Encoding, EncodingSource};
pub use unpack::{BodyAborted, Packing, read_buffered};

use encoding::TextDecoder;
use unpack::ReceivedBytes;

/// Bytes by which the type and the encoding of a file are detected. They are buffered until then.
const HEAD_BYTES: usize = 64 * 1024;
/// Maximum bytes of the source that are decoded at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes that every packed body may unpack to, whatever its size.
const UNPACKED_BYTES: u64 = 128 << 20;
/// Most unpacked bytes for each byte of a body beyond that. DEFLATE reaches 1,032 at most; CSV files reach some hundreds.
const UNPACKED_RATIO: u64 = 1_100;

/// The limits that a body must respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum bytes of a body, both as sent and as unpacked.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 * 1024 * 1024 * 1024,
        }
    }
}

/// How to read a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// The packing by `Content-Encoding`. The file inside may be packed once more.
    pub coding: Option<Packing>,
    /// The encoding of the file; detected if not stated.
    pub encoding: Option<Encoding>,
}

/// Why a body is rejected.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// The body has more bytes than allowed.
    #[error("the file is larger than {limit} bytes{}; split it, or raise the limit", if *.unpacked { " when unpacked" } else { "" })]
    TooLarge {
        /// Maximum bytes.
        limit: u64,
        /// Whether the limit is exceeded by the unpacked file, rather than by the body as sent.
        unpacked: bool,
    },
    /// The packed body unpacks to far more than any CSV file does.
    #[error(
        "the {packing} data unpacks to more than {ratio} times its size, which no CSV file does: send the file as it is, or in parts"
    )]
    UnpacksTooFar {
        /// The packing.
        packing: Packing,
        /// The limit.
        ratio: u64,
    },
    /// The file is not CSV text.
    #[error("the file is {found}, not a CSV file; {hint}")]
    NotCsv {
        /// The type of the file.
        found: &'static str,
        /// What the user can do about it.
        hint: &'static str,
    },
    /// The archive does not have exactly one CSV file.
    #[error("{0}")]
    Archive(String),
    /// The packed bytes cannot be unpacked.
    #[error(
        "the {packing} data is damaged or cut off ({why}); pack the file anew, or send it as it is"
    )]
    Damaged {
        /// The packing.
        packing: Packing,
        /// The message of the unpacker.
        why: String,
    },
    /// The body ended before its last byte.
    #[error("the body broke off")]
    Aborted(#[source] io::Error),
}

/// The properties of a received file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedFile {
    /// Bytes of the unpacked file, its byte-order mark included.
    pub bytes: u64,
    /// Digest of these bytes.
    pub sha256: [u8; 32],
    /// Whether the file starts with a byte-order mark.
    pub bom: bool,
    /// The encoding of the file.
    pub encoding: Encoding,
    /// How the encoding is known.
    pub encoding_source: EncodingSource,
    /// The packing of the file, if it was packed.
    pub packing: Option<Packing>,
}

/// Reads the text of one body.
pub struct TextReader {
    limits: Limits,
    source: Box<dyn BufRead>,
    /// Bytes of the body read so far, packed as they are.
    received: ReceivedBytes,
    packing: Option<Packing>,
    stated_encoding: Option<Encoding>,
    bytes: u64,
    digest: Sha256,
    /// The first bytes of the file. Empty once their text was returned.
    head: Vec<u8>,
    /// None until the head is read.
    decoder: Option<TextDecoder>,
    /// Bytes of the source whose text was returned last. They are consumed by the next call.
    unconsumed: usize,
    head_returned: bool,
}

impl TextReader {
    /// Creates a reader of the body in `source`.
    ///
    /// # Errors
    /// [`ReceiveError`] if the first bytes show that the body must be rejected.
    pub fn open(
        source: impl BufRead + 'static,
        options: Options,
        limits: Limits,
    ) -> Result<Self, ReceiveError> {
        let received = ReceivedBytes::default();
        let source = unpack::LimitedSource::new(Box::new(source), limits.body, received.clone());
        let (source, packing) = unpack::open(source, options.coding, limits.body)?;
        Ok(Self {
            limits,
            source,
            received,
            packing,
            stated_encoding: options.encoding,
            bytes: 0,
            digest: Sha256::new(),
            head: Vec::new(),
            decoder: None,
            unconsumed: 0,
            head_returned: false,
        })
    }

    /// Returns the next chunk of text, or none at the end. A chunk may be empty. Of a UTF-8 file, it has at most 64 KiB.
    ///
    /// # Errors
    /// [`ReceiveError`] if the body must be rejected.
    pub fn next_chunk(&mut self) -> Result<Option<&[u8]>, ReceiveError> {
        self.source.consume(std::mem::take(&mut self.unconsumed));
        if self.decoder.is_none() {
            self.read_head()?;
        }
        let decoder = self.decoder.as_mut().expect("`read_head` sets the decoder");
        if !self.head_returned {
            self.head_returned = true;
            let head = &self.head[decoder.bom_bytes()..];
            return Ok(Some(decoder.decode(head)));
        }
        // Frees the memory of the head.
        self.head = Vec::new();
        let chunk = match self.source.fill_buf() {
            Ok(chunk) => &chunk[..chunk.len().min(CHUNK_BYTES)],
            Err(why) => return Err(unpack::receive_error(why, self.packing, self.limits.body)),
        };
        if chunk.is_empty() {
            return Ok(decoder.finish());
        }
        self.unconsumed = chunk.len();
        self.bytes += chunk.len() as u64;
        if self.bytes > self.limits.body {
            return Err(too_large(self.limits, self.packing));
        }
        if let Some(packing) = self.packing
            && self.bytes > UNPACKED_BYTES
            && self.bytes / UNPACKED_RATIO > self.received.count()
        {
            let ratio = UNPACKED_RATIO;
            return Err(ReceiveError::UnpacksTooFar { packing, ratio });
        }
        self.digest.update(chunk);
        Ok(Some(decoder.decode(chunk)))
    }

    /// Returns the properties of the file. They are complete once there is no more text.
    #[must_use]
    pub fn received_file(&self) -> ReceivedFile {
        let (encoding, encoding_source, bom) = self.decoder.as_ref().map_or(
            (Encoding::UTF_8, EncodingSource::Detected, false),
            TextDecoder::properties,
        );
        ReceivedFile {
            bytes: self.bytes,
            sha256: self.digest.clone().finalize().into(),
            bom,
            encoding,
            encoding_source,
            packing: self.packing,
        }
    }

    /// Reads the head of the file, and detects its type and encoding.
    fn read_head(&mut self) -> Result<(), ReceiveError> {
        let mut is_complete = false;
        while self.head.len() < HEAD_BYTES && !is_complete {
            let chunk = self.source.fill_buf();
            let chunk =
                chunk.map_err(|why| unpack::receive_error(why, self.packing, self.limits.body))?;
            let accepted = chunk.len().min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&chunk[..accepted]);
            self.source.consume(accepted);
            is_complete = accepted == 0;
        }
        self.bytes = self.head.len() as u64;
        if self.bytes > self.limits.body {
            return Err(too_large(self.limits, self.packing));
        }
        self.digest.update(&self.head);
        let decoder = TextDecoder::new(&self.head, is_complete, self.stated_encoding);
        let text = &self.head[decoder.bom_bytes()..];
        if let Some((found, hint)) = file_type::detect_other_than_csv(text) {
            return Err(ReceiveError::NotCsv { found, hint });
        }
        if decoder.is_of_dos(&self.head) {
            return Err(ReceiveError::NotCsv {
                found: "text in an encoding of DOS (cp437 or cp850)",
                hint: "save it as UTF-8, for example with `iconv -f CP850 -t UTF-8`, or state `encoding=windows-1252` if it is that after all",
            });
        }
        self.decoder = Some(decoder);
        Ok(())
    }
}

fn too_large(limits: Limits, packing: Option<Packing>) -> ReceiveError {
    ReceiveError::TooLarge {
        limit: limits.body,
        unpacked: packing.is_some(),
    }
}

#[cfg(test)]
mod tests;
