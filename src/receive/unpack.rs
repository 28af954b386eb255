//! Unpacks bodies: gzip and zstd with any number of members, and zip archives of one CSV file.
//! A body may be packed once by its `Content-Encoding`, and the file inside once more.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use flate2::bufread::GzDecoder;

use super::{ReceiveError, zip};

/// Unpacked bytes buffered at a time.
const BUFFER_BYTES: usize = 128 * 1024;
/// First bytes by which a packing is detected.
const SIGNATURE_BYTES: usize = 4;

/// The format of packed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip, RFC 1952.
    Gzip,
    /// Zstandard, RFC 8878.
    Zstd,
    /// A zip archive.
    Zip,
}

impl Packing {
    /// Returns the name that users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        }
    }

    /// Returns the packing of a `Content-Encoding`.
    #[must_use]
    pub fn of_coding(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn of_signature(signature: &[u8]) -> Option<Self> {
        match signature {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] => Some(Self::Zstd),
            [b'P', b'K', 3, 4] => Some(Self::Zip),
            _ => None,
        }
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

type Source = Box<dyn BufRead>;

/// Returns the unpacked file in `source`, and how it is packed.
pub(super) fn open(
    source: LimitedSource,
    coding: Option<Packing>,
    limit: u64,
) -> Result<(Source, Option<Packing>), ReceiveError> {
    let source: Source = Box::new(source);
    let (source, outer) = match coding {
        Some(packing) => (unpack(source, packing)?, Some(packing)),
        None => (source, None),
    };
    let (signature, source) =
        peek_signature(source).map_err(|why| receive_error(why, outer, limit))?;
    match Packing::of_signature(&signature) {
        Some(inner) => Ok((unpack(source, inner)?, Some(inner))),
        None => Ok((source, outer)),
    }
}

/// Returns the reason to reject the body for an error of an unpacked source.
pub(super) fn receive_error(why: io::Error, packing: Option<Packing>, limit: u64) -> ReceiveError {
    let why = match why.downcast::<UnpackError>() {
        Ok(UnpackError::TooLarge) => {
            return ReceiveError::TooLarge {
                limit,
                unpacked: false,
            };
        }
        Ok(UnpackError::Archive(why)) => return ReceiveError::Archive(why),
        Ok(UnpackError::Spreadsheet) => {
            return ReceiveError::NotCsv {
                found: "a spreadsheet (xlsx, ods) or another kind of document",
                hint: "open it in the program that made it and export the sheet as CSV",
            };
        }
        Err(why) => why,
    };
    match packing {
        Some(packing) if why.get_ref().is_none_or(|inner| !inner.is::<BodyAborted>()) => {
            ReceiveError::Damaged {
                packing,
                why: why.to_string(),
            }
        }
        _ => ReceiveError::Aborted(why),
    }
}

/// The error of a source whose client disconnected. It distinguishes an aborted body from damaged packed bytes.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub struct BodyAborted;

/// A reason to reject the body, passed through readers as an IO error.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    #[error("too large")]
    TooLarge,
    #[error("{0}")]
    Archive(String),
    #[error("a spreadsheet")]
    Spreadsheet,
}

impl From<UnpackError> for io::Error {
    fn from(error: UnpackError) -> Self {
        Self::other(error)
    }
}

fn unpack(source: Source, packing: Packing) -> Result<Source, ReceiveError> {
    Ok(match packing {
        Packing::Gzip => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            GzipMembers(Some(GzDecoder::new(source))),
        )),
        Packing::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(source).map_err(ReceiveError::Aborted)?;
            // Frames of `--long` need this much. A larger window would let a few bytes allocate much memory.
            decoder.window_log_max(23).map_err(ReceiveError::Aborted)?;
            Box::new(BufReader::with_capacity(BUFFER_BYTES, decoder))
        }
        Packing::Zip => Box::new(BufReader::with_capacity(
            BUFFER_BYTES,
            zip::ZipReader::new(source),
        )),
    })
}

/// Reads the members of a gzip file one after the other. Zero bytes after a member are padding, as for `gzip -d`.
struct GzipMembers(Option<GzDecoder<Source>>);

impl Read for GzipMembers {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let Some(member) = self.0.take() else { break };
            let mut source = member.into_inner();
            if skip_zeros(&mut source)? {
                self.0 = Some(GzDecoder::new(source));
            }
        }
        Ok(0)
    }
}

/// Skips zero bytes. Returns whether another byte follows.
fn skip_zeros(source: &mut Source) -> io::Result<bool> {
    loop {
        let chunk = source.fill_buf()?;
        if chunk.is_empty() {
            return Ok(false);
        }
        let zeros = chunk.iter().take_while(|byte| **byte == 0).count();
        let all = zeros == chunk.len();
        source.consume(zeros);
        if !all {
            return Ok(true);
        }
    }
}

/// Returns the first bytes of a source, and a source that still starts with them.
fn peek_signature(mut source: Source) -> io::Result<(Vec<u8>, Source)> {
    let mut signature = Vec::with_capacity(SIGNATURE_BYTES);
    while signature.len() < SIGNATURE_BYTES {
        let chunk = source.fill_buf()?;
        let accepted = chunk.len().min(SIGNATURE_BYTES - signature.len());
        if accepted == 0 {
            break;
        }
        signature.extend_from_slice(&chunk[..accepted]);
        source.consume(accepted);
    }
    let restored: Source = Box::new(Cursor::new(signature.clone()).chain(source));
    Ok((signature, restored))
}

/// The number of bytes read from a source.
#[derive(Clone, Default)]
pub(super) struct ReceivedBytes(Arc<AtomicU64>);

impl ReceivedBytes {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A source that fails beyond a limit of bytes, and counts those that were read.
pub(super) struct LimitedSource {
    source: Source,
    remaining: u64,
    limit: u64,
    received: ReceivedBytes,
}

impl LimitedSource {
    pub(super) fn new(source: Source, limit: u64, received: ReceivedBytes) -> Self {
        Self {
            source,
            remaining: limit,
            limit,
            received,
        }
    }
}

/// Implements [`Read::read`] for a source that provides its bytes through its buffer.
///
/// # Errors
/// The errors of the source.
pub fn read_buffered(source: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
    let chunk = source.fill_buf()?;
    let accepted = chunk.len().min(into.len());
    into[..accepted].copy_from_slice(&chunk[..accepted]);
    source.consume(accepted);
    Ok(accepted)
}

impl Read for LimitedSource {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

impl BufRead for LimitedSource {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (remaining, limit) = (self.remaining, self.limit);
        let chunk = self.source.fill_buf()?;
        if remaining == 0 && !chunk.is_empty() && limit > 0 {
            return Err(UnpackError::TooLarge.into());
        }
        let most = usize::try_from(remaining).unwrap_or(usize::MAX);
        Ok(&chunk[..chunk.len().min(most)])
    }

    fn consume(&mut self, amount: usize) {
        self.remaining -= (amount as u64).min(self.remaining);
        self.received.0.fetch_add(amount as u64, Ordering::Relaxed);
        self.source.consume(amount);
    }
}
