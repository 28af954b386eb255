//! Declared formats of timestamps: strftime, the days of a spreadsheet, or the native forms. Checks a format before any row.

use std::fmt::Write;

use chrono::{
    DateTime, NaiveTime, Timelike, Utc,
    format::{Item, Parsed, StrftimeItems, parse},
};

use super::{
    moment::{Moment, Place},
    pattern::{Pattern, PatternFault},
    timestamp::{DAY_SECONDS, SECOND, TimestampFault},
};
use crate::parse::error::ParseOptionError;

/// Maximum bytes of a format. No date needs more.
const FORMAT_BYTES: usize = 128;
/// Maximum formats of a file.
const FORMATS: usize = 16;

/// A format that determines an instant, or a date and time of day.
#[derive(Debug)]
pub(crate) enum TimestampFormat {
    /// The forms that are read without a declared format.
    Native,
    /// The serial days of a spreadsheet.
    Excel,
    /// A pattern.
    Pattern(Pattern),
    /// A format with directives that patterns lack, such as `%j` and `%V`.
    Chrono(Vec<Item<'static>>),
}

impl TimestampFormat {
    /// The name of the format of spreadsheets, which store dates as numbers of days.
    pub(crate) const EXCEL: &'static str = "excel";
    /// The name of the native forms, to try them beside declared formats.
    pub(crate) const NATIVE: &'static str = "auto";
    /// Separates formats that are tried in order.
    pub(crate) const SEPARATOR: char = '|';

    /// Creates the formats of an option: one, several with `|` between them, or a list in JSON.
    pub(crate) fn list(option: &str) -> Result<Vec<Self>, ParseOptionError> {
        let texts: Vec<String> = match serde_json::from_str(option) {
            Ok(list) => list,
            Err(_) => option.split(Self::SEPARATOR).map(str::to_owned).collect(),
        };
        if texts.len() > FORMATS {
            return Err(ParseOptionError::TooManyFormats { limit: FORMATS });
        }
        texts.iter().map(|text| Self::new(text)).collect()
    }

    /// Creates a format.
    pub(crate) fn new(text: &str) -> Result<Self, ParseOptionError> {
        let name = text.trim();
        if name.eq_ignore_ascii_case(Self::EXCEL) {
            return Ok(Self::Excel);
        }
        if name.eq_ignore_ascii_case(Self::NATIVE) {
            return Ok(Self::Native);
        }
        let format = || text.to_owned();
        if text.len() > FORMAT_BYTES {
            return Err(ParseOptionError::TimestampFormat { format: format() });
        }
        match Pattern::new(text) {
            Ok(pattern) => Ok(Self::Pattern(pattern)),
            Err(PatternFault::Directive) => Self::of_chrono(text),
            Err(PatternFault::Incomplete) => {
                Err(ParseOptionError::TimestampFormatIncomplete { format: format() })
            }
            Err(PatternFault::LiteralZone) => {
                Err(ParseOptionError::TimestampFormatLiteralZone { format: format() })
            }
        }
    }

    /// Creates a format that chrono reads. Checks it by writing an instant and reading it back.
    fn of_chrono(text: &str) -> Result<Self, ParseOptionError> {
        let format = || text.to_owned();
        let invalid = || ParseOptionError::TimestampFormat { format: format() };
        let items = StrftimeItems::new(text)
            .parse_to_owned()
            .map_err(|_| invalid())?;
        let mut sample = String::new();
        let instant = DateTime::<Utc>::from_timestamp(1_764_076_455, 0).expect("2025 is in range");
        write!(sample, "{}", instant.format_with_items(items.iter())).map_err(|_| invalid())?;
        let created = Self::Chrono(items);
        match created.read(sample.as_bytes()) {
            Ok(_) => Ok(created),
            Err(_) => Err(ParseOptionError::TimestampFormatIncomplete { format: format() }),
        }
    }

    /// Reads a value. The native forms are read by their own reader.
    pub(super) fn read(&self, value: &[u8]) -> Result<Moment, TimestampFault> {
        let text = std::str::from_utf8(value).map_err(|_| TimestampFault::FormatMismatch)?;
        match self {
            Self::Native => Err(TimestampFault::FormatMismatch),
            Self::Excel => serial_days(text),
            Self::Pattern(pattern) => pattern.read(text),
            Self::Chrono(items) => {
                let mut parsed = Parsed::new();
                parse(&mut parsed, text, items.iter())
                    .map_err(|_| TimestampFault::FormatMismatch)?;
                moment(parsed)
            }
        }
    }
}

/// Reads the serial number of a spreadsheet, rounded to the millisecond, to which serial numbers are exact. They count the
/// days since 1899-12-30 (the 1900 date system of ECMA-376 Part 1, 18.17.4.1, from March 1900).
fn serial_days(text: &str) -> Result<Moment, TimestampFault> {
    const DAYS_TO_1970: i64 = 25_569;
    const DAY_MILLIS: f64 = 86_400_000.0;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (days, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let has_time = days.len() < text.len();
    if !is_number(days) || !is_number(fraction) || days.len() > 6 || fraction.len() > 18 {
        return Err(TimestampFault::FormatMismatch);
    }
    let mismatch = |_| TimestampFault::FormatMismatch;
    let days: i64 = days.parse().map_err(mismatch)?;
    let part: f64 = format!("0.{fraction}")
        .parse()
        .map_err(|_| TimestampFault::FormatMismatch)?;
    let millis = (part * DAY_MILLIS).round() as i64;
    let time = has_time.then_some(millis * (SECOND / 1_000));
    if days < DAYS_TO_1970 {
        return Err(TimestampFault::OutOfRange);
    }
    Ok(Moment {
        days: days - DAYS_TO_1970,
        time,
        place: Place::Unsaid,
    })
}

/// Returns the moment of the parts that chrono read.
fn moment(mut parsed: Parsed) -> Result<Moment, TimestampFault> {
    let fault = |_| TimestampFault::FormatMismatch;
    let day = DAY_SECONDS * SECOND;
    if parsed.timestamp().is_some() {
        let instant = parsed.to_datetime().map_err(fault)?.timestamp_micros();
        return Ok(Moment {
            days: instant.div_euclid(day),
            time: Some(instant.rem_euclid(day)),
            place: Place::Offset(0),
        });
    }
    let date = parsed.to_naive_date().map_err(fault)?;
    let has_time = parsed.hour_div_12().is_some() || parsed.hour_mod_12().is_some();
    if !has_time {
        parsed.set_hour(0).map_err(fault)?;
    }
    if parsed.minute().is_none() {
        parsed.set_minute(0).map_err(fault)?;
    }
    let time: NaiveTime = parsed.to_naive_time().map_err(fault)?;
    // chrono represents the second 60 as nanoseconds over 10⁹.
    if u64::from(time.nanosecond()) >= 1_000_000_000 {
        return Err(TimestampFault::LeapSecond);
    }
    let local = date.and_time(time).and_utc().timestamp_micros();
    Ok(Moment {
        days: local.div_euclid(day),
        time: has_time.then_some(local.rem_euclid(day)),
        place: parsed
            .offset()
            .map_or(Place::Unsaid, |seconds| Place::Offset(seconds.into())),
    })
}
