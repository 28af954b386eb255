//! Reads a zip archive of one CSV file front to back: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.
//! Checks by the directory at the end that there is no other file, so that none is ignored silently.

use std::io::{self, BufRead, Read};

use flate2::{Crc, bufread::DeflateDecoder};

use super::unpack::UnpackError;

/// Bytes buffered of the end of an archive. They contain its directory, unless it has very many files.
const TAIL_BYTES: usize = 256 * 1024;
/// Maximum ignored entries before the file, such as directories.
const IGNORED_ENTRIES: usize = 100;
/// Maximum bytes of each of them.
const IGNORED_BYTES: u64 = 16 << 20;

/// The signature of a local file header.
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
/// The signature of sizes and check sum after the data, where the local header has none.
const DATA_DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
/// The signature of an entry of the central directory.
const DIRECTORY_ENTRY: [u8; 4] = *b"PK\x01\x02";
/// The signature of the end of the central directory.
const DIRECTORY_END: [u8; 4] = *b"PK\x05\x06";

enum State {
    /// At the local header of an entry.
    Header(Box<dyn BufRead>),
    /// In a deflated file.
    Deflated(DeflateDecoder<Box<dyn BufRead>>),
    /// In a file that is stored unpacked, with the number of remaining bytes.
    Stored(Box<dyn BufRead>, u64),
    /// After the last byte of the file.
    Done,
}

/// Reads the only file of an archive.
pub(super) struct ZipReader {
    state: State,
    name: String,
    crc: Crc,
}

impl ZipReader {
    /// Creates a reader of the archive in `source`.
    pub(super) fn new(source: Box<dyn BufRead>) -> Self {
        Self {
            state: State::Header(source),
            name: String::new(),
            crc: Crc::new(),
        }
    }

    /// Skips ignored entries, and starts the first file.
    fn start_file(&mut self, mut source: Box<dyn BufRead>) -> io::Result<()> {
        for _ in 0..IGNORED_ENTRIES {
            let header = LocalHeader::read(&mut source)?;
            if is_document(&header.name) {
                return Err(UnpackError::Spreadsheet.into());
            }
            if header.flags & 1 != 0 {
                return Err(archive_error(&format!(
                    "`{}` in the zip archive is encrypted: pack it without a password",
                    header.name
                )));
            }
            if is_ignored(&header.name) {
                source = header.skip_entry(source)?;
                continue;
            }
            self.name = header.name;
            self.state = match header.method {
                8 => State::Deflated(DeflateDecoder::new(source)),
                0 if header.flags & 8 == 0 => State::Stored(source, header.size),
                _ => return Err(unsupported()),
            };
            return Ok(());
        }
        Err(archive_error(
            "the zip archive begins with too many directories or hidden files",
        ))
    }

    /// Reads the rest of the archive, and checks by its directory that there is no other file.
    fn check_directory(&self, source: &mut dyn BufRead) -> io::Result<()> {
        let mut tail: Vec<u8> = Vec::new();
        loop {
            let chunk = source.fill_buf()?;
            if chunk.is_empty() {
                break;
            }
            let length = chunk.len();
            tail.extend_from_slice(chunk);
            source.consume(length);
            if tail.len() > 2 * TAIL_BYTES {
                tail.drain(..tail.len() - TAIL_BYTES);
            }
        }
        let files = directory_files(&tail).ok_or_else(|| {
            archive_error("the zip archive is damaged or has too many files: pack one CSV file")
        })?;
        let data_files: Vec<_> = files.iter().filter(|(name, _)| !is_ignored(name)).collect();
        match data_files.as_slice() {
            [(name, crc)] if *name == self.name && *crc == self.crc.sum() => Ok(()),
            [(name, _)] if *name == self.name => Err(archive_error(
                "the zip archive is damaged: the check sum of its file is wrong",
            )),
            [(name, _)] => Err(archive_error(&format!(
                "the zip archive is damaged: its file is `{}` at its head and `{name}` in its directory",
                self.name
            ))),
            several => {
                let names: Vec<_> = several
                    .iter()
                    .take(5)
                    .map(|(name, _)| name.as_str())
                    .collect();
                Err(archive_error(&format!(
                    "the zip archive has {} files ({}): send one CSV file per upload",
                    several.len(),
                    names.join(", ")
                )))
            }
        }
    }
}

impl Read for ZipReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.state {
                State::Header(_) => {
                    if let State::Header(source) = std::mem::replace(&mut self.state, State::Done) {
                        self.start_file(source)?;
                    }
                    continue;
                }
                State::Deflated(decoder) => decoder.read(into)?,
                State::Stored(source, remaining) => {
                    let most = into
                        .len()
                        .min(usize::try_from(*remaining).unwrap_or(usize::MAX));
                    let read = source.read(&mut into[..most])?;
                    if read == 0 && *remaining > 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *remaining -= read as u64;
                    read
                }
                State::Done => return Ok(0),
            };
            if read > 0 {
                self.crc.update(&into[..read]);
                return Ok(read);
            }
            let mut source = match std::mem::replace(&mut self.state, State::Done) {
                State::Deflated(decoder) => decoder.into_inner(),
                State::Stored(source, _) | State::Header(source) => source,
                State::Done => return Ok(0),
            };
            self.check_directory(source.as_mut())?;
        }
    }
}

