//! Rejections of records that csv-async never sees: those over the length limit, and those with an unclosed quote.

use super::{
    dialect::{Dialect, Escape},
    fault,
    frame::DamagedRecord,
};
use crate::{
    model::rejection::Rejection,
    parse::{Limits, header::Header, rejected_cells::clip_cells},
};

/// Returns the rejection of a damaged record as row number `row`.
pub(super) fn rejection(
    record: &DamagedRecord,
    row: u32,
    header: &Header,
    dialect: Dialect,
    limits: &Limits,
) -> Rejection {
    let line_cells = split_line(&record.text, dialect);
    let fault = fault::damaged(record, header, line_cells.len(), limits);
    let line_cells = line_cells.iter().map(Vec::as_slice);
    let (cells, clipped) = clip_cells(line_cells, header.labels.len());
    Rejection {
        row,
        line: record.line,
        last_line: record.last_line,
        byte_offset: record.byte,
        cells,
        clipped: clipped || record.clipped || record.last_line > record.line,
        faults: vec![fault],
    }
}

/// Splits a line whose last quote may be open into the cells that a person would see.
fn split_line(line: &[u8], dialect: Dialect) -> Vec<Vec<u8>> {
    let Dialect {
        delimiter,
        quote,
        escape,
    } = dialect;
    let (mut cells, mut cell) = (Vec::new(), Vec::new());
    let (mut is_quoted, mut at_start) = (false, true);
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            byte if is_quoted && byte == quote => {
                is_quoted = rest.next_if_eq(&quote).is_some();
                cell.extend(is_quoted.then_some(quote));
            }
            b'\\' if is_quoted && escape == Escape::Backslash => cell.extend(rest.next()),
            byte if !is_quoted && at_start && byte == quote => is_quoted = true,
            byte if !is_quoted && byte == delimiter => {
                cells.push(std::mem::take(&mut cell));
                at_start = true;
                continue;
            }
            byte => cell.push(byte),
        }
        at_start = false;
    }
    cells.push(cell);
    cells
}
