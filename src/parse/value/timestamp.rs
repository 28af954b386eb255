//! Reads timestamps as microseconds since 1970, UTC: ISO 8601 forms, digits since the epoch, or a declared format.
//! Never guesses a value that can be read in two ways. Reads the common forms without chrono, which is slower.

use chrono_tz::Tz;

use super::{
    format::TimestampFormat,
    numeric_date::{DayMonthOrder, NumericDate},
    zone::CachedZone,
};

/// Microseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

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
    /// A wall time that the clocks of the zone skipped.
    SkippedByClocks,
    /// Before 1970 or after 2199.
    OutOfRange,
    /// Day and month in an undeclared order.
    Ambiguous,
    /// Does not match the declared format.
    FormatMismatch,
    /// Names an unknown time zone.
    UnknownZone,
}

/// Reads the timestamps of one file.
#[derive(Debug)]
pub(crate) struct TimestampParser {
    /// The zone of values without an offset.
    pub(crate) zone: CachedZone,
    /// The declared format, if there is one.
    pub(crate) format: Option<TimestampFormat>,
}

impl TimestampParser {
    /// Creates a parser. Values without an offset are wall times in `zone`; all values must match `format`, if given.
    pub(crate) fn new(zone: Tz, format: Option<TimestampFormat>) -> Self {
        Self {
            zone: CachedZone::new(zone),
            format,
        }
    }

    /// Returns the instant of a value without surrounding white space. Where clocks were set back, a wall time has two
    /// instants; returns the earlier one.
    #[inline]
    pub(crate) fn read(&self, value: &[u8]) -> Result<i64, TimestampFault> {
        let instant = match &self.format {
            None => match value {
                [_, _, _, _, b'-', ..] => self.iso(value)?,
                _ => epoch(value)?,
            },
            Some(format) => format.read(value, &self.zone)?,
        };
        if (0..END).contains(&instant) {
            Ok(instant)
        } else {
            Err(TimestampFault::OutOfRange)
        }
    }

    #[inline]
    fn iso(&self, value: &[u8]) -> Result<i64, TimestampFault> {
        let (date, rest) = value
            .split_at_checked(10)
            .ok_or(TimestampFault::UnknownForm)?;
        let days = date_days(date)?;
        let (time, rest) = match rest {
            [b'T' | b't' | b' ', time @ ..] => time_of_day(time)?,
            rest => (0, rest),
        };
        let local = days * DAY_SECONDS * SECOND + time;
        match rest {
            [b'Z' | b'z'] => Ok(local),
            [] => self.zone.instant(local),
            [sign @ (b'+' | b'-'), rest @ ..] => {
                let seconds = offset(rest)?;
                Ok(if *sign == b'+' {
                    local - seconds * SECOND
                } else {
                    local + seconds * SECOND
                })
            }
            _ => Err(TimestampFault::UnknownForm),
        }
    }
}

/// Returns the number of two digits; none if one is not a digit.
#[inline]
fn two_digits(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then_some(u32::from(high) * 10 + u32::from(low))
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
    let year = century * 100 + year;
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return Err(TimestampFault::NoSuchDate);
    }
    Ok(days_from_civil(year, month, day))
}

/// Returns the number of days of a month.
#[inline]
fn month_days(year: u32, month: u32) -> u32 {
    const DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    DAYS[month as usize - 1] + u32::from(leap && month == 2)
}

/// Returns the days since 1970-01-01; `days_from_civil` of Howard Hinnant, "chrono-compatible low-level date algorithms",
/// <https://howardhinnant.github.io/date_algorithms.html>.
#[inline]
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    // The year starts in March, so that the leap day is its last day. 400 years are added to keep year 0 unsigned.
    let year = year + 400 - u32::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i64::from(era) * 146_097 + i64::from(day_of_era) - 719_468 - 146_097
}

/// Returns the microseconds of `HH:MM[:SS[.fraction]]`, and the text after it.
#[inline]
fn time_of_day(text: &[u8]) -> Result<(i64, &[u8]), TimestampFault> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else {
        return Err(TimestampFault::UnknownForm);
    };
    let (second, fraction, rest) = match rest {
        [b':', s1, s2, b'.', rest @ ..] => {
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
    if hour > 23 || minute > 59 || second > 59 {
        return Err(match (hour, minute, second) {
            (24, 0, 0) => TimestampFault::HourTwentyFour,
            (0..=23, 0..=59, 60) => TimestampFault::LeapSecond,
            _ => TimestampFault::NoSuchTime,
        });
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Ok((seconds * SECOND + fraction, rest))
}

/// Returns the microseconds of a fraction, without its digits beyond the sixth, and the text after it.
#[inline]
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), TimestampFault> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err(TimestampFault::UnknownForm);
    }
    let (mut micros, mut unit) = (0, SECOND / 10);
    for byte in &text[..digits.min(6)] {
        micros += i64::from(byte - b'0') * unit;
        unit /= 10;
    }
    Ok((micros, &text[digits..]))
}

/// Returns the seconds of `HH`, `HHMM` or `HH:MM`.
fn offset(text: &[u8]) -> Result<i64, TimestampFault> {
    let (hour, minute) = match *text {
        [h1, h2] => (two_digits(h1, h2), Some(0)),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (two_digits(h1, h2), two_digits(m1, m2)),
        _ => return Err(TimestampFault::BadOffset),
    };
    match (hour, minute) {
        (Some(hour @ 0..=23), Some(minute @ 0..=59)) => Ok(i64::from(hour * 3600 + minute * 60)),
        _ => Err(TimestampFault::BadOffset),
    }
}

/// Returns the microseconds of exactly 10, 13 or 16 digits.
fn epoch(value: &[u8]) -> Result<i64, TimestampFault> {
    let unit = match value.len() {
        10 => SECOND,
        13 => 1_000,
        16 => 1,
        _ => return Err(unknown_form(value)),
    };
    let mut number = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(unknown_form(value));
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Ok(number * unit)
}

/// Returns the fault of a value that is neither ISO 8601 nor digits since the epoch.
#[cold]
fn unknown_form(value: &[u8]) -> TimestampFault {
    match NumericDate::recognize(value) {
        Some(date) if date.order() == DayMonthOrder::Neither => TimestampFault::NoSuchDate,
        Some(_) => TimestampFault::Ambiguous,
        None => TimestampFault::UnknownForm,
    }
}

#[cfg(test)]
mod tests;
