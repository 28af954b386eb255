//! What is wrong with a row, in words: each fault says where, what, and what to do about it.

use super::{
    csv::{
        cells::Row,
        frame::{Bad, Damage},
        scan::Cause,
    },
    header::Header,
    value::{
        field::{Required, ValueFault},
        timestamp::{Numeric, Order, TimeFault, Timestamps},
    },
};
use crate::{
    export::errors_csv::INCOMPLETE_MARK,
    model::rejection::{Fault, FaultCode},
};

/// Labels of missing columns named in a text.
const LABELS_SHOWN: usize = 8;

const FILL_IN: &str = "fill in the cell, or remove the row";
const EXAMPLE: &str =
    "write it as 2025-11-10T14:30:00Z, or say how it is written with timestamp_format";

fn fault(code: FaultCode, message: String, hint: impl Into<String>) -> Fault {
    Fault {
        column: None,
        code,
        message,
        value: None,
        hint: Some(hint.into()),
    }
}

fn cell_fault(
    code: FaultCode,
    label: &str,
    cell: &[u8],
    says: &str,
    hint: impl Into<String>,
) -> Fault {
    Fault {
        column: Some(label.to_owned()),
        value: Some(Fault::clip(cell)),
        ..fault(code, format!("`{label}` {says}"), hint)
    }
}

/// Fewer cells than columns.
pub(super) fn missing_cell(header: &Header, found: usize) -> Fault {
    let wanted = header.labels.len();
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
    let message = format!("the row has {found} of {wanted} cells; there is none for {shown}{more}");
    fault(
        FaultCode::MissingCell,
        message,
        "add the missing cells, or remove the row",
    )
}

/// More cells than columns.
pub(super) fn extra_cell(header: &Header, row: Row<'_>, quote: u8) -> Fault {
    let (wanted, found) = (header.labels.len(), row.len());
    let extra = row.cell(wanted);
    let spaced = |cell: &[u8]| cell.len() > 1 && cell.trim_ascii_start().first() == Some(&quote);
    let hint = if row.iter().any(spaced) {
        "remove the space in front of the opening quote: it makes the quote a part of the text"
    } else if extra.trim_ascii().is_empty() {
        "remove the delimiters at the end of the row"
    } else {
        "put quotes around cells that hold the delimiter"
    };
    Fault {
        value: Some(Fault::clip(extra)),
        ..fault(
            FaultCode::ExtraCell,
            format!("the row has {found} cells where the header has {wanted}"),
            hint,
        )
    }
}

/// Text between a closing quote and the end of the cell.
pub(super) fn stray_quote() -> Fault {
    fault(
        FaultCode::StrayQuote,
        "a cell goes on after its closing quote".to_owned(),
        "write a quote inside a quoted cell twice, and nothing between the closing quote and the delimiter",
    )
}

/// First words of rows that sum up the others.
const TOTALS: [&str; 7] = [
    "total",
    "totals",
    "grand total",
    "subtotal",
    "sum",
    "summe",
    "gesamt",
];

/// Whether a row that is no event sums up the others, as reports end.
pub(super) fn is_totals(row: Row<'_>) -> bool {
    let first = row.iter().map(super::value::field::trim).find(|c| !c.is_empty());
    let Some(text) = first.and_then(|cell| std::str::from_utf8(cell).ok()) else {
        return false;
    };
    let text = text.trim_end_matches(':');
    TOTALS.iter().any(|total| text.eq_ignore_ascii_case(total))
}

/// Says in the first fault what the row seems to be.
pub(super) fn say_totals(faults: &mut [Fault]) {
    if let Some(fault) = faults.first_mut() {
        fault.hint = Some("this looks like a row of totals, which is no event: remove it".into());
    }
}

