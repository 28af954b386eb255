//! A declared timestamp format (strftime), checked before any row is read.

use std::fmt::Write;

use chrono::{
    DateTime, NaiveDateTime, NaiveTime, Timelike, Utc,
    format::{Fixed, Item, Parsed, StrftimeItems, parse, parse_and_remainder},
};
use chrono_tz::Tz;

use super::{
    timestamp::{SECOND, TimeFault},
    zone::Zone,
};
use crate::parse::error::ParseOptionError;

/// Longest format; no date needs more.
const FORMAT_BYTES: usize = 128;

/// A format that gives a full instant or wall time.
#[derive(Debug)]
pub(crate) struct Format {
    text: String,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Days of a spreadsheet.
    Excel,
    Strftime {
        /// All of it, or all before `%Z`.
        head: Vec<Item<'static>>,
        /// What follows `%Z`, if it has one: chrono would skip the zone's name unread.
        tail: Option<Vec<Item<'static>>>,
    },
}

impl Format {
    /// Stands for the numbers that spreadsheets keep their dates in.
    pub(crate) const EXCEL: &'static str = "excel";

    /// Checks the format with an instant written and read back.
    pub(crate) fn new(text: &str) -> Result<Self, ParseOptionError> {
        let format = || text.to_owned();
        if text.trim().eq_ignore_ascii_case(Self::EXCEL) {
            return Ok(Self {
                text: format(),
                form: Form::Excel,
            });
        }
        let wrong = || ParseOptionError::TimestampFormat { format: format() };
        if text.len() > FORMAT_BYTES {
            return Err(wrong());
        }
        let items = StrftimeItems::new(text)
            .parse_to_owned()
            .map_err(|_| wrong())?;
        let mut sample = String::new();
        let instant = DateTime::<Utc>::from_timestamp(1_764_076_455, 0).expect("2025 is in range");
        write!(sample, "{}", instant.format_with_items(items.iter())).map_err(|_| wrong())?;
        let zone_name = |item: &Item| *item == Item::Fixed(Fixed::TimezoneName);
        let mut parts = items.splitn(2, zone_name).map(<[_]>::to_vec);
        let made = Self {
            text: format(),
            form: Form::Strftime {
                head: parts.next().unwrap_or_default(),
                tail: parts.next(),
            },
        };
        match made.read(sample.as_bytes(), &Zone::new(Tz::UTC)) {
            Ok(_) => Ok(made),
            Err(_) => Err(ParseOptionError::TimestampFormatIncomplete { format: format() }),
        }
    }

    /// The format as it was declared.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The instant of a value; a wall time without an offset is one of `zone`.
    pub(crate) fn read(&self, value: &[u8], zone: &Zone) -> Result<i64, TimeFault> {
        let text = std::str::from_utf8(value).map_err(|_| TimeFault::Format)?;
        let Form::Strftime { head, tail } = &self.form else {
            return serial(text, zone);
        };
        let mut parsed = Parsed::new();
        let Some(tail) = tail else {
            parse(&mut parsed, text, head.iter()).map_err(|_| TimeFault::Format)?;
            return instant(parsed, zone);
        };
        let rest =
            parse_and_remainder(&mut parsed, text, head.iter()).map_err(|_| TimeFault::Format)?;
        let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-');
        let (name, rest) = rest.split_at(rest.find(|c| !part(c)).unwrap_or(rest.len()));
        parse(&mut parsed, rest, tail.iter()).map_err(|_| TimeFault::Format)?;
        let named: Tz = match name {
            "Z" | "z" => Tz::UTC,
            name => name.parse().map_err(|_| TimeFault::UnknownZone)?,
        };
        instant(parsed, &Zone::new(named))
    }
}

/// The wall time of a spreadsheet's serial number, to the millisecond, which is what it is exact to: days since
/// 1899-12-30 (the 1900 date system of ECMA-376 Part 1, 18.17.4.1, from March 1900 on).
fn serial(text: &str, zone: &Zone) -> Result<i64, TimeFault> {
    const DAYS_TO_1970: f64 = 25_569.0;
    const DAY_MILLIS: f64 = 86_400_000.0;
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let (days, part) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    if !digits(days) || !digits(part) || days.len() > 6 || part.len() > 18 {
        return Err(TimeFault::Format);
    }
    let days: f64 = format!("{days}.{part}")
        .parse()
        .map_err(|_| TimeFault::Format)?;
    let millis = ((days - DAYS_TO_1970) * DAY_MILLIS).round();
    if millis < 0.0 {
        return Err(TimeFault::OutOfRange);
    }
    // At most 999,999 days, which is far below the precision of f64.
    zone.instant(millis as i64 * (SECOND / 1_000))
}

fn instant(mut parsed: Parsed, zone: &Zone) -> Result<i64, TimeFault> {
    let fault = |_| TimeFault::Format;
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
    // chrono writes the second 60 as a nanosecond over 10⁹.
    if u64::from(time.nanosecond()) >= 1_000_000_000 {
        return Err(TimeFault::LeapSecond);
    }
    let local = NaiveDateTime::new(date, time).and_utc().timestamp_micros();
    match parsed.offset() {
        Some(offset) => Ok(local - i64::from(offset) * SECOND),
        None => zone.instant(local),
    }
}
