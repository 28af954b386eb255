//! Detects where the header of a CSV file is, and which dialect the file is written in, from a bounded head of it.
//! A guess counts only if the header under it has every required column, so that a wrong guess is an error.

use std::cell::Cell;

use memchr::{memchr, memchr2};

use super::{
    cells::CellReader,
    dialect::{Dialect, DialectOptions},
    head::{LikelyHeader, likely_header, records},
    refine::refine_by_rows,
};
use crate::parse::{
    Limits,
    header::{
        Header, HeaderContext,
        sample::{Sample, SampleRow},
        source::Mapping,
    },
    options::HeaderOption,
    value::{field::trim, timestamp::TimestampParser},
};

/// Bytes in which the header is searched.
pub(crate) const HEAD_BYTES: usize = 128 * 1024;
/// Maximum lines above the header: titles, comments, notes of an export.
const PREAMBLE_LINES: usize = 30;
/// Delimiters that are tried, the most likely first.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Delimiters that are tried if none of these gives a header.
const RARE_DELIMITERS: &[u8] = b"^~\x01\x1f\x1e\x02:!#$%&*+/=?@ ";
/// Rows below the header by whose values columns are distinguished.
const SAMPLE_ROWS: usize = 50;
/// The start of the line that names the columns of a W3C log.
const FIELDS_LINE: &[u8] = b"#Fields:";
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
    pub(super) columns: usize,
}

/// A detection, with what else the head tells.
#[derive(Debug, Clone)]
pub(super) struct Detected {
    pub(super) detection: Detection,
    /// The first rows below the header.
    pub(super) sample: Vec<SampleRow>,
    /// The line of the header of another table.
    pub(super) other_table: Option<u32>,
}

/// What makes a record a header.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeaderRequirements<'a> {
    /// What the upload states of the columns.
    pub(super) columns: &'a Mapping,
    /// What the upload states of the header.
    pub(super) header: HeaderOption,
    /// Whether the upload says that the file is an `errors.csv`.
    pub(super) from_errors_csv: bool,
    pub(super) limits: Limits,
    pub(super) timestamps: &'a TimestampParser,
    /// What may be spent on the columns of all lines that may be the header.
    pub(super) budget: Option<&'a Cell<u32>>,
}

/// Detects header and dialect of a file that starts with `head`. Where there is no header, returns the most likely
/// one, reading which reports what is missing.
pub(super) fn detect(
    head: &[u8],
    stated: DialectOptions,
    requirements: HeaderRequirements<'_>,
) -> Detected {
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
    let has_header = requirements.header != HeaderOption::None;
    let fields = fields_line(head).filter(|_| has_header && stated.delimiter.is_none());
    if let Some((start, delimiter)) = fields {
        let dialects = dialects(&[delimiter], stated);
        return found_at(head, start, &dialects, stated, requirements)
            .unwrap_or_else(|| at_line(head, start, dialects[0], requirements));
    }
    if has_header {
        let candidates: Vec<_> = header_candidates(head, first).collect();
        let common = dialects(&delimiters, stated);
        let mut starts = candidates.iter();
        let found = starts.find_map(|start| found_at(head, *start, &common, stated, requirements));
        if let Some(found) = found {
            return found;
        }
        if stated.delimiter.or(separator).is_none() {
            let rare = dialects(RARE_DELIMITERS, stated);
            let mut starts = candidates.iter();
            let found =
                starts.find_map(|start| found_at(head, *start, &rare, stated, requirements));
            if let Some(found) = found {
                return found;
            }
        }
    }
    likely(head, first, &dialects(&delimiters, stated), requirements)
}

/// Returns every usable dialect with one of these delimiters.
fn dialects(delimiters: &[u8], stated: DialectOptions) -> Vec<Dialect> {
    let quotes: Vec<u8> = match stated.quote {
        Some(one) => vec![one],
        None => QUOTES.to_vec(),
    };
    let escape = stated.escape.unwrap_or_default();
    let pairs = delimiters
        .iter()
        .flat_map(|delimiter| quotes.iter().map(move |quote| (*delimiter, *quote)));
    let dialects = pairs.map(|(delimiter, quote)| Dialect {
        delimiter,
        quote,
        escape,
    });
    dialects.filter(|dialect| dialect.is_usable()).collect()
}

/// Returns the detection of a header at a line, if one of the dialects gives one.
fn found_at(
    head: &[u8],
    (preamble_bytes, preamble_lines): (usize, u32),
    dialects: &[Dialect],
    stated: DialectOptions,
    requirements: HeaderRequirements<'_>,
) -> Option<Detected> {
    let text = &head[preamble_bytes..];
    let first_line = text.trim_ascii_start();
    let first_line = &first_line[..memchr(b'\n', first_line).unwrap_or(first_line.len())];
    dialects.iter().find_map(|dialect| {
        // A line with neither the delimiter nor a quote has one column, which is never enough.
        let is_blank = dialect.delimiter.is_ascii_whitespace();
        if !is_blank && memchr2(dialect.delimiter, dialect.quote, first_line).is_none() {
            return None;
        }
        let (columns, sample) = header_columns(text, preamble_lines + 1, *dialect, requirements)?;
        let dialect = refine_by_rows(text, *dialect, stated, columns, requirements.limits);
        Some(Detected {
            detection: Detection {
                dialect,
                preamble_bytes,
                preamble_lines,
                columns,
            },
            sample,
            other_table: None,
        })
    })
}