/// The local header of an entry.
struct LocalHeader {
    flags: u16,
    method: u16,
    size: u64,
    name: String,
    /// Whether its sizes have eight bytes each.
    is_zip64: bool,
}

impl LocalHeader {
    fn read(source: &mut dyn BufRead) -> io::Result<Self> {
        let mut fixed = [0; 30];
        source.read_exact(&mut fixed)?;
        if fixed[..4] != LOCAL_HEADER {
            return Err(archive_error("the zip archive has no file in it"));
        }
        let (name, extra) = (
            usize::from(u16_at(&fixed, 26)),
            usize::from(u16_at(&fixed, 28)),
        );
        let mut rest = vec![0; name + extra];
        source.read_exact(&mut rest)?;
        Ok(Self {
            flags: u16_at(&fixed, 6),
            method: u16_at(&fixed, 8),
            size: u64::from(u32_at(&fixed, 18)),
            is_zip64: has_zip64(&rest[name..]),
            name: String::from_utf8_lossy(&rest[..name]).into_owned(),
        })
    }

    /// Skips the entry and its data descriptor.
    fn skip_entry(&self, source: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
        let mut source = match self.method {
            8 => {
                let mut data = DeflateDecoder::new(source);
                if skip_bytes(&mut data, IGNORED_BYTES + 1)? > IGNORED_BYTES {
                    return Err(unsupported());
                }
                data.into_inner()
            }
            // Without a size in the header, only an empty entry has a known end.
            0 if self.size <= IGNORED_BYTES && (self.flags & 8 == 0 || self.size == 0) => {
                let mut source = source;
                if skip_bytes(&mut source, self.size)? < self.size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                source
            }
            _ => return Err(unsupported()),
        };
        if self.flags & 8 != 0 {
            let mut first = [0; 4];
            source.read_exact(&mut first)?;
            // The signature is optional: without one, these four bytes are the check sum.
            let check_sum = if first == DATA_DESCRIPTOR { 4 } else { 0 };
            let sizes = if self.is_zip64 { 16 } else { 8 };
            skip_bytes(&mut source, check_sum + sizes)?;
        }
        Ok(source)
    }
}

fn skip_bytes(source: &mut dyn Read, most: u64) -> io::Result<u64> {
    io::copy(&mut source.take(most), &mut io::sink())
}

/// Whether the extra fields of an entry include that of zip64 (4.5.3).
fn has_zip64(mut extra: &[u8]) -> bool {
    while extra.len() >= 4 {
        let (kind, length) = (u16_at(extra, 0), usize::from(u16_at(extra, 2)));
        if kind == 1 {
            return true;
        }
        extra = extra.get(4 + length..).unwrap_or_default();
    }
    false
}

/// Returns the files in the directory with their check sums; none if `tail` does not contain the directory.
fn directory_files(tail: &[u8]) -> Option<Vec<(String, u32)>> {
    let end = tail
        .windows(4)
        .rposition(|window| window == DIRECTORY_END)?;
    let end = tail.get(end..end + 22).map(|record| (end, record))?;
    let count = usize::from(u16_at(end.1, 10));
    let size = usize::try_from(u32_at(end.1, 12)).ok()?;
    // Where a zip64 record stands between the directory and its end, the directory is found by its first entry.
    let from = end
        .0
        .checked_sub(size)
        .filter(|at| tail[*at..].starts_with(&DIRECTORY_ENTRY));
    let mut at = match from {
        Some(at) => at,
        None => tail
            .windows(4)
            .position(|window| window == DIRECTORY_ENTRY)?,
    };
    let mut files = Vec::new();
    while tail
        .get(at..at + 46)
        .is_some_and(|entry| entry[..4] == DIRECTORY_ENTRY)
    {
        let entry = &tail[at..at + 46];
        let (name, extra, comment) = (u16_at(entry, 28), u16_at(entry, 30), u16_at(entry, 32));
        let text = tail.get(at + 46..at + 46 + usize::from(name))?;
        files.push((
            String::from_utf8_lossy(text).into_owned(),
            u32_at(entry, 16),
        ));
        at += 46 + usize::from(name) + usize::from(extra) + usize::from(comment);
    }
    (files.len() == count).then_some(files)
}

/// Whether an entry is a directory, or one that macOS adds to every file.
fn is_ignored(name: &str) -> bool {
    name.ends_with('/') || name.starts_with("__MACOSX/") || name.ends_with(".DS_Store")
}

/// Whether an entry is the first one of spreadsheets and other documents.
fn is_document(name: &str) -> bool {
    let known = [
        "[Content_Types].xml",
        "mimetype",
        "_rels/.rels",
        "META-INF/MANIFEST.MF",
    ];
    known.contains(&name) || name.starts_with("xl/") || name.starts_with("docProps/")
}

fn unsupported() -> io::Error {
    archive_error(
        "the zip archive is packed in a way that can't be read as it arrives: pack it with deflate, as `zip` does, or use gzip",
    )
}

fn archive_error(why: &str) -> io::Error {
    UnpackError::Archive(why.into()).into()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
