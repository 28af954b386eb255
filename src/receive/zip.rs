//! A zip archive of one CSV file, read front to back: <https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT>.
//! The directory at the end says whether there was another file; nothing is left out in silence.

use std::io::{self, BufRead, Read};

use flate2::{Crc, bufread::DeflateDecoder};

use super::unpack::Refused;

/// The end of an archive that is kept: its directory is in it, unless it has very many files.
const TAIL: usize = 256 * 1024;
/// Directories and the like that may stand before the file.
const PASSED: usize = 100;
/// Bytes that each of them may have.
const PASSED_BYTES: u64 = 16 << 20;

const LOCAL: [u8; 4] = *b"PK\x03\x04";
/// Sizes and check sum behind the data, where the head has none.
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";
const CENTRAL: [u8; 4] = *b"PK\x01\x02";
const END: [u8; 4] = *b"PK\x05\x06";

enum State {
    /// At the head of an entry.
    Head(Box<dyn BufRead>),
    /// In a packed file.
    Deflated(DeflateDecoder<Box<dyn BufRead>>),
    /// In a file that is stored as it is, with so many bytes left.
    Stored(Box<dyn BufRead>, u64),
    /// Behind its last byte.
    Done,
}

/// The one file of an archive.
pub(super) struct Entry {
    state: State,
    name: String,
    crc: Crc,
}

impl Entry {
    pub(super) fn new(source: Box<dyn BufRead>) -> Self {
        Self {
            state: State::Head(source),
            name: String::new(),
            crc: Crc::new(),
        }
    }

    /// Passes what is ignored, and begins the first file.
    fn begin(&mut self, mut source: Box<dyn BufRead>) -> io::Result<()> {
        for _ in 0..PASSED {
            let head = Head::read(&mut source)?;
            if is_document(&head.name) {
                return Err(Refused::Spreadsheet.into());
            }
            if head.flags & 1 != 0 {
                return Err(archive(&format!(
                    "`{}` in the zip archive is encrypted: pack it without a password",
                    head.name
                )));
            }
            if is_ignored(&head.name) {
                source = head.pass(source)?;
                continue;
            }
            self.name = head.name;
            self.state = match head.method {
                8 => State::Deflated(DeflateDecoder::new(source)),
                0 if head.flags & 8 == 0 => State::Stored(source, head.size),
                _ => return Err(unreadable()),
            };
            return Ok(());
        }
        Err(archive(
            "the zip archive begins with too many directories or hidden files",
        ))
    }

    /// Reads the rest of the archive, and checks by its directory that this was all.
    fn end(&self, source: &mut dyn BufRead) -> io::Result<()> {
        let mut tail: Vec<u8> = Vec::new();
        loop {
            let piece = source.fill_buf()?;
            if piece.is_empty() {
                break;
            }
            let taken = piece.len();
            tail.extend_from_slice(piece);
            source.consume(taken);
            if tail.len() > 2 * TAIL {
                tail.drain(..tail.len() - TAIL);
            }
        }
        let files = files(&tail).ok_or_else(|| {
            archive("the zip archive is damaged or has too many files: pack one CSV file")
        })?;
        let real: Vec<_> = files.iter().filter(|(name, _)| !is_ignored(name)).collect();
        match real.as_slice() {
            [(name, crc)] if *name == self.name && *crc == self.crc.sum() => Ok(()),
            [(name, _)] if *name == self.name => Err(archive(
                "the zip archive is damaged: the check sum of its file is wrong",
            )),
            [(name, _)] => Err(archive(&format!(
                "the zip archive is damaged: its file is `{}` at its head and `{name}` in its directory",
                self.name
            ))),
            several => {
                let names: Vec<_> = several
                    .iter()
                    .take(5)
                    .map(|(name, _)| name.as_str())
                    .collect();
                Err(archive(&format!(
                    "the zip archive has {} files ({}): send one CSV file per upload",
                    several.len(),
                    names.join(", ")
                )))
            }
        }
    }
}