/// What makes a cell unfit whatever its column means.
pub(super) fn cell(label: &str, cell: &[u8], limit: usize) -> Option<Fault> {
    if cell.len() > limit {
        let says = format!("has {} bytes, the limit is {limit}", cell.len());
        return Some(cell_fault(
            FaultCode::CellTooLong,
            label,
            cell,
            &says,
            "shorten the cell, or raise CELL_LIMIT_BYTES",
        ));
    }
    if memchr::memchr(0, cell).is_some() {
        let hint = "remove the NUL, or export the file again as UTF-8 text";
        return Some(cell_fault(
            FaultCode::NulByte,
            label,
            cell,
            "holds a NUL byte",
            hint,
        ));
    }
    if std::str::from_utf8(cell).is_err() {
        let hint = "save the file as UTF-8";
        return Some(cell_fault(
            FaultCode::EncodingError,
            label,
            cell,
            "holds bytes that are not UTF-8",
            hint,
        ));
    }
    None
}

/// Whether a cell of a row that went out to be mended still has the mark of what is to be filled in.
pub(super) fn is_marked(cell: &[u8]) -> bool {
    let mut mark = [0; 4];
    memchr::memmem::find(cell, INCOMPLETE_MARK.encode_utf8(&mut mark).as_bytes()).is_some()
}

/// What of such a cell is left to do.
pub(super) fn not_mended(label: &str, cell: &[u8]) -> Option<Fault> {
    let hint = "write what belongs there, and remove the mark";
    is_marked(cell).then(|| {
        let says = format!("still has the mark `{INCOMPLETE_MARK}` of what could not be kept");
        cell_fault(FaultCode::NotMended, label, cell, &says, hint)
    })
}

/// What is wrong with a value that must be there.
pub(super) fn value(
    label: &str,
    cell: &[u8],
    (limit, setting): (usize, &str),
    found: ValueFault,
) -> Fault {
    match found {
        ValueFault::Missing => {
            let says = if super::value::field::trim(cell).is_empty() {
                "is empty"
            } else {
                "holds what stands for no value"
            };
            cell_fault(FaultCode::MissingValue, label, cell, says, FILL_IN)
        }
        ValueFault::TooLong => {
            let says = format!(
                "has {} bytes, the limit is {limit}",
                super::value::field::trim(cell).len()
            );
            let hint = format!(
                "shorten the value, check that the column is the one meant, or raise {setting}"
            );
            cell_fault(FaultCode::ValueTooLong, label, cell, &says, &hint)
        }
    }
}

/// What is wrong with a timestamp.
pub(super) fn time(label: &str, value: &[u8], found: TimeFault, times: &Timestamps) -> Fault {
    let code = match found {
        TimeFault::OutOfRange => FaultCode::TimestampOutOfRange,
        TimeFault::Ambiguous => FaultCode::AmbiguousTimestamp,
        TimeFault::Shape
        | TimeFault::NoSuchDate
        | TimeFault::NoSuchTime
        | TimeFault::HourTwentyFour
        | TimeFault::LeapSecond
        | TimeFault::BadOffset
        | TimeFault::Gap
        | TimeFault::Format
        | TimeFault::UnknownZone => FaultCode::InvalidTimestamp,
    };
    let zone = times.zone.name();
    let says = match found {
        TimeFault::Shape => "is in no accepted form".to_owned(),
        TimeFault::NoSuchDate => "is a date that does not exist".to_owned(),
        TimeFault::NoSuchTime => "is a time of day that does not exist".to_owned(),
        TimeFault::HourTwentyFour => "has the hour 24".to_owned(),
        TimeFault::LeapSecond => "has the second 60".to_owned(),
        TimeFault::BadOffset => "has an offset from UTC that does not exist".to_owned(),
        TimeFault::Gap => format!("is a time that the clocks of {zone} skipped"),
        TimeFault::OutOfRange => "is not between the years 1970 and 2199".to_owned(),
        TimeFault::Ambiguous => "does not say which number is the day".to_owned(),
        TimeFault::Format => {
            let format = times.format.as_ref().map_or("", |format| format.text());
            format!("does not match timestamp_format `{format}`")
        }
        TimeFault::UnknownZone => "names a time zone that is not known".to_owned(),
    };
    cell_fault(code, label, value, &says, time_hint(value, found))
}

