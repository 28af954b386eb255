//! Reads timestamps in a declared format (strftime, or the days of a spreadsheet). Checks the format before any row.

use std::fmt::Write;

use chrono::{
    DateTime, NaiveDateTime, NaiveTime, Timelike, Utc,
    format::{Fixed, Item, Parsed, StrftimeItems, parse, parse_and_remainder},
};
use chrono_tz::Tz;

use super::{
    timestamp::{SECOND, TimestampFault},
    zone::CachedZone,
};
use crate::parse::error::ParseOptionError;

/// Maximum bytes of a format. No date needs more.
const FORMAT_BYTES: usize = 128;

/// A format that determines an instant, or a date and time of day.
#[derive(Debug)]
pub(crate) struct TimestampFormat {
    text: String,
    kind: FormatKind,
}

#[derive(Debug)]
enum FormatKind {
    /// The serial days of a spreadsheet.
    Excel,
    Strftime {
        /// The complete format, or the part before `%Z`.
        head: Vec<Item<'static>>,
        /// The part after `%Z`, if the format has one. chrono would skip the name of the zone without reading it.
        tail: Option<Vec<Item<'static>>>,
    },
}

impl TimestampFormat {
    /// The name of the format of spreadsheets, which store dates as numbers of days.
    pub(crate) const EXCEL: &'static str = "excel";

    /// Creates a format. Checks it by writing an instant and reading it back.
    pub(crate) fn new(text: &str) -> Result<Self, ParseOptionError> {
        let format = || text.to_owned();
        if text.trim().eq_ignore_ascii_case(Self::EXCEL) {
            return Ok(Self {
                text: format(),
                kind: FormatKind::Excel,
            });
        }
        let invalid = || ParseOptionError::TimestampFormat { format: format() };
        if text.len() > FORMAT_BYTES {
            return Err(invalid());
        }
        let items = StrftimeItems::new(text)
            .parse_to_owned()
            .map_err(|_| invalid())?;
        let mut sample = String::new();
        let instant = DateTime::<Utc>::from_timestamp(1_764_076_455, 0).expect("2025 is in range");
        write!(sample, "{}", instant.format_with_items(items.iter())).map_err(|_| invalid())?;
        let zone_name = |item: &Item| *item == Item::Fixed(Fixed::TimezoneName);
        let mut parts = items.splitn(2, zone_name).map(<[_]>::to_vec);
        let created = Self {
            text: format(),
            kind: FormatKind::Strftime {
                head: parts.next().unwrap_or_default(),
                tail: parts.next(),
            },
        };
        match created.read(sample.as_bytes(), &CachedZone::new(Tz::UTC)) {
            Ok(_) => Ok(created),
            Err(_) => Err(ParseOptionError::TimestampFormatIncomplete { format: format() }),
        }
    }

    /// Returns the format as it was declared.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the instant of a value. A value without an offset is a wall time in `zone`.
    pub(crate) fn read(&self, value: &[u8], zone: &CachedZone) -> Result<i64, TimestampFault> {
        let text = std::str::from_utf8(value).map_err(|_| TimestampFault::FormatMismatch)?;
        let FormatKind::Strftime { head, tail } = &self.kind else {
            return serial_days(text, zone);
        };
        let mut parsed = Parsed::new();
        let Some(tail) = tail else {
            parse(&mut parsed, text, head.iter()).map_err(|_| TimestampFault::FormatMismatch)?;
            return instant(parsed, zone);
        };
        let rest = parse_and_remainder(&mut parsed, text, head.iter())
            .map_err(|_| TimestampFault::FormatMismatch)?;
        let is_zone_name =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-');
        let (name, rest) = rest.split_at(rest.find(|c| !is_zone_name(c)).unwrap_or(rest.len()));
        parse(&mut parsed, rest, tail.iter()).map_err(|_| TimestampFault::FormatMismatch)?;
        let named: Tz = match name {
            "Z" | "z" => Tz::UTC,
            name => name.parse().map_err(|_| TimestampFault::UnknownZone)?,
        };
        instant(parsed, &CachedZone::new(named))
    }
}

/// Returns the instant of the serial number of a spreadsheet, rounded to the millisecond, to which serial numbers are
/// exact. They count the days since 1899-12-30 (the 1900 date system of ECMA-376 Part 1, 18.17.4.1, from March 1900).
fn serial_days(text: &str, zone: &CachedZone) -> Result<i64, TimestampFault> {
    const DAYS_TO_1970: f64 = 25_569.0;
    const DAY_MILLIS: f64 = 86_400_000.0;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (days, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    if !is_number(days) || !is_number(fraction) || days.len() > 6 || fraction.len() > 18 {
        return Err(TimestampFault::FormatMismatch);
    }
    let days: f64 = format!("{days}.{fraction}")
        .parse()
        .map_err(|_| TimestampFault::FormatMismatch)?;
    let millis = ((days - DAYS_TO_1970) * DAY_MILLIS).round();
    if millis < 0.0 {
        return Err(TimestampFault::OutOfRange);
    }
    // At most 999,999 days: the milliseconds are far below 2⁵³, so f64 represents them exactly.
    zone.instant(millis as i64 * (SECOND / 1_000))
}

/// Returns the instant of the parsed parts. A missing time of day is midnight.
fn instant(mut parsed: Parsed, zone: &CachedZone) -> Result<i64, TimestampFault> {
    let fault = |_| TimestampFault::FormatMismatch;
    if parsed.timestamp().is_some() {
        return Ok(parsed.to_datetime().map_err(fault)?.timestamp_micros());
    }
    let date = parsed.to_naive_date().map_err(fault)?;
    if parsed.hour_div_12().is_none() && parsed.hour_mod_12().is_none() {
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
    let local = NaiveDateTime::new(date, time).and_utc().timestamp_micros();
    match parsed.offset() {
        Some(offset) => Ok(local - i64::from(offset) * SECOND),
        None => zone.instant(local),
    }
}
