//! Detects where the header of a CSV file is, and which dialect the file is written in, from a bounded head of it.
//! A guess counts only if the header under it has every required column, so that a wrong guess is an error.

use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::{
    cells::CellReader,
    dialect::{Dialect, DialectOptions, Escape},
    frame::{RecordBlock, RecordFramer, RecordKind},
    scan::FramingOptions,
};
use crate::parse::{
    Limits,
    header::Header,
    value::{
        field::{EventField, trim},
        timestamp::TimestampParser,
    },
};

/// Bytes in which the header is searched.
pub(crate) const HEAD_BYTES: usize = 128 * 1024;
/// Maximum lines above the header: titles, comments, notes of an export.
const PREAMBLE_LINES: usize = 30;
/// Delimiters that are tried, the most likely first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Quotes that are tried.
const QUOTES: [u8; 2] = [b'"', b'\''];

/// The detected header and dialect of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Detection {
    pub(super) dialect: Dialect,
    /// Bytes above the header.
    pub(super) preamble_bytes: usize,
    /// Lines above the header.
    pub(super) preamble_lines: u32,
    /// Number of columns; 0 if no header was found.
    columns: usize,
}

/// What makes a record a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeaderRequirements<'a> {
    /// The labels that the upload maps to event fields.
    pub(super) columns: &'a [(EventField, String)],
    /// Whether the upload says that the file is an `errors.csv`.
    pub(super) from_errors_csv: bool,
    pub(super) limits: Limits,
}

/// Detects header and dialect of a file that starts with `head`. Where there is no header, returns the most likely
/// dialect, under which reading the header reports what is missing.
pub(super) fn detect(
    head: &[u8],
    stated: DialectOptions,
    requirements: HeaderRequirements<'_>,
) -> Detection {
    let (separator, preamble_bytes) = separator_line(head);
    let first = Detection {
        dialect: Dialect::default(),
        preamble_bytes,
        preamble_lines: u32::from(preamble_bytes > 0),
        columns: 0,
    };
    let delimiters: Vec<u8> = match stated.delimiter.or(separator) {
        Some(one) => vec![one],
        None => DELIMITERS.to_vec(),
    };
    let quotes: Vec<u8> = match stated.quote {
        Some(one) => vec![one],
        None => QUOTES.to_vec(),
    };
    let escape = stated.escape.unwrap_or_default();
    let dialects = || {
        let pairs = delimiters
            .iter()
            .flat_map(|delimiter| quotes.iter().map(move |quote| (*delimiter, *quote)));
        let dialects = pairs.map(|(delimiter, quote)| Dialect {
            delimiter,
            quote,
            escape,
        });
        dialects.filter(|dialect| dialect.is_usable())
    };
    for (preamble_bytes, preamble_lines) in header_candidates(head, first) {
        let text = &head[preamble_bytes..];
        for dialect in dialects() {
            if let Some(columns) = header_columns(text, dialect, requirements) {
                let limits = requirements.limits;
                return Detection {
                    dialect: refine_by_rows(text, dialect, stated, columns, limits),
                    preamble_bytes,
                    preamble_lines,
                    columns,
                };
            }
        }
    }
    let delimiter = match &delimiters[..] {
        [one] => *one,
        several => most_frequent(&head[preamble_bytes..], several),
    };
    let dialect = Dialect {
        delimiter,
        quote: quotes[0],
        escape,
    };
    Detection { dialect, ..first }
}

/// Detects the parts of the dialect that are not stated, and that show in the rows rather than in the header.
fn refine_by_rows(
    text: &[u8],
    dialect: Dialect,
    stated: DialectOptions,
    columns: usize,
    limits: Limits,
) -> Dialect {
    let dialect = match stated.quote {
        None => detect_quote(text, dialect),
        Some(_) => dialect,
    };
    match stated.escape {
        None => detect_escape(text, dialect, columns, limits),
        Some(_) => dialect,
    }
}

/// Returns the delimiter that occurs most often in the first line. Used where no delimiter gives a header, to name the
/// labels in the error.
fn most_frequent(text: &[u8], delimiters: &[u8]) -> u8 {
    let line = text
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty());
    let count = |delimiter: u8| memchr_iter(delimiter, line.unwrap_or_default()).count();
    // `max_by_key` returns the last of equals; reversed, that is the most likely one.
    let best = delimiters
        .iter()
        .copied()
        .rev()
        .max_by_key(|delimiter| count(*delimiter));
    best.unwrap_or(b',')
}

/// Returns the delimiter and the length of a first line such as `sep=;`, which Excel writes.
fn separator_line(head: &[u8]) -> (Option<u8>, usize) {
    let end = memchr(b'\n', head).unwrap_or(head.len());
    let line = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
    match line {
        [s, e, p, b'=', delimiter] if [*s, *e, *p].eq_ignore_ascii_case(b"sep") => {
            (Some(*delimiter), (end + 1).min(head.len()))
        }
        _ => (None, 0),
    }
}

