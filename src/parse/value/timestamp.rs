//! Reads timestamps as microseconds since 1970, UTC: the native forms, or declared formats.
//! Never guesses a value that can be read in two ways. Reads the plain ISO forms first, since most files have them.

use chrono_tz::Tz;

use super::{
    civil::{self, fraction, offset, two_digits},
    format::TimestampFormat,
    moment::{Moment, Place, Reading},
    native,
    numeric_date::{DayMonthOrder, NumericDate},
    zone::Zones,
};

/// Microseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000;
/// Seconds of a day.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// 2200-01-01T00:00:00Z, the first instant that is out of range.
const END: i64 = 7_258_118_400 * SECOND;

/// Why a value is not a timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimestampFault {
    /// In none of the accepted forms.
    UnknownForm,
    /// A month or day that is not in the calendar.
    NoSuchDate,
    /// An hour, minute or second that is not on the clock.
    NoSuchTime,
    /// The hour 24.
    HourTwentyFour,
    /// The second 60.
    LeapSecond,
    /// An invalid offset from UTC.
    BadOffset,
    /// A wall time that the clocks of the zone skipped, or a day.
    SkippedByClocks,
    /// Before 1970 or after 2199.
    OutOfRange,
    /// Day and month in an undeclared order, or a year of two digits.
    Ambiguous,
    /// Digits that are both a date and seconds since 1970.
    DateOrEpoch,
    /// Ends in an abbreviation such as `CST`, which several zones have.
    ZoneAbbreviation,
    /// Two of its parts contradict each other: a day of the week and a date, an offset and a zone.
    Contradiction,
    /// Does not match the declared formats.
    FormatMismatch,
    /// Names an unknown time zone.
    UnknownZone,
    /// Only `#`, as a spreadsheet shows a value in a column that is too narrow.
    Hashes,
}

/// Reads the timestamps of one file.
#[derive(Debug)]
pub(crate) struct TimestampParser {
    /// The zones of values without an offset.
    pub(crate) zones: Zones,
    /// The declared formats, tried in order; empty for the native forms.
    pub(crate) formats: Vec<TimestampFormat>,
}

impl TimestampParser {
    /// Creates a parser. Times without an offset are wall times in `zone`; days without a time start in `day_zone`. All
    /// values must match one of `formats`, if there are any.
    pub(crate) fn new(zone: Tz, day_zone: Tz, formats: Vec<TimestampFormat>) -> Self {
        Self {
            zones: Zones::new(zone, day_zone),
            formats,
        }
    }

    /// Reads a value without surrounding white space. Where clocks were set back, a wall time has two instants; returns
    /// the earlier one.
    #[inline]
    pub(crate) fn read(&self, value: &[u8]) -> Result<Reading, TimestampFault> {
        let reading = if self.formats.is_empty() {
            self.read_native(value)?
        } else {
            self.read_declared(value)?
        };
        if (0..END).contains(&reading.instant) {
            Ok(reading)
        } else {
            Err(TimestampFault::OutOfRange)
        }
    }

    /// Reads a value in a declared format.
    pub(super) fn read_as(
        &self,
        format: &TimestampFormat,
        value: &[u8],
    ) -> Result<Reading, TimestampFault> {
        let reading = match format {
            TimestampFormat::Native => self.read_native(value)?,
            format => format.read(value)?.resolve(&self.zones)?,
        };
        if (0..END).contains(&reading.instant) {
            Ok(reading)
        } else {
            Err(TimestampFault::OutOfRange)
        }
    }

    fn read_declared(&self, value: &[u8]) -> Result<Reading, TimestampFault> {
        let mut fault = TimestampFault::FormatMismatch;
        for format in &self.formats {
            match self.read_as(format, value) {
                Ok(reading) => return Ok(reading),
                // The fault of the format that fits best.
                Err(TimestampFault::FormatMismatch) => {}
                Err(TimestampFault::UnknownForm) if self.formats.len() > 1 => {}
                Err(found) if fault == TimestampFault::FormatMismatch => fault = found,
                Err(_) => {}
            }
        }
        Err(fault)
    }

    #[inline]
    fn read_native(&self, value: &[u8]) -> Result<Reading, TimestampFault> {
        let moment = match value {
            [_, _, _, _, b'-', ..] => match iso(value) {
                Ok(moment) => moment,
                Err(TimestampFault::UnknownForm | TimestampFault::BadOffset) => other_form(value)?,
                Err(fault) => return Err(fault),
            },
            _ => match epoch(value)? {
                Some(instant) => return Ok(Reading::stated(instant)),
                None => other_form(value)?,
            },
        };
        moment.resolve(&self.zones)
    }
}

/// Reads `YYYY-MM-DD`, alone or with `HH:MM[:SS[.fraction]]` and an offset.
#[inline]
fn iso(value: &[u8]) -> Result<Moment, TimestampFault> {
    let (date, rest) = value
        .split_at_checked(10)
        .ok_or(TimestampFault::UnknownForm)?;
    let days = date_days(date)?;
    let (time, rest) = match rest {
        [b'T' | b't' | b' ', time @ ..] => time_of_day(time)?,
        [] => {
            return Ok(Moment {
                days,
                ..Moment::default()
            });
        }
        _ => return Err(TimestampFault::UnknownForm),
    };
    let place = match rest {
        [b'Z' | b'z'] => Place::Offset(0),
        [] => Place::Unsaid,
        [b'+', rest @ ..] => Place::Offset(offset(rest)?),
        [b'-', rest @ ..] => Place::Offset(-offset(rest)?),
        _ => return Err(TimestampFault::UnknownForm),
    };
    Ok(Moment {
        days,
        time: Some(time),
        place,
    })
}

