//! From a cell to an instant in microseconds since 1970, UTC: ISO 8601 forms, epoch digits, or a declared format.
//! What can be read two ways is never guessed. The common forms are read from bytes, without chrono.

use chrono_tz::Tz;

use super::{format::Format, zone::Zone};

pub(crate) const SECOND: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

/// 2200-01-01T00:00:00Z, the first instant that is out of range.
const END: i64 = 7_258_118_400 * SECOND;

/// Why a value is no instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TimeFault {
    /// In none of the accepted forms.
    Shape,
    /// A month or day that the calendar does not have.
    NoSuchDate,
    /// An hour, minute or second that the clock does not have.
    NoSuchTime,
    /// The hour 24.
    HourTwentyFour,
    /// The second 60.
    LeapSecond,
    /// An offset from UTC that is none.
    BadOffset,
    /// A wall time that the zone's clocks skipped.
    Gap,
    /// Before 1970 or after 2199.
    OutOfRange,
    /// Day and month, in an order not declared.
    Ambiguous,
    /// Does not match the declared format.
    Format,
    /// Names a time zone that is not known.
    UnknownZone,
}

/// Reads the timestamps of one file.
#[derive(Debug)]
pub(crate) struct Timestamps {
    pub(crate) zone: Zone,
    pub(crate) format: Option<Format>,
}

impl Timestamps {
    /// Values without an offset are wall times in `zone`; with a `format`, all values must match it.
    pub(crate) fn new(zone: Tz, format: Option<Format>) -> Self {
        Self {
            zone: Zone::new(zone),
            format,
        }
    }

    /// The instant of a value without white space around it. Of two instants of one wall time (clocks set back), it
    /// is the earlier.
    #[inline]
    pub(crate) fn read(&self, value: &[u8]) -> Result<i64, TimeFault> {
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
            Err(TimeFault::OutOfRange)
        }
    }

    #[inline]
    fn iso(&self, value: &[u8]) -> Result<i64, TimeFault> {
        let (date, rest) = value.split_at_checked(10).ok_or(TimeFault::Shape)?;
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
            _ => Err(TimeFault::Shape),
        }
    }
}

/// Two digits; none if one is not a digit.
#[inline]
fn two(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then_some(u32::from(high) * 10 + u32::from(low))
}

/// Days since 1970 of `YYYY-MM-DD`.
#[inline]
fn date_days(date: &[u8]) -> Result<i64, TimeFault> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else {
        return Err(TimeFault::Shape);
    };
    let (Some(century), Some(year), Some(month), Some(day)) =
        (two(y1, y2), two(y3, y4), two(m1, m2), two(d1, d2))
    else {
        return Err(TimeFault::Shape);
    };
    let year = century * 100 + year;
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return Err(TimeFault::NoSuchDate);
    }
    Ok(days_from_civil(year, month, day))
}

#[inline]
fn month_days(year: u32, month: u32) -> u32 {
    const DAYS: [u32; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    DAYS[month as usize - 1] + u32::from(leap && month == 2)
}

/// Days since 1970-01-01; `days_from_civil` of Howard Hinnant, "chrono-compatible low-level date algorithms",
/// <https://howardhinnant.github.io/date_algorithms.html>.
#[inline]
fn days_from_civil(year: u32, month: u32, day: u32) -> i64 {
    // The year starts in March, so that the leap day is its last; 400 years more keep year 0 from going below it.
    let year = year + 400 - u32::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i64::from(era) * 146_097 + i64::from(day_of_era) - 719_468 - 146_097
}

/// Microseconds of `HH:MM[:SS[.fraction]]`, and what follows it.
#[inline]
fn time_of_day(text: &[u8]) -> Result<(i64, &[u8]), TimeFault> {
    let [h1, h2, b':', m1, m2, rest @ ..] = text else {
        return Err(TimeFault::Shape);
    };
    let (second, fraction, rest) = match rest {
        [b':', s1, s2, b'.', rest @ ..] => {
            let (fraction, rest) = fraction(rest)?;
            (two(*s1, *s2), fraction, rest)
        }
        [b':', s1, s2, rest @ ..] => (two(*s1, *s2), 0, rest),
        rest => (Some(0), 0, rest),
    };
    let (Some(hour), Some(minute), Some(second)) = (two(*h1, *h2), two(*m1, *m2), second) else {
        return Err(TimeFault::Shape);
    };
    if hour > 23 || minute > 59 || second > 59 {
        return Err(match (hour, minute, second) {
            (24, 0, 0) => TimeFault::HourTwentyFour,
            (0..=23, 0..=59, 60) => TimeFault::LeapSecond,
            _ => TimeFault::NoSuchTime,
        });
    }
    let seconds = i64::from(hour * 3600 + minute * 60 + second);
    Ok((seconds * SECOND + fraction, rest))
}

/// Microseconds of the digits of a fraction, further ones cut off, and what follows them.
#[inline]
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), TimeFault> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return Err(TimeFault::Shape);
    }
    let (mut micros, mut unit) = (0, SECOND / 10);
    for byte in &text[..digits.min(6)] {
        micros += i64::from(byte - b'0') * unit;
        unit /= 10;
    }
    Ok((micros, &text[digits..]))
}