impl Read for Entry {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let read = match &mut self.state {
                State::Head(_) => {
                    if let State::Head(source) = std::mem::replace(&mut self.state, State::Done) {
                        self.begin(source)?;
                    }
                    continue;
                }
                State::Deflated(decoder) => decoder.read(into)?,
                State::Stored(source, left) => {
                    let most = into.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    let read = source.read(&mut into[..most])?;
                    if read == 0 && *left > 0 {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    *left -= read as u64;
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
                State::Stored(source, _) | State::Head(source) => source,
                State::Done => return Ok(0),
            };
            self.end(source.as_mut())?;
        }
    }
}

/// What stands before a file.
struct Head {
    flags: u16,
    method: u16,
    size: u64,
    name: String,
    /// Its sizes have eight bytes each.
    zip64: bool,
}

impl Head {
    fn read(source: &mut dyn BufRead) -> io::Result<Self> {
        let mut fixed = [0; 30];
        source.read_exact(&mut fixed)?;
        if fixed[..4] != LOCAL {
            return Err(archive("the zip archive has no file in it"));
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
            zip64: has_zip64(&rest[name..]),
            name: String::from_utf8_lossy(&rest[..name]).into_owned(),
        })
    }

    /// Reads an entry to its end, and what stands behind it.
    fn pass(&self, source: Box<dyn BufRead>) -> io::Result<Box<dyn BufRead>> {
        let mut source = match self.method {
            8 => {
                let mut data = DeflateDecoder::new(source);
                if pass_bytes(&mut data, PASSED_BYTES + 1)? > PASSED_BYTES {
                    return Err(unreadable());
                }
                data.into_inner()
            }
            // Only what has no bytes may leave its size for later.
            0 if self.size <= PASSED_BYTES && (self.flags & 8 == 0 || self.size == 0) => {
                let mut source = source;
                if pass_bytes(&mut source, self.size)? < self.size {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                source
            }
            _ => return Err(unreadable()),
        };
        if self.flags & 8 != 0 {
            let mut first = [0; 4];
            source.read_exact(&mut first)?;
            // Its name is optional: without it the check sum was read.
            let check_sum = if first == DESCRIPTOR { 4 } else { 0 };
            let sizes = if self.zip64 { 16 } else { 8 };
            pass_bytes(&mut source, check_sum + sizes)?;
        }
        Ok(source)
    }
}

fn pass_bytes(source: &mut dyn Read, most: u64) -> io::Result<u64> {
    io::copy(&mut source.take(most), &mut io::sink())
}

/// Whether extra fields of an entry hold one of zip64 (4.5.3).
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

/// The files that the directory names, with their check sums; none if there is no directory in `tail`.
fn files(tail: &[u8]) -> Option<Vec<(String, u32)>> {
    let end = tail.windows(4).rposition(|window| window == END)?;
    let end = tail.get(end..end + 22).map(|record| (end, record))?;
    let count = usize::from(u16_at(end.1, 10));
    let size = usize::try_from(u32_at(end.1, 12)).ok()?;
    // A zip64 record may stand between the directory and its end; it is found from the directory's own first entry.
    let from = end
        .0
        .checked_sub(size)
        .filter(|at| tail[*at..].starts_with(&CENTRAL));
    let mut at = match from {
        Some(at) => at,
        None => tail.windows(4).position(|window| window == CENTRAL)?,
    };
    let mut files = Vec::new();
    while tail
        .get(at..at + 46)
        .is_some_and(|entry| entry[..4] == CENTRAL)
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

/// Directories, and what macOS adds to every file.
fn is_ignored(name: &str) -> bool {
    name.ends_with('/') || name.starts_with("__MACOSX/") || name.ends_with(".DS_Store")
}

/// The first entry of spreadsheets and the like.
fn is_document(name: &str) -> bool {
    let known = [
        "[Content_Types].xml",
        "mimetype",
        "_rels/.rels",
        "META-INF/MANIFEST.MF",
    ];
    known.contains(&name) || name.starts_with("xl/") || name.starts_with("docProps/")
}

fn unreadable() -> io::Error {
    archive(
        "the zip archive is packed in a way that can't be read as it arrives: pack it with deflate, as `zip` does, or use gzip",
    )
}

fn archive(why: &str) -> io::Error {
    Refused::Archive(why.into()).into()
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