fn time_hint(value: &[u8], found: TimeFault) -> String {
    let number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    match found {
        TimeFault::Shape if value.iter().all(|byte| byte.is_ascii_digit()) => {
            "a number must have exactly 10 digits (seconds since 1970), 13 (milliseconds) or 16 (microseconds); the days of a spreadsheet need `timestamp_format=excel`"
        }
        TimeFault::Shape if value.iter().all(number) => {
            "if it comes from a spreadsheet, send `timestamp_format=excel`, or give the column the format yyyy-mm-dd hh:mm:ss and export again"
        }
        TimeFault::Shape => EXAMPLE,
        TimeFault::NoSuchDate => "correct the date, or remove the row",
        TimeFault::NoSuchTime => "hours go from 00 to 23, minutes and seconds from 00 to 59",
        TimeFault::HourTwentyFour => "write midnight as 00:00 of the next day",
        TimeFault::LeapSecond => "write second 59, or 00 of the next minute",
        TimeFault::BadOffset => "write the offset as Z, +HH, +HHMM or +HH:MM",
        TimeFault::Gap => "correct the time, or write its offset from UTC",
        TimeFault::OutOfRange => "correct the year; if it is a number, check its unit",
        TimeFault::Ambiguous => return ambiguous_hint(value),
        TimeFault::Format => "correct the value, or the format",
        TimeFault::UnknownZone => "write an IANA name such as Europe/Berlin, or an offset, and read it with %z",
    }
    .to_owned()
}

fn ambiguous_hint(value: &[u8]) -> String {
    let Some(numeric) = Numeric::of(value) else {
        return EXAMPLE.to_owned();
    };
    let (day_first, month_first) = (numeric.format(true), numeric.format(false));
    match numeric.order() {
        Order::DayFirst => format!("say that the day comes first: timestamp_format={day_first}"),
        Order::MonthFirst => {
            format!("say that the month comes first: timestamp_format={month_first}")
        }
        Order::Either | Order::Neither => format!(
            "say which comes first: timestamp_format={day_first} for the day, timestamp_format={month_first} for the month"
        ),
    }
}

/// What is wrong with a record that could not be handed on as cells; `cells` is how many its first line seems to have.
pub(super) fn damage(bad: &Bad, header: &Header, cells: usize, limits: (usize, u32)) -> Fault {
    let cause = match bad.damage {
        Damage::TooLong => {
            let message = format!("the row is longer than {} bytes", limits.0);
            return fault(
                FaultCode::RecordTooLong,
                message,
                "shorten or remove the row, or raise RECORD_LIMIT_BYTES",
            );
        }
        Damage::Unclosed(cause) => cause,
    };
    let why = never_closed(cause, header, limits);
    let line = bad.line;
    let lost = match bad.last_line - line {
        0 => String::new(),
        1 => format!("; line {} is lost with it", bad.last_line),
        _ => format!("; lines {} to {} are lost with it", line + 1, bad.last_line),
    };
    let label = header
        .labels
        .get(cells.wrapping_sub(1))
        .filter(|_| !bad.clipped);
    Fault {
        column: label.cloned(),
        ..fault(
            FaultCode::UnclosedQuote,
            format!("a quote opened on line {line} {why}{lost}"),
            "close the quote, or double it if it is part of the text",
        )
    }
}

/// How it shows that a quote is not closed.
fn never_closed(cause: Cause, header: &Header, (bytes, lines): (usize, u32)) -> String {
    match cause {
        Cause::EndOfFile => "is not closed before the end of the file".to_owned(),
        Cause::TooManyBytes => format!("is not closed within {bytes} bytes"),
        Cause::TooManyLines => format!("is not closed within {lines} lines"),
        Cause::TextAfterQuote => "closes on a later line, and text follows it there".to_owned(),
        Cause::Fields(_) => {
            let wanted = header.labels.len();
            format!("runs into other lines, which do not make a row of {wanted} cells with it")
        }
        Cause::LinesNotJoined => "is not closed on its line, as so many before it".to_owned(),
    }
}

/// The label of a column as it stands in the file.
pub(super) fn label(header: &Header, column: Required) -> &str {
    header
        .column(column)
        .and_then(|at| header.labels.get(at))
        .map_or(column.name(), String::as_str)
}
