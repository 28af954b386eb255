//! Body bytes in, the text of a CSV file in UTF-8 out: unpacked, counted, hashed, decoded, its byte-order mark left out.
//! Pulls from its source, so memory stays flat whatever a packed byte unfolds to. Refuses what is over the limit or no
//! text at all. Text that is UTF-8 already passes through without a copy.

mod encoding;
mod sniff;
mod unpack;
mod zip;

use std::io::{self, BufRead};

use sha2::{Digest, Sha256};

pub use encoding::{Encoding, Known};
pub use unpack::{Broken, Packing, read_buffered};

use encoding::Decoding;

/// First bytes that encodings are told apart by; as much is held back until it is clear what they begin.
const HEAD_BYTES: usize = 64 * 1024;
/// Most text given out at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// What a body has to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a body, as it is sent and as it is unpacked.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 4 * 1024 * 1024 * 1024,
        }
    }
}

/// How a body is to be taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// How it is packed for the way, whatever the file itself is (`Content-Encoding`).
    pub coding: Option<Packing>,
    /// The file's encoding; found out if none is stated.
    pub encoding: Option<Encoding>,
}

/// Why a body is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// More bytes than allowed.
    #[error("the file is larger than {limit} bytes{}; split it, or raise the limit", if *.unpacked { " when unpacked" } else { "" })]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
        /// Whether it was packed smaller.
        unpacked: bool,
    },
    /// Something else than a CSV text.
    #[error("the file is {found}, not a CSV file; {hint}")]
    NotCsv {
        /// What it is.
        found: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// An archive without exactly one CSV file.
    #[error("{0}")]
    Archive(String),
    /// Packed bytes that can't be unpacked.
    #[error(
        "the {packing} data is damaged or cut off ({why}); pack the file anew, or send it as it is"
    )]
    Damaged {
        /// How it is packed.
        packing: Packing,
        /// What the unpacker says.
        why: String,
    },
    /// The source broke off.
    #[error("the body broke off")]
    Broken(#[source] io::Error),
}

/// What was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Bytes of the file as unpacked, its byte-order mark included.
    pub bytes: u64,
    /// Digest of all these bytes.
    pub sha256: [u8; 32],
    /// Whether it began with a byte-order mark.
    pub bom: bool,
    /// Its encoding.
    pub encoding: Encoding,
    /// How that is known.
    pub known: Known,
    /// How the file was packed, if it was.
    pub packing: Option<Packing>,
}

/// The text of one body.
pub struct Text {
    limits: Limits,
    source: Box<dyn BufRead>,
    packing: Option<Packing>,
    stated: Option<Encoding>,
    bytes: u64,
    digest: Sha256,
    /// The first bytes, until they are judged.
    head: Vec<u8>,
    decoding: Option<Decoding>,
    /// Bytes of the source that were given out and are to be consumed before the next.
    given: usize,
    head_given: bool,
}

impl Text {
    /// The text of a body that ends where `source` does.
    ///
    /// # Errors
    /// [`ReceiveError`] if its first bytes say that it can't be taken.
    pub fn open(
        source: impl BufRead + 'static,
        options: Options,
        limits: Limits,
    ) -> Result<Self, ReceiveError> {
        let (source, packing) = unpack::open(Box::new(source), options.coding, limits.body)?;
        Ok(Self {
            limits,
            source,
            packing,
            stated: options.encoding,
            bytes: 0,
            digest: Sha256::new(),
            head: Vec::new(),
            decoding: None,
            given: 0,
            head_given: false,
        })
    }

    /// The next piece of text, at most 64 KiB for what is UTF-8; none at the end. May be empty.
    ///
    /// # Errors
    /// [`ReceiveError`] says what is wrong with the body.
    pub fn piece(&mut self) -> Result<Option<&[u8]>, ReceiveError> {
        self.source.consume(std::mem::take(&mut self.given));
        if self.decoding.is_none() {
            self.read_head()?;
        }
        let decoding = self.decoding.as_mut().expect("the head is read");
        if !self.head_given {
            self.head_given = true;
            let head = &self.head[decoding.bom_bytes()..];
            return Ok(Some(decoding.decode(head)));
        }
        // Judged and decoded: its room is given back.
        self.head = Vec::new();
        let piece = match self.source.fill_buf() {
            Ok(piece) => &piece[..piece.len().min(PIECE_BYTES)],
            Err(why) => return Err(unpack::refused(why, self.packing, self.limits.body)),
        };
        if piece.is_empty() {
            return Ok(decoding.end());
        }
        self.given = piece.len();
        self.bytes += piece.len() as u64;
        if self.bytes > self.limits.body {
            return Err(too_large(self.limits, self.packing));
        }
        self.digest.update(piece);
        Ok(Some(decoding.decode(piece)))
    }

    /// What was received, once there is no more text.
    #[must_use]
    pub fn received(&self) -> Received {
        let (encoding, known, bom) = self.decoding.as_ref().map_or(
            (Encoding::UTF_8, Known::Detected, false),
            Decoding::described,
        );
        Received {
            bytes: self.bytes,
            sha256: self.digest.clone().finalize().into(),
            bom,
            encoding,
            known,
            packing: self.packing,
        }
    }

    /// Reads the head of the file, and finds out what it is.
    fn read_head(&mut self) -> Result<(), ReceiveError> {
        let mut whole = false;
        while self.head.len() < HEAD_BYTES && !whole {
            let piece = self.source.fill_buf();
            let piece =
                piece.map_err(|why| unpack::refused(why, self.packing, self.limits.body))?;
            let taken = piece.len().min(HEAD_BYTES - self.head.len());
            self.head.extend_from_slice(&piece[..taken]);
            self.source.consume(taken);
            whole = taken == 0;
        }
        self.bytes = self.head.len() as u64;
        if self.bytes > self.limits.body {
            return Err(too_large(self.limits, self.packing));
        }
        self.digest.update(&self.head);
        let decoding = Decoding::of(&self.head, whole, self.stated);
        if let Some((found, hint)) = sniff::foreign(&self.head[decoding.bom_bytes()..]) {
            return Err(ReceiveError::NotCsv { found, hint });
        }
        self.decoding = Some(decoding);
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