/// Returns the detection of a line as the header, whatever it lacks.
fn at_line(
    head: &[u8],
    (preamble_bytes, preamble_lines): (usize, u32),
    dialect: Dialect,
    requirements: HeaderRequirements<'_>,
) -> Detected {
    let text = &head[preamble_bytes..];
    let limits = requirements.limits;
    let records = records(text, preamble_lines + 1, dialect, limits, SAMPLE_ROWS + 1);
    Detected {
        detection: Detection {
            dialect,
            preamble_bytes,
            preamble_lines,
            columns: 0,
        },
        sample: records
            .into_iter()
            .skip(1)
            .map(|record| record.row)
            .collect(),
        other_table: None,
    }
}

/// Returns the detection of the most likely header, by the dialect under which most records have the same number of cells.
fn likely(
    head: &[u8],
    first: Detection,
    dialects: &[Dialect],
    requirements: HeaderRequirements<'_>,
) -> Detected {
    let text = &head[first.preamble_bytes..];
    let line = first.preamble_lines + 1;
    let (limits, timestamps) = (requirements.limits, requirements.timestamps);
    let last = line + u32::try_from(PREAMBLE_LINES).unwrap_or(0);
    let guess = |dialect: &Dialect| {
        let records = records(text, line, *dialect, limits, usize::MAX);
        (*dialect, likely_header(&records, last, timestamps), records)
    };
    let score = |likely: &Option<LikelyHeader>| {
        likely
            .as_ref()
            .map_or(0, |likely| likely.records * likely.columns.min(8))
    };
    // Quotes show in the rows, which are not known to be rows.
    let quote = dialects.first().map(|dialect| dialect.quote);
    let guesses = dialects
        .iter()
        .filter(|dialect| Some(dialect.quote) == quote)
        .map(guess);
    // Of equals, the first wins.
    let best = guesses.reduce(|best, next| {
        if score(&next.1) > score(&best.1) {
            next
        } else {
            best
        }
    });
    let none = (
        dialects.first().copied().unwrap_or_default(),
        None,
        Vec::new(),
    );
    let (dialect, likely, records) = best.unwrap_or(none);
    let likely = likely.unwrap_or_default();
    let is_below = requirements.header != HeaderOption::None;
    let at = if is_below { likely.preamble_lines } else { 0 };
    let rows = records.into_iter().map(|record| record.row);
    let rows = rows.filter(|row| !is_below || row.line > at.max(line - 1) + 1);
    Detected {
        detection: Detection {
            dialect,
            columns: if is_below { 0 } else { likely.columns },
            preamble_bytes: first.preamble_bytes + if is_below { likely.preamble_bytes } else { 0 },
            preamble_lines: at.max(first.preamble_lines),
        },
        sample: rows.take(SAMPLE_ROWS).collect(),
        other_table: likely.other_table,
    }
}

/// Returns where the labels of a W3C log start, with the lines above, and its delimiter.
fn fields_line(head: &[u8]) -> Option<((usize, u32), u8)> {
    let mut start = 0;
    for line_number in 0..u32::try_from(PREAMBLE_LINES).unwrap_or(0) {
        let line = &head[start..];
        let end = memchr(b'\n', line).map_or(line.len(), |end| end + 1);
        if line.first() != Some(&b'#') {
            return None;
        }
        if let Some(labels) = line[..end].strip_prefix(FIELDS_LINE) {
            let space = labels
                .iter()
                .take_while(|byte| matches!(byte, b' ' | b'\t'))
                .count();
            let delimiter = if labels[space..].contains(&b'\t') {
                b'\t'
            } else {
                b' '
            };
            return Some(((start + FIELDS_LINE.len() + space, line_number), delimiter));
        }
        start += end;
    }
    None
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

/// Returns the number of columns and the first rows, if the first record of `text` is a header with every required column.
fn header_columns(
    text: &[u8],
    line: u32,
    dialect: Dialect,
    requirements: HeaderRequirements<'_>,
) -> Option<(usize, Vec<SampleRow>)> {
    let mut records =
        records(text, line, dialect, requirements.limits, SAMPLE_ROWS + 1).into_iter();
    let header = records.next()?;
    if !header.is_clean {
        return None;
    }
    let labels: Vec<_> = header.row.cells.iter().map(String::as_str).collect();
    let rows: Vec<_> = records.map(|record| record.row).collect();
    let context = HeaderContext {
        mapped: requirements.columns,
        limits: requirements.limits,
        from_errors_csv: requirements.from_errors_csv,
        header: requirements.header,
        timestamp_format: None,
        sample: Sample {
            rows: &rows,
            timestamps: Some(requirements.timestamps),
            budget: requirements.budget,
        },
    };
    let columns = match Header::read(&labels, &context) {
        Ok(header) => header.labels.len(),
        // The columns are all there; which of them is meant is a question.
        Err(why) if why.is_of_found_header() => labels.len(),
        Err(_) => return None,
    };
    Some((columns, rows))
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

#[cfg(test)]
mod tests;