/// Returns the start of each line that may be the header, with the number of lines above it. Blank lines before the
/// first candidate belong to it: the reader counts them.
fn header_candidates(head: &[u8], first: Detection) -> impl Iterator<Item = (usize, u32)> {
    let mut at = first.preamble_bytes;
    let mut line = first.preamble_lines;
    let mut tried = 0;
    let mut is_first = true;
    std::iter::from_fn(move || {
        while at < head.len() && tried <= PREAMBLE_LINES {
            let length = memchr(b'\n', &head[at..]).map_or(head.len() - at, |end| end + 1);
            let (start, lines) = (at, line);
            let is_blank = head[at..at + length].trim_ascii().is_empty();
            at += length;
            line += 1;
            if is_blank && !is_first {
                continue;
            }
            tried += 1;
            if is_blank {
                continue;
            }
            let candidate = if std::mem::take(&mut is_first) {
                (first.preamble_bytes, first.preamble_lines)
            } else {
                (start, lines)
            };
            return Some(candidate);
        }
        None
    })
}

/// Returns the number of columns if the first record of `text` is a header with every required column.
fn header_columns(
    text: &[u8],
    dialect: Dialect,
    requirements: HeaderRequirements<'_>,
) -> Option<usize> {
    let HeaderRequirements {
        columns,
        from_errors_csv,
        limits,
    } = requirements;
    let options = framing(dialect, limits, None);
    let (mut framer, mut block, mut cells) = (
        RecordFramer::new(options, 1, 0),
        RecordBlock::default(),
        CellReader::new(dialect),
    );
    framer.push(text);
    framer.end_input();
    if !framer.next_block(&mut block) || !block.damaged.is_empty() {
        return None;
    }
    let crlf = block.records.first().is_some_and(|record| record.crlf);
    cells.load(&mut block.text);
    let cells = cells.next()?;
    let cells = if crlf { cells.without_cr() } else { cells };
    let labels = cells.to_text()?;
    let header = Header::read(&labels, columns, &limits, from_errors_csv).ok()?;
    Some(header.labels.len())
}

fn framing(dialect: Dialect, limits: Limits, columns: Option<usize>) -> FramingOptions {
    FramingOptions {
        dialect,
        record_bytes: limits.record_bytes,
        record_lines: limits.record_lines,
        columns,
    }
}

/// Returns the first line above the header that is a row rather than a title: it is as wide as the header, with at least
/// three filled cells, one of them a timestamp. The row would be lost without an error.
pub(super) fn row_above_header(
    head: &[u8],
    detection: &Detection,
    timestamps: &TimestampParser,
) -> Option<u32> {
    let preamble = &head[..detection.preamble_bytes];
    let mut cells = CellReader::new(detection.dialect);
    (1..)
        .zip(preamble.split(|byte| *byte == b'\n'))
        .find_map(|(line, text)| {
            let mut record = [text.strip_suffix(b"\r").unwrap_or(text), b"\n"].concat();
            cells.load(&mut record);
            let cells = cells.next()?;
            let filled = || cells.iter().map(trim).filter(|cell| !cell.is_empty());
            let is_row = cells.len() == detection.columns
                && filled().count() >= 3
                && filled().any(|cell| timestamps.read(cell).is_ok());
            is_row.then_some(line)
        })
}

/// Detects whether the quote is an apostrophe, which a header without quotes does not show: at least two cells of the
/// rows are enclosed by it, few only start with it, and there is no double quote.
fn detect_quote(text: &[u8], dialect: Dialect) -> Dialect {
    if dialect.quote != b'"' || memchr(b'"', text).is_some() {
        return dialect;
    }
    let (mut enclosed, mut only_started) = (0, 0);
    // The last line may be cut off by the end of the head.
    let end = memrchr(b'\n', text).unwrap_or(text.len());
    for line in text[..end].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for cell in line.split(|byte| *byte == dialect.delimiter) {
            match cell {
                [b'\'', .., b'\''] => enclosed += 1,
                [b'\'', ..] => only_started += 1,
                _ => {}
            }
        }
    }
    // A quoted cell that contains the delimiter counts as one that only starts with the quote.
    if enclosed >= 2 && enclosed > 2 * only_started + 1 {
        return Dialect {
            quote: b'\'',
            ..dialect
        };
    }
    dialect
}

/// Detects whether a backslash escapes quotes: only if that makes more records valid, since a cell may end in a
/// backslash of its own.
fn detect_escape(text: &[u8], dialect: Dialect, columns: usize, limits: Limits) -> Dialect {
    let escaped = Dialect {
        escape: Escape::Backslash,
        ..dialect
    };
    let escaped_quote = [b'\\', dialect.quote];
    if !escaped.is_usable() || memmem::find(text, &escaped_quote).is_none() {
        return dialect;
    }
    let count = |dialect| count_valid_records(text, framing(dialect, limits, Some(columns)));
    if count(escaped) > count(dialect) {
        escaped
    } else {
        dialect
    }
}

/// Counts the records with the right number of cells and without text after a closing quote.
fn count_valid_records(mut text: &[u8], options: FramingOptions) -> usize {
    let (mut framer, mut block) = (RecordFramer::new(options, 1, 0), RecordBlock::default());
    let mut reader = CellReader::new(options.dialect);
    let mut valid = 0;
    while !text.is_empty() {
        text = &text[framer.push(text)..];
        if text.is_empty() {
            framer.end_input();
        }
        while framer.next_block(&mut block) {
            reader.load(&mut block.text);
            let records = block.records.iter();
            for record in records.filter(|record| record.kind != RecordKind::Damaged) {
                let fits = reader
                    .next()
                    .is_some_and(|cells| Some(cells.len()) == options.columns);
                valid += usize::from(fits && record.kind == RecordKind::Clean);
            }
        }
    }
    valid
}

#[cfg(test)]
mod tests;
