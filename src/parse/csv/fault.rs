//! The faults in the structure of CSV records: their number of cells, their quotes and their length.

use super::{
    cells::Cells,
    frame::{DamagedRecord, RecordDamage},
    scan::UnclosedQuote,
};
use crate::{
    model::rejection::{Fault, FaultCode},
    parse::{Limits, fault::row_fault, header::Header},
};

/// Maximum number of missing columns named in a message.
const LABELS_SHOWN: usize = 8;

/// Returns the fault of a record with `found` cells, fewer than there are columns.
pub(super) fn missing_cell(header: &Header, found: usize) -> Fault {
    let expected = header.labels.len();
    let missing = &header.labels[found..];
    let shown: Vec<_> = missing
        .iter()
        .take(LABELS_SHOWN)
        .map(|label| format!("`{label}`"))
        .collect();
    let more = match missing.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let shown = shown.join(", ");
    let message =
        format!("the row has {found} of {expected} cells; there is none for {shown}{more}");
    row_fault(
        FaultCode::MissingCell,
        message,
        "add the missing cells, or remove the row",
    )
}

/// Returns the fault of a record with more cells than there are columns.
pub(super) fn extra_cell(header: &Header, cells: Cells<'_>, quote: u8) -> Fault {
    let (expected, found) = (header.labels.len(), cells.len());
    let extra = cells.get(expected);
    let has_spaced_quote =
        |cell: &[u8]| cell.len() > 1 && cell.trim_ascii_start().first() == Some(&quote);
    let hint = if cells.iter().any(has_spaced_quote) {
        "remove the space in front of the opening quote: it makes the quote a part of the text"
    } else if extra.trim_ascii().is_empty() {
        "remove the delimiters at the end of the row"
    } else {
        "put quotes around cells that hold the delimiter"
    };
    Fault {
        value: Some(Fault::clip(extra)),
        ..row_fault(
            FaultCode::ExtraCell,
            format!("the row has {found} cells where the header has {expected}"),
            hint,
        )
    }
}

/// Returns the fault of text between a closing quote and the end of the cell.
pub(super) fn stray_quote() -> Fault {
    row_fault(
        FaultCode::StrayQuote,
        "a cell goes on after its closing quote, or a quoted cell starts without a delimiter before it".to_owned(),
        "write a quote inside a quoted cell twice, a delimiter before its opening quote, and nothing between the closing quote and the delimiter",
    )
}

/// Returns the fault of a record that could not be split; `cells` is the number of cells on its first line.
pub(super) fn damaged(
    record: &DamagedRecord,
    header: &Header,
    cells: usize,
    limits: &Limits,
) -> Fault {
    let cause = match record.damage {
        RecordDamage::TooLong => {
            return row_fault(
                FaultCode::RecordTooLong,
                format!("the row is longer than {} bytes", limits.record_bytes),
                "shorten or remove the row, or raise RECORD_LIMIT_BYTES",
            );
        }
        RecordDamage::UnclosedQuote(cause) => cause,
    };
    let why = why_unclosed(cause, header, limits);
    let line = record.line;
    let lost = match record.last_line - line {
        0 => String::new(),
        1 => format!("; line {} is lost with it", record.last_line),
        _ => format!(
            "; lines {} to {} are lost with it",
            line + 1,
            record.last_line
        ),
    };
    let label = header
        .labels
        .get(cells.wrapping_sub(1))
        .filter(|_| !record.clipped);
    Fault {
        column: label.cloned(),
        ..row_fault(
            FaultCode::UnclosedQuote,
            format!("a quote opened on line {line} {why}{lost}"),
            "close the quote, or double it if it is part of the text",
        )
    }
}

fn why_unclosed(cause: UnclosedQuote, header: &Header, limits: &Limits) -> String {
    match cause {
        UnclosedQuote::EndOfFile => "is not closed before the end of the file".to_owned(),
        UnclosedQuote::ByteLimit => format!("is not closed within {} bytes", limits.record_bytes),
        UnclosedQuote::LineLimit => format!("is not closed within {} lines", limits.record_lines),
        UnclosedQuote::TextAfterQuote => {
            "closes on a later line, and text follows it there".to_owned()
        }
        UnclosedQuote::CellCount => {
            let expected = header.labels.len();
            format!("runs into other lines, which do not make a row of {expected} cells with it")
        }
        UnclosedQuote::JoiningSuspended => {
            "is not closed on its line, as so many before it".to_owned()
        }
    }
}
