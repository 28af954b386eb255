//! The faults of cells and values: each says where it is, what is wrong, and how to correct it.

use super::{
    record::Record,
    value::{
        field::{FieldFault, trim},
        numeric_date::{DayMonthOrder, NumericDate},
        timestamp::{TimestampFault, TimestampParser},
    },
};
use crate::{
    export::errors_csv::INCOMPLETE_MARK,
    model::rejection::{Fault, FaultCode},
};

const FILL_IN: &str = "fill in the cell, or remove the row";
const EXAMPLE: &str =
    "write it as 2025-11-10T14:30:00Z, or say how it is written with timestamp_format";

/// First words of rows that sum up other rows, in lower case.
const TOTALS_LABELS: [&str; 7] = [
    "total",
    "totals",
    "grand total",
    "subtotal",
    "sum",
    "summe",
    "gesamt",
];

/// Creates a fault of a row, without a column.
pub(crate) fn row_fault(code: FaultCode, message: String, hint: impl Into<String>) -> Fault {
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
        ..row_fault(code, format!("`{label}` {says}"), hint)
    }
}

/// Whether the first filled cell of an invalid row names a total, as at the end of reports.
pub(crate) fn is_totals_row(record: &impl Record) -> bool {
    let mut cells = record.cells().map(|cell| trim(cell.value));
    let first = cells.find(|cell| !cell.is_empty());
    let Some(text) = first.and_then(|cell| std::str::from_utf8(cell).ok()) else {
        return false;
    };
    let text = text.trim_end_matches(':');
    let mut labels = TOTALS_LABELS.iter();
    labels.any(|label| text.eq_ignore_ascii_case(label))
}

/// Replaces the hint of the first fault by one for a row of totals.
pub(crate) fn hint_at_totals_row(faults: &mut [Fault]) {
    if let Some(fault) = faults.first_mut() {
        fault.hint = Some("this looks like a row of totals, which is no event: remove it".into());
    }
}

