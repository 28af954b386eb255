//! Packed bodies: gzip and zstd with any number of members, and zip archives of one CSV.
//! Told by `Content-Encoding` or by the first bytes of the file; at most one of each.

use std::{
    fmt,
    io::{self, BufRead, BufReader, Cursor, Read},
};

use flate2::bufread::GzDecoder;

use super::{ReceiveError, zip};

/// Unpacked bytes held at a time.
const BUFFER: usize = 128 * 1024;
/// First bytes that packings are told by.
const MAGIC: usize = 4;

/// How bytes are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// A zip archive.
    Zip,
}

impl Packing {
    /// The name users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Zip => "zip",
        }
    }

    /// The packing of a `Content-Encoding`.
    #[must_use]
    pub fn of_coding(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn of_magic(magic: &[u8]) -> Option<Self> {
        match magic {
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

/// The unpacked file behind `source`, and how it was packed.
pub(super) fn open(
    source: Source,
    coding: Option<Packing>,
    limit: u64,
) -> Result<(Source, Option<Packing>), ReceiveError> {
    let source: Source = Box::new(Counted {
        source,
        left: limit,
        limit,
    });
    let (source, outer) = match coding {
        Some(packing) => (unpacked(source, packing)?, Some(packing)),
        None => (source, None),
    };
    let (magic, source) = peek(source).map_err(|why| refused(why, outer, limit))?;
    match Packing::of_magic(&magic) {
        Some(inner) => Ok((unpacked(source, inner)?, Some(inner))),
        None => Ok((source, outer)),
    }
}

/// What an error of an unpacked source means.
pub(super) fn refused(why: io::Error, packing: Option<Packing>, limit: u64) -> ReceiveError {
    let why = match why.downcast::<Refused>() {
        Ok(Refused::TooLarge) => {
            return ReceiveError::TooLarge {
                limit,
                unpacked: false,
            };
        }
        Ok(Refused::Archive(why)) => return ReceiveError::Archive(why),
        Ok(Refused::Spreadsheet) => {
            return ReceiveError::NotCsv {
                found: "a spreadsheet (xlsx, ods) or another kind of document",
                hint: "open it in the program that made it and export the sheet as CSV",
            };
        }
        Err(why) => why,
    };
    match packing {
        Some(packing) if why.get_ref().is_none_or(|inner| !inner.is::<Broken>()) => {
            ReceiveError::Damaged {
                packing,
                why: why.to_string(),
            }
        }
        _ => ReceiveError::Broken(why),
    }
}

/// What a source says when its sender is gone: not the packed bytes are at fault.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off")]
pub struct Broken;

/// A refusal on its way through readers that know only of IO.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("too large")]
    TooLarge,
    #[error("{0}")]
    Archive(String),
    #[error("a spreadsheet")]
    Spreadsheet,
}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> Self {
        Self::other(refused)
    }
}

fn unpacked(source: Source, packing: Packing) -> Result<Source, ReceiveError> {
    Ok(match packing {
        Packing::Gzip => Box::new(BufReader::with_capacity(
            BUFFER,
            Members(Some(GzDecoder::new(source))),
        )),
        Packing::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(source).map_err(ReceiveError::Broken)?;
            // What a `--long` frame may ask for: more would let a few bytes take much memory.
            decoder.window_log_max(23).map_err(ReceiveError::Broken)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        Packing::Zip => Box::new(BufReader::with_capacity(BUFFER, zip::Entry::new(source))),
    })
}

/// The members of a gzip file, one behind the other; zero bytes after one are padding, as for `gzip -d`.
struct Members(Option<GzDecoder<Source>>);

impl Read for Members {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.0 {
            let read = member.read(into)?;
            if read > 0 || into.is_empty() {
                return Ok(read);
            }
            let Some(member) = self.0.take() else { break };
            let mut source = member.into_inner();
            if pass_zeros(&mut source)? {
                self.0 = Some(GzDecoder::new(source));
            }
        }
        Ok(0)
    }
}

/// Reads on to a byte that is not zero; false if there is none.
fn pass_zeros(source: &mut Source) -> io::Result<bool> {
    loop {
        let piece = source.fill_buf()?;
        if piece.is_empty() {
            return Ok(false);
        }
        let zeros = piece.iter().take_while(|byte| **byte == 0).count();
        let all = zeros == piece.len();
        source.consume(zeros);
        if !all {
            return Ok(true);
        }
    }
}

/// The first bytes, and a source that begins with them still.
fn peek(mut source: Source) -> io::Result<(Vec<u8>, Source)> {
    let mut magic = Vec::with_capacity(MAGIC);
    while magic.len() < MAGIC {
        let piece = source.fill_buf()?;
        let taken = piece.len().min(MAGIC - magic.len());
        if taken == 0 {
            break;
        }
        magic.extend_from_slice(&piece[..taken]);
        source.consume(taken);
    }
    let again: Source = Box::new(Cursor::new(magic.clone()).chain(source));
    Ok((magic, again))
}

/// Bytes as they were sent, up to the limit.
struct Counted {
    source: Source,
    left: u64,
    limit: u64,
}

/// Reads by way of the buffer, for a source that is pulled by pieces.
///
/// # Errors
/// Those of the source.
pub fn read_buffered(source: &mut impl BufRead, into: &mut [u8]) -> io::Result<usize> {
    let piece = source.fill_buf()?;
    let taken = piece.len().min(into.len());
    into[..taken].copy_from_slice(&piece[..taken]);
    source.consume(taken);
    Ok(taken)
}

impl Read for Counted {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, into)
    }
}

impl BufRead for Counted {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let (left, limit) = (self.left, self.limit);
        let piece = self.source.fill_buf()?;
        if left == 0 && !piece.is_empty() && limit > 0 {
            return Err(Refused::TooLarge.into());
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX);
        Ok(&piece[..piece.len().min(most)])
    }

    fn consume(&mut self, amount: usize) {
        self.left -= (amount as u64).min(self.left);
        self.source.consume(amount);
    }
}