/// Returns the days since 1970 of `YYYY-MM-DD`.
#[inline]
fn date_days(date: &[u8]) -> Result<i64, TimestampFault> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return Err(TimestampFault::UnknownForm);
    };
    let (Some(century), Some(year), Some(month), Some(day)) = (
        two_digits(y1, y2),
        two_digits(y3, y4),
        two_digits(m1, m2),
        two_digits(d1, d2),
    ) else {
        return Err(TimestampFault::UnknownForm);
    };
    civil::days(century * 100 + year, month, day)
}

/// Returns the microseconds of `HH:MM[:SS[.fraction]]`, and the text after it.
#[inline]
fn time_of_day(text: &[u8]) -> Result<(i64, &[u8]), TimestampFault> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else {
        return Err(TimestampFault::UnknownForm);
    };
    let (second, fraction, rest) = match rest {
        [b':', s1, s2, b'.' | b',', rest @ ..] => {
            let (fraction, rest) = fraction(rest)?;
            (two_digits(*s1, *s2), fraction, rest)
        }
        [b':', s1, s2, rest @ ..] => (two_digits(*s1, *s2), 0, rest),
        rest => (Some(0), 0, rest),
    };
    let (Some(hour), Some(minute), Some(second)) =
        (two_digits(*h1, *h2), two_digits(*m1, *m2), second)
    else {
        return Err(TimestampFault::UnknownForm);
    };
    Ok((civil::time_of_day(hour, minute, second)? + fraction, rest))
}

/// Returns the microseconds of 10, 13, 16 or 19 digits, the first two perhaps with a fraction; none for other values.
#[inline]
fn epoch(value: &[u8]) -> Result<Option<i64>, TimestampFault> {
    if !value.first().is_some_and(u8::is_ascii_digit) {
        return Ok(None);
    }
    let digits = civil::digits(value);
    let (whole, rest) = value.split_at(digits);
    let micros = match (digits, rest) {
        (10, []) => integer(whole) * SECOND,
        (13, []) => integer(whole) * 1_000,
        (16, []) => integer(whole),
        (19, []) => return Ok(integer_checked(whole).map(|nanos| nanos / 1_000)),
        (10, [b'.' | b',', rest @ ..]) => match civil::fraction(rest)? {
            (fraction, []) => integer(whole) * SECOND + fraction,
            _ => return Ok(None),
        },
        (13, [b'.' | b',', rest @ ..]) => match civil::fraction(rest)? {
            (fraction, []) => integer(whole) * 1_000 + fraction / 1_000,
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    // Seconds until 2032 have no such year in their first digits.
    if whole[0] == b'2' || whole.starts_with(b"19") {
        check_not_a_date(whole)?;
    }
    Ok(Some(micros))
}

fn integer(digits: &[u8]) -> i64 {
    let digit = |number, byte: &u8| number * 10 + i64::from(byte - b'0');
    digits.iter().fold(0, digit)
}

fn integer_checked(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Refuses digits that are also `YYYYMMDDHH`, `YYMMDDHHMM`, or `YYYYMMDDHHMMSS` and hundredths.
#[cold]
fn check_not_a_date(digits: &[u8]) -> Result<(), TimestampFault> {
    let part = |at: usize| two_digits(digits[at], digits[at + 1]).unwrap_or(99);
    let is_date = |year, at| civil::days(year, part(at), part(at + 2)).is_ok();
    let year = part(0) * 100 + part(2);
    let in_range = (1970..2200).contains(&year) && is_date(year, 4) && part(8) < 24;
    let found = match digits.len() {
        10 => in_range || (is_date(2000 + part(0), 2) && part(6) < 24 && part(8) < 60),
        16 => in_range && part(10) < 60 && part(12) < 60,
        _ => false,
    };
    if found {
        Err(TimestampFault::DateOrEpoch)
    } else {
        Ok(())
    }
}

/// Reads a value that is neither plain ISO 8601 nor a number since 1970.
fn other_form(value: &[u8]) -> Result<Moment, TimestampFault> {
    native::read(value).map_err(|found| match found {
        TimestampFault::UnknownForm => unknown_form(value),
        found => found,
    })
}

/// Returns the fault of a value in none of the native forms.
#[cold]
fn unknown_form(value: &[u8]) -> TimestampFault {
    if !value.is_empty() && value.iter().all(|byte| *byte == b'#') {
        return TimestampFault::Hashes;
    }
    match NumericDate::recognize(value) {
        Some(date) if date.order() == DayMonthOrder::Neither => TimestampFault::NoSuchDate,
        Some(_) => TimestampFault::Ambiguous,
        None => TimestampFault::UnknownForm,
    }
}

#[cfg(test)]
mod tests;
