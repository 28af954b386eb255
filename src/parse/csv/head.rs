//! The first records of a file, and the header that they are likely under where no known label tells.

use std::collections::HashMap;

use super::{
    cells::CellReader,
    dialect::Dialect,
    frame::{RecordBlock, RecordFramer, RecordKind},
    scan::FramingOptions,
};
use crate::parse::{
    Limits,
    header::{normalize_label, sample::SampleRow},
    value::{
        field::{EventField, trim},
        timestamp::TimestampParser,
    },
};

/// Maximum records that are looked at.
const RECORDS: usize = 200;
/// Bytes of a sample: enough to tell columns apart, whatever they hold.
const SAMPLE_BYTES: usize = 64 * 1024;

/// A record of the head.
#[derive(Debug, Clone)]
pub(super) struct HeadRecord {
    /// Bytes of text before it.
    pub(super) byte: usize,
    pub(super) row: SampleRow,
    /// Whether a blank line or record stands before it.
    pub(super) after_blank: bool,
    /// Whether its structure is that of a record.
    pub(super) is_clean: bool,
}

/// Returns the first records of a text that starts on `line`, without blank ones. The last record may be cut off by the end
/// of the head, so it is left out if the head is long.
pub(super) fn records(
    text: &[u8],
    line: u32,
    dialect: Dialect,
    limits: Limits,
    most: usize,
) -> Vec<HeadRecord> {
    let is_cut = text.len() > SAMPLE_BYTES;
    let text = &text[..text.len().min(SAMPLE_BYTES)];
    let options = FramingOptions {
        dialect,
        record_bytes: limits.record_bytes,
        record_lines: limits.record_lines,
        columns: None,
    };
    let mut framer = RecordFramer::new(options, line, 0);
    let (mut block, mut reader) = (RecordBlock::default(), CellReader::new(dialect));
    framer.push(text);
    framer.end_input();
    let (mut all, mut after_blank, mut next_line) = (Vec::new(), false, line);
    while all.len() < most.min(RECORDS) && framer.next_block(&mut block) {
        reader.load(&mut block.text);
        for record in &block.records {
            after_blank |= record.line > next_line;
            next_line = record.line + 1;
            if record.kind == RecordKind::Damaged {
                // Nothing is known of what follows a damaged header.
                if all.is_empty() {
                    return all;
                }
                continue;
            }
            let Some(cells) = reader.next() else { break };
            let cells = if record.crlf {
                cells.without_cr()
            } else {
                cells
            };
            if cells.are_blank() {
                after_blank = true;
                continue;
            }
            let texts = cells
                .iter()
                .map(|cell| String::from_utf8_lossy(cell).into_owned());
            let cells: Vec<_> = texts.collect();
            let breaks: usize = cells.iter().map(|cell| cell.matches('\n').count()).sum();
            next_line += u32::try_from(breaks).unwrap_or(0);
            all.push(HeadRecord {
                byte: usize::try_from(record.byte).unwrap_or(usize::MAX),
                row: SampleRow {
                    line: record.line,
                    cells,
                },
                after_blank: std::mem::take(&mut after_blank),
                is_clean: record.kind == RecordKind::Clean,
            });
        }
    }
    if is_cut && all.len() > 1 {
        all.pop();
    }
    all
}

/// Where a header is likely to be.
#[derive(Debug, Clone, Default)]
pub(super) struct LikelyHeader {
    /// Bytes and lines above it.
    pub(super) preamble_bytes: usize,
    pub(super) preamble_lines: u32,
    /// Cells of most records.
    pub(super) columns: usize,
    /// How many records have that many cells: with it, the dialects are compared.
    pub(super) records: usize,
    /// The line of the header of another table.
    pub(super) other_table: Option<u32>,
}

/// Returns the likely header among the records of a head, on line `last` at most: the first record as wide as most that
/// looks like labels.
pub(super) fn likely_header(
    records: &[HeadRecord],
    last: u32,
    timestamps: &TimestampParser,
) -> Option<LikelyHeader> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for record in records {
        *counts.entry(record.row.cells.len()).or_default() += 1;
    }
    let wide = counts.iter().filter(|(width, _)| **width > 1);
    let (columns, count) =
        wide.max_by_key(|(width, count)| (**count * (**width).min(8), **width))?;
    let is_header = |record: &&HeadRecord| {
        record.row.line <= last
            && record.row.cells.len() == *columns
            && looks_like_labels(&record.row.cells, timestamps)
    };
    let names_field = |record: &&HeadRecord| {
        let is_name = |cell: &String| {
            let mut names = EventField::ALL.into_iter().flat_map(EventField::names);
            names.any(|name| normalize_label(cell) == name)
        };
        record.row.cells.iter().any(is_name)
    };
    let first = records.first().filter(names_field);
    let header = first
        .or_else(|| records.iter().find(is_header))
        .or(records.first())?;
    let other = records.iter().enumerate().find(|(at, record)| {
        let next = records.get(at + 1);
        let cells = &record.row.cells;
        record.row.line != header.row.line
            && (record.after_blank || *at == 0 || records[at - 1].row.cells.len() == 1)
            && cells.len() > 1
            && next.is_some_and(|next| next.row.cells.len() == cells.len() && !next.after_blank)
            && looks_like_labels(cells, timestamps)
            && !next.is_some_and(|next| looks_like_labels(&next.row.cells, timestamps))
    });
    Some(LikelyHeader {
        preamble_bytes: header.byte,
        preamble_lines: header.row.line - 1,
        columns: *columns,
        records: *count,
        other_table: other.map(|(_, record)| record.row.line),
    })
}

/// Whether cells look like labels: each is filled and different from the others, and none is a number or a timestamp.
pub(super) fn looks_like_labels(cells: &[String], timestamps: &TimestampParser) -> bool {
    let filled = cells
        .iter()
        .filter(|cell| !trim(cell.as_bytes()).is_empty())
        .count();
    let is_value = |cell: &String| {
        let text = cell.trim();
        let digits = text.chars().filter(char::is_ascii_digit).count();
        let letters = text.chars().filter(|c| c.is_alphabetic()).count();
        digits > letters || timestamps.read(text.as_bytes()).is_ok()
    };
    let mut labels: Vec<_> = cells.iter().map(|cell| normalize_label(cell)).collect();
    labels.sort_unstable();
    labels.dedup();
    filled * 10 >= cells.len() * 8
        && !cells.iter().any(is_value)
        && labels.len() * 10 >= cells.len() * 7
}
