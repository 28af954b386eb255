//! Detects the parts of a dialect that show in the rows rather than in the header.

use memchr::{memchr, memmem, memrchr};

use super::{
    cells::CellReader,
    dialect::{Dialect, DialectOptions, Escape},
    frame::{RecordBlock, RecordFramer, RecordKind},
    scan::FramingOptions,
};
use crate::parse::Limits;

/// Detects the parts of the dialect that are not stated, and that show in the rows rather than in the header.
pub(super) fn refine_by_rows(
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

/// Whether quotes are probably part of the text: without quotes, all records of the text have the right number of cells,
/// and with them they do not.
pub(super) fn quotes_are_text(
    text: &[u8],
    dialect: Dialect,
    columns: usize,
    limits: Limits,
) -> bool {
    let end = memrchr(b'\n', text).map_or(text.len(), |end| end + 1);
    let text = &text[..end];
    if dialect.quote == Dialect::NO_QUOTE || memchr(dialect.quote, text).is_none() {
        return false;
    }
    let without = Dialect {
        quote: Dialect::NO_QUOTE,
        escape: Escape::Doubled,
        ..dialect
    };
    let lines = text.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty()).count();
    let count = |dialect| count_valid_records(text, framing(dialect, limits, Some(columns)));
    count(without) == lines && count(dialect) < lines
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

fn framing(dialect: Dialect, limits: Limits, columns: Option<usize>) -> FramingOptions {
    FramingOptions {
        dialect,
        record_bytes: limits.record_bytes,
        record_lines: limits.record_lines,
        columns,
    }
}
