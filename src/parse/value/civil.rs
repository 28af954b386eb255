//! Numbers of the calendar and the clock: digits, days since 1970, times of day, offsets.

use super::timestamp::{SECOND, TimestampFault};

/// Returns the number of two digits; none if one is not a digit.
#[inline]
pub(super) fn two_digits(high: u8, low: u8) -> Option<u32> {
    let (high, low) = (high.wrapping_sub(b'0'), low.wrapping_sub(b'0'));
    (high <= 9 && low <= 9).then_some(u32::from(high) * 10 + u32::from(low))
}

/// Returns the number at the start of a text, of `least` to `most` digits, and the text after it.
#[inline]
pub(super) fn number(text: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let (mut number, mut length) = (0, 0);
    while length < most && length < text.len() && text[length].is_ascii_digit() {
        number = number * 10 + u32::from(text[length] - b'0');
        length += 1;
    }
    (length >= least).then(|| (number, &text[length..]))
}

/// Returns the number of digits at the start of a text.
#[inline]
pub(super) fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Returns the days since 1970 of a date.
#[inline]
pub(super) fn days(year: u32, month: u32, day: u32) -> Result<i64, TimestampFault> {
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

/// Returns the day of the week of a day since 1970, from 0, Monday.
pub(super) fn weekday(days: i64) -> u32 {
    (days + 3).rem_euclid(7) as u32
}

/// Returns the microseconds of a time of day.
#[inline]
pub(super) fn time_of_day(hour: u32, minute: u32, second: u32) -> Result<i64, TimestampFault> {
    if hour > 23 || minute > 59 || second > 59 {
        return Err(match (hour, minute, second) {
            (24, 0, 0) => TimestampFault::HourTwentyFour,
            (0..=23, 0..=59, 60) => TimestampFault::LeapSecond,
            _ => TimestampFault::NoSuchTime,
        });
    }
    Ok(i64::from(hour * 3600 + minute * 60 + second) * SECOND)
}

/// Returns the hour of the day of an hour from 1 to 12.
pub(super) fn hour_of_half(hour: u32, second_half: bool) -> Result<u32, TimestampFault> {
    match hour {
        1..=12 => Ok(hour % 12 + if second_half { 12 } else { 0 }),
        _ => Err(TimestampFault::NoSuchTime),
    }
}

/// Returns the microseconds of a fraction, without its digits beyond the sixth, and the text after it.
#[inline]
pub(super) fn fraction(text: &[u8]) -> Result<(i64, &[u8]), TimestampFault> {
    let digits = digits(text);
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
#[inline]
pub(super) fn offset(text: &[u8]) -> Result<i64, TimestampFault> {
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

/// Returns the seconds of a signed offset at the start of a text, and the text after it; none without a sign.
pub(super) fn signed_offset(text: &[u8]) -> Option<Result<(i64, &[u8]), TimestampFault>> {
    let (sign, rest) = match text {
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b':')
        .count();
    let seconds = offset(&rest[..length]);
    Some(seconds.map(|seconds| (sign * seconds, &rest[length..])))
}

/// Returns the length of the white space at the start of a text, that of typographers included.
#[inline]
pub(super) fn space(text: &[u8]) -> usize {
    let mut length = 0;
    loop {
        length += match &text[length..] {
            [b' ' | b'\t', ..] => 1,
            [0xc2, 0xa0, ..] => 2,
            // U+2000 to U+200A, U+202F.
            [0xe2, 0x80, 0x80..=0x8a | 0xaf, ..] => 3,
            _ => return length,
        };
    }
}
