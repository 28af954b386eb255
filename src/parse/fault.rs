//! The faults of cells and values: each says where it is, what is wrong, and how to correct it.

use super::{
    record::Record,
    value::{
        field::{EventField, FieldFault, trim},
        timestamp::{TimestampFault, TimestampParser},
    },
};
use crate::{
    export::errors_csv::INCOMPLETE_MARK,
    model::rejection::{Fault, FaultCode},
};

const FILL_IN: &str = "fill in the cell, or remove the row";
const KEEP_ANONYMOUS: &str =
    "fill in the cell, or remove the row; `anonymous=keep` counts rows without a user as events";
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
            let is_user = setting == EventField::UserId.setting();
            let hint = if is_user { KEEP_ANONYMOUS } else { FILL_IN };
            cell_fault(FaultCode::MissingValue, label, cell, says, hint)
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
        TimestampFault::Ambiguous
        | TimestampFault::DateOrEpoch
        | TimestampFault::ZoneAbbreviation => FaultCode::AmbiguousTimestamp,
        TimestampFault::UnknownForm
        | TimestampFault::NoSuchDate
        | TimestampFault::NoSuchTime
        | TimestampFault::HourTwentyFour
        | TimestampFault::LeapSecond
        | TimestampFault::BadOffset
        | TimestampFault::SkippedByClocks
        | TimestampFault::Contradiction
        | TimestampFault::FormatMismatch
        | TimestampFault::Hashes
        | TimestampFault::UnknownZone => FaultCode::InvalidTimestamp,
    };
    let zone = timestamps.zones.file.name();
    let says = match found {
        TimestampFault::UnknownForm => "is in no accepted form",
        TimestampFault::NoSuchDate => "is a date that does not exist",
        TimestampFault::NoSuchTime => "is a time of day that does not exist",
        TimestampFault::HourTwentyFour => "has the hour 24",
        TimestampFault::LeapSecond => "has the second 60",
        TimestampFault::BadOffset => "has an offset from UTC that does not exist",
        TimestampFault::SkippedByClocks => {
            let says = format!("is a time that the clocks of {zone} skipped");
            return cell_fault(code, label, value, &says, timestamp_hint(value, found));
        }
        TimestampFault::OutOfRange => "is not between the years 1970 and 2199",
        TimestampFault::Ambiguous => "does not say which number is the day, the month or the year",
        TimestampFault::DateOrEpoch => "can be read as a date and as seconds since 1970 (epoch)",
        TimestampFault::ZoneAbbreviation => {
            "ends in an abbreviation, which is no certain time zone"
        }
        TimestampFault::Contradiction => {
            "contradicts itself: its date and its day of the week, or its offset and its zone"
        }
        TimestampFault::FormatMismatch => "does not match `timestamp_format`",
        TimestampFault::UnknownZone => "names a time zone that is not known",
        TimestampFault::Hashes => {
            "is not there: a spreadsheet wrote `#` since the column was too narrow for it"
        }
    };
    cell_fault(code, label, value, says, timestamp_hint(value, found))
}

/// Names the formats that read the value of a fault in its hint.
pub(crate) fn hint_at_formats(fault: &mut Fault, formats: &[&str]) {
    let all: Vec<_> = formats
        .iter()
        .map(|format| format!("`timestamp_format={format}`"))
        .collect();
    match all.as_slice() {
        [] => {}
        [one] => fault.hint = Some(format!("send {one}")),
        [several @ .., last] => {
            fault.hint = Some(format!(
                "say which is meant: {} or {last}",
                several.join(", ")
            ));
        }
    }
}

fn timestamp_hint(value: &[u8], found: TimestampFault) -> String {
    let is_numeric = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    match found {
        TimestampFault::UnknownForm if value.iter().all(|byte| byte.is_ascii_digit()) => {
            "a number must have 10 digits (seconds since 1970), 13 (milliseconds), 16 (microseconds) or 19 (nanoseconds); \
             the days of a spreadsheet need `timestamp_format=excel`"
        }
        TimestampFault::UnknownForm if value.iter().all(is_numeric) => {
            "if it comes from a spreadsheet, send `timestamp_format=excel`, or give the column the format \
             yyyy-mm-dd hh:mm:ss and export again"
        }
        TimestampFault::UnknownForm | TimestampFault::Ambiguous => EXAMPLE,
        TimestampFault::DateOrEpoch => "say which with timestamp_format: %Y%m%d%H for a date and hour, %s for seconds",
        TimestampFault::NoSuchDate => "correct the date, or remove the row",
        TimestampFault::NoSuchTime => "hours go from 00 to 23, minutes and seconds from 00 to 59",
        TimestampFault::HourTwentyFour => "write midnight as 00:00 of the next day",
        TimestampFault::LeapSecond => "write second 59, or 00 of the next minute",
        TimestampFault::BadOffset => "write the offset as Z, +HH, +HHMM or +HH:MM",
        TimestampFault::SkippedByClocks => "correct the time, or write its offset from UTC",
        TimestampFault::OutOfRange => "correct the year; if it is a number, check its unit",
        TimestampFault::Contradiction => "correct one of the two, or leave it out",
        TimestampFault::FormatMismatch => "correct the value, or the format",
        TimestampFault::UnknownZone => {
            "write an IANA name such as Europe/Berlin, or an offset, and read it with %z"
        }
        TimestampFault::Hashes => "make the column wider in the spreadsheet, and export the file again",
        TimestampFault::ZoneAbbreviation => return abbreviation_hint(value),
    }
    .to_owned()
}

fn abbreviation_hint(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    let name = text.rsplit(' ').next().unwrap_or_default();
    format!(
        "several zones may be called {name}: state one with `time_zone`, and write `{name}` itself into \
         `timestamp_format`; or write the offset from UTC in its place"
    )
}