/// Seconds of `HH`, `HHMM` or `HH:MM`.
fn offset(text: &[u8]) -> Result<i64, TimeFault> {
    let (hour, minute) = match *text {
        [h1, h2] => (two(h1, h2), Some(0)),
        [h1, h2, m1, m2] | [h1, h2, b':', m1, m2] => (two(h1, h2), two(m1, m2)),
        _ => return Err(TimeFault::BadOffset),
    };
    match (hour, minute) {
        (Some(hour @ 0..=23), Some(minute @ 0..=59)) => Ok(i64::from(hour * 3600 + minute * 60)),
        _ => Err(TimeFault::BadOffset),
    }
}

/// Microseconds of exactly 10, 13 or 16 digits.
fn epoch(value: &[u8]) -> Result<i64, TimeFault> {
    let unit = match value.len() {
        10 => SECOND,
        13 => 1_000,
        16 => 1,
        _ => return Err(unknown(value)),
    };
    let mut number = 0;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(unknown(value));
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    Ok(number * unit)
}

/// The fault of a value that is neither ISO nor epoch.
#[cold]
fn unknown(value: &[u8]) -> TimeFault {
    match Numeric::of(value) {
        Some(numeric) if numeric.order() == Order::Neither => TimeFault::NoSuchDate,
        Some(_) => TimeFault::Ambiguous,
        None => TimeFault::Shape,
    }
}

/// A date of day, month and year in numbers, such as `3/4/2025`, perhaps with a time after it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Numeric {
    first: u32,
    second: u32,
    separator: char,
    short_year: bool,
    /// The format of what follows the date.
    time: String,
}

/// Which of the first two numbers is the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The first, since it is no month.
    DayFirst,
    /// The second, since it is no month.
    MonthFirst,
    /// Either.
    Either,
    /// Neither makes a date.
    Neither,
}

impl Numeric {
    /// Recognises the shape, not whether the date exists.
    pub(crate) fn of(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (date, time) = text.split_at(text.find([' ', 'T']).unwrap_or(text.len()));
        let separator = date.chars().find(|c| !c.is_ascii_digit())?;
        let parts: Vec<_> = date.split(separator).collect();
        let [first, second, year] = parts.as_slice() else {
            return None;
        };
        let number = |part: &str| {
            let digits = part.bytes().all(|byte| byte.is_ascii_digit());
            (digits && part.len() <= 4).then(|| part.parse::<u32>().ok())?
        };
        let short = |part: &str| part.len() <= 2;
        let shaped = matches!(separator, '/' | '.' | '-') && short(first) && short(second);
        number(year).filter(|_| shaped && matches!(year.len(), 2 | 4))?;
        Some(Self {
            first: number(first)?,
            second: number(second)?,
            separator,
            short_year: short(year),
            time: time_format(time),
        })
    }

    /// Whether both are written in the same way, whatever the date.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let form = |of: &Self| (of.separator, of.short_year);
        form(self) == form(other) && self.time == other.time
    }

    /// What the numbers themselves say about their order.
    pub(crate) fn order(&self) -> Order {
        let month = |number| (1..=12).contains(&number);
        let day = |number| (1..=31).contains(&number);
        let day_first = day(self.first) && month(self.second);
        let month_first = month(self.first) && day(self.second);
        match (day_first, month_first) {
            (true, true) => Order::Either,
            (true, false) => Order::DayFirst,
            (false, true) => Order::MonthFirst,
            (false, false) => Order::Neither,
        }
    }

    /// The `timestamp_format` that reads the value, with the day first or not.
    pub(crate) fn format(&self, day_first: bool) -> String {
        let Self {
            separator, time, ..
        } = self;
        let (first, second) = if day_first {
            ("%d", "%m")
        } else {
            ("%m", "%d")
        };
        let year = if self.short_year { "%y" } else { "%Y" };
        format!("{first}{separator}{second}{separator}{year}{time}")
    }
}

/// The format of a time of day behind a date, its separator included.
fn time_format(time: &str) -> String {
    let Some(separator) = time.chars().next() else {
        return String::new();
    };
    let half = time.len() > 2 && {
        let end = time.as_bytes()[time.len() - 2..].to_ascii_lowercase();
        matches!(&end[..], b"am" | b"pm")
    };
    let hour = if half { "%I" } else { "%H" };
    let seconds = match (time.matches(':').count(), time.contains('.')) {
        (0 | 1, _) => "",
        (_, false) => ":%S",
        (_, true) => ":%S%.f",
    };
    let spaced = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let noon = match (half, spaced.ends_with(' ')) {
        (false, _) => "",
        (true, true) => " %p",
        (true, false) => "%p",
    };
    format!("{separator}{hour}:%M{seconds}{noon}")
}

#[cfg(test)]
mod tests;