/// Returns the fault that makes a cell invalid in any column, if it has one.
pub(crate) fn cell(label: &str, cell: &[u8], limit: usize) -> Option<Fault> {
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

/// Whether a cell of an `errors.csv` still contains the mark of incomplete content.
pub(crate) fn is_incomplete(cell: &[u8]) -> bool {
    let mut mark = [0; 4];
    let mark = INCOMPLETE_MARK.encode_utf8(&mut mark);
    memchr::memmem::find(cell, mark.as_bytes()).is_some()
}

/// Returns the fault of a cell that is still incomplete.
pub(crate) fn incomplete(label: &str, cell: &[u8]) -> Option<Fault> {
    let hint = "write what belongs there, and remove the mark";
    is_incomplete(cell).then(|| {
        let says = format!("still has the mark `{INCOMPLETE_MARK}` of what could not be kept");
        cell_fault(FaultCode::NotMended, label, cell, &says, hint)
    })
}

/// Returns the fault of a value that is missing, or over the limit that `setting` configures.
pub(crate) fn value(
    label: &str,
    cell: &[u8],
    (limit, setting): (usize, &str),
    found: FieldFault,
) -> Fault {
    match found {
        FieldFault::Missing => {
            let says = if trim(cell).is_empty() {
                "is empty"
            } else {
                "holds what stands for no value"
            };
            cell_fault(FaultCode::MissingValue, label, cell, says, FILL_IN)
        }
        FieldFault::TooLong => {
            let says = format!("has {} bytes, the limit is {limit}", trim(cell).len());
            let hint = format!(
                "shorten the value, check that the column is the one meant, or raise {setting}"
            );
            cell_fault(FaultCode::ValueTooLong, label, cell, &says, &hint)
        }
    }
}

/// Returns the fault of a timestamp that could not be read.
pub(crate) fn timestamp(
    label: &str,
    value: &[u8],
    found: TimestampFault,
    timestamps: &TimestampParser,
) -> Fault {
    let code = match found {
        TimestampFault::OutOfRange => FaultCode::TimestampOutOfRange,
        TimestampFault::Ambiguous => FaultCode::AmbiguousTimestamp,
        TimestampFault::UnknownForm
        | TimestampFault::NoSuchDate
        | TimestampFault::NoSuchTime
        | TimestampFault::HourTwentyFour
        | TimestampFault::LeapSecond
        | TimestampFault::BadOffset
        | TimestampFault::SkippedByClocks
        | TimestampFault::FormatMismatch
        | TimestampFault::UnknownZone => FaultCode::InvalidTimestamp,
    };
    let zone = timestamps.zone.name();
    let says = match found {
        TimestampFault::UnknownForm => "is in no accepted form".to_owned(),
        TimestampFault::NoSuchDate => "is a date that does not exist".to_owned(),
        TimestampFault::NoSuchTime => "is a time of day that does not exist".to_owned(),
        TimestampFault::HourTwentyFour => "has the hour 24".to_owned(),
        TimestampFault::LeapSecond => "has the second 60".to_owned(),
        TimestampFault::BadOffset => "has an offset from UTC that does not exist".to_owned(),
        TimestampFault::SkippedByClocks => format!("is a time that the clocks of {zone} skipped"),
        TimestampFault::OutOfRange => "is not between the years 1970 and 2199".to_owned(),
        TimestampFault::Ambiguous => "does not say which number is the day".to_owned(),
        TimestampFault::FormatMismatch => {
            let format = timestamps
                .format
                .as_ref()
                .map_or("", |format| format.text());
            format!("does not match timestamp_format `{format}`")
        }
        TimestampFault::UnknownZone => "names a time zone that is not known".to_owned(),
    };
    cell_fault(code, label, value, &says, timestamp_hint(value, found))
}

fn timestamp_hint(value: &[u8], found: TimestampFault) -> String {
    let is_numeric = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    match found {
        TimestampFault::UnknownForm if value.iter().all(|byte| byte.is_ascii_digit()) => {
            "a number must have exactly 10 digits (seconds since 1970), 13 (milliseconds) or 16 (microseconds); the days of a spreadsheet need `timestamp_format=excel`"
        }
        TimestampFault::UnknownForm if value.iter().all(is_numeric) => {
            "if it comes from a spreadsheet, send `timestamp_format=excel`, or give the column the format yyyy-mm-dd hh:mm:ss and export again"
        }
        TimestampFault::UnknownForm => EXAMPLE,
        TimestampFault::NoSuchDate => "correct the date, or remove the row",
        TimestampFault::NoSuchTime => "hours go from 00 to 23, minutes and seconds from 00 to 59",
        TimestampFault::HourTwentyFour => "write midnight as 00:00 of the next day",
        TimestampFault::LeapSecond => "write second 59, or 00 of the next minute",
        TimestampFault::BadOffset => "write the offset as Z, +HH, +HHMM or +HH:MM",
        TimestampFault::SkippedByClocks => "correct the time, or write its offset from UTC",
        TimestampFault::OutOfRange => "correct the year; if it is a number, check its unit",
        TimestampFault::Ambiguous => return ambiguous_hint(value),
        TimestampFault::FormatMismatch => "correct the value, or the format",
        TimestampFault::UnknownZone => {
            "write an IANA name such as Europe/Berlin, or an offset, and read it with %z"
        }
    }
    .to_owned()
}

fn ambiguous_hint(value: &[u8]) -> String {
    let Some(date) = NumericDate::recognize(value) else {
        return EXAMPLE.to_owned();
    };
    let (day_first, month_first) = (date.format(true), date.format(false));
    match date.order() {
        DayMonthOrder::DayFirst => {
            format!("say that the day comes first: timestamp_format={day_first}")
        }
        DayMonthOrder::MonthFirst => {
            format!("say that the month comes first: timestamp_format={month_first}")
        }
        DayMonthOrder::Either | DayMonthOrder::Neither => format!(
            "say which comes first: timestamp_format={day_first} for the day, timestamp_format={month_first} for the month"
        ),
    }
}
