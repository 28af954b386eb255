//! A declared timestamp format (strftime), checked before any row is read.

use std::fmt::Write;

use chrono::{
    DateTime, NaiveDateTime, NaiveTime, Timelike, Utc,
    format::{Fixed, Item, Parsed, StrftimeItems, parse, parse_and_remainder},
};
use chrono_tz::Tz;

use super::{
    error::ParseOptionError,
    timestamp::{SECOND, TimeFault},
    zone::Zone,
};

/// Longest format; no date needs more.
const FORMAT_BYTES: usize = 128;

/// A format that gives a full instant or wall time.
#[derive(Debug)]
pub(super) struct Format {
    text: String,
    /// All of it, or all before `%Z`.
    head: Vec<Item<'static>>,
    /// What follows `%Z`, if it has one: chrono would skip the zone's name unread.
    tail: Option<Vec<Item<'static>>>,
}

impl Format {
    /// Checks the format with an instant written and read back.
    pub(super) fn new(text: &str) -> Result<Self, ParseOptionError> {
        let format = || text.to_owned();
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
            head: parts.next().unwrap_or_default(),
            tail: parts.next(),
        };
        match made.read(sample.as_bytes(), &Zone::new(Tz::UTC)) {
            Ok(_) => Ok(made),
            Err(_) => Err(ParseOptionError::TimestampFormatIncomplete { format: format() }),
        }
    }

    /// The format as it was declared.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The instant of a value; a wall time without an offset is one of `zone`.
    pub(super) fn read(&self, value: &[u8], zone: &Zone) -> Result<i64, TimeFault> {
        let text = std::str::from_utf8(value).map_err(|_| TimeFault::Format)?;
        let mut parsed = Parsed::new();
        let Some(tail) = &self.tail else {
            parse(&mut parsed, text, self.head.iter()).map_err(|_| TimeFault::Format)?;
            return instant(parsed, zone);
        };
        let rest = parse_and_remainder(&mut parsed, text, self.head.iter())
            .map_err(|_| TimeFault::Format)?;
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
