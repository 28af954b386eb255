//! The forms that are read without a declared format, beside the plain ISO forms: nothing in them is ambiguous, since the
//! year comes first, or the month has its English name and the year four digits.

use chrono_tz::Tz;

use super::{
    civil::{self, digits, number, space, two_digits},
    moment::{Moment, Place},
    timestamp::TimestampFault,
    words,
};

type Result<T> = std::result::Result<T, TimestampFault>;

/// Maximum bytes of a timestamp. None is longer, and a longer text is not searched.
const BYTES: usize = 96;

/// Days of the week by English names.
type Weekday = Option<u8>;

/// Reads a value in one of the forms.
pub(super) fn read(value: &[u8]) -> Result<Moment> {
    let unknown = Err(TimestampFault::UnknownForm);
    if value.len() > BYTES {
        return unknown;
    }
    // Logs write the whole timestamp in brackets.
    let value = match value {
        [b'[', inner @ .., b']'] => inner,
        value => value,
    };
    match value {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', ..] => year_first(value),
        [b'0'..=b'9', ..] => day_first(value, None),
        [b'a'..=b'z' | b'A'..=b'Z', ..] => words_first(value),
        _ => unknown,
    }
}

/// Reads `2025/11/10 …`, `20251110T010112Z`, `2025-Nov-10`.
fn year_first(text: &[u8]) -> Result<Moment> {
    let (year, rest) = number(text, 4, 4).ok_or(TimestampFault::UnknownForm)?;
    if digits(rest) > 0 {
        return basic(text);
    }
    let [separator @ (b'-' | b'/' | b'.' | b' '), rest @ ..] = rest else {
        return Err(TimestampFault::UnknownForm);
    };
    let separator = *separator;
    let (month, rest) = match number(rest, 1, 2) {
        Some(read) if separator != b' ' => read,
        _ => {
            let named = words::english_month(rest);
            let (month, length) = named.ok_or(TimestampFault::UnknownForm)?;
            (month, &rest[length..])
        }
    };
    let rest = rest
        .strip_prefix(&[separator])
        .ok_or(TimestampFault::UnknownForm)?;
    let (day, rest) = number(rest, 1, 2).ok_or(TimestampFault::UnknownForm)?;
    if digits(rest) > 0 {
        return Err(TimestampFault::UnknownForm);
    }
    let moment = at_day(year, month, day)?;
    match rest {
        // DB2 writes `2025-11-10-10.11.12.123456`.
        [b'-', time @ ..] if separator == b'-' && time.contains(&b'.') => dotted_time(moment, time),
        rest => time_after(moment, rest),
    }
}

/// Reads `20251110T010112.5Z`; and `20251110 01:01:12`, whose time has colons.
fn basic(text: &[u8]) -> Result<Moment> {
    let (date, rest) = text
        .split_at_checked(8)
        .ok_or(TimestampFault::UnknownForm)?;
    let part = |at: usize, length| number(&date[at..], length, length).map(|(number, _)| number);
    let (Some(year), Some(month), Some(day)) = (part(0, 4), part(4, 2), part(6, 2)) else {
        return Err(TimestampFault::UnknownForm);
    };
    let (Some(separator @ (b'T' | b't' | b' ')), time) = (rest.first(), &rest[rest.len().min(1)..])
    else {
        return Err(TimestampFault::UnknownForm);
    };
    let moment = at_day(year, month, day)?;
    match digits(time) {
        4 | 6 if *separator != b' ' => {
            let (hours, rest) = time.split_at(4);
            let hour = two_digits(hours[0], hours[1]).ok_or(TimestampFault::UnknownForm)?;
            let minute = two_digits(hours[2], hours[3]).ok_or(TimestampFault::UnknownForm)?;
            let (second, rest) = number(rest, 2, 2).unwrap_or((0, rest));
            let (fraction, rest) = optional_fraction(rest)?;
            let time = civil::time_of_day(hour, minute, second)? + fraction;
            place_after(with_time(moment, time), rest)
        }
        1 | 2 => time_after(moment, rest),
        _ => Err(TimestampFault::UnknownForm),
    }
}

/// Reads `10 Nov 2025 …`, `10-Nov-2025 …`, `10/Nov/2025:10:11:12 +0000`, `10NOV2025`.
fn day_first(text: &[u8], weekday: Weekday) -> Result<Moment> {
    let (day, rest) = number(text, 1, 2).ok_or(TimestampFault::UnknownForm)?;
    let rest = without_ordinal(rest);
    let (separator, rest) = match rest {
        [separator @ (b'-' | b'/'), rest @ ..] => (Some(*separator), rest),
        rest => {
            let rest = rest.strip_prefix(b".").unwrap_or(rest);
            (None, &rest[space(rest)..])
        }
    };
    let named = words::english_month(rest).ok_or(TimestampFault::UnknownForm)?;
    let (month, rest) = (named.0, &rest[named.1..]);
    let rest = match separator {
        Some(separator) => rest
            .strip_prefix(&[separator])
            .ok_or(TimestampFault::UnknownForm)?,
        None => {
            let rest = rest
                .strip_prefix(b".")
                .or(rest.strip_prefix(b","))
                .unwrap_or(rest);
            &rest[space(rest)..]
        }
    };
    let (year, rest) = full_year(rest)?;
    let moment = checked(at_day(year, month, day)?, weekday)?;
    match rest {
        // Web servers write `10/Nov/2025:10:11:12 +0000`.
        [b':', rest @ ..] if separator == Some(b'/') => clock(moment, rest),
        rest => time_after(moment, rest),
    }
}

/// Reads forms that start with the day of the week or the month.
fn words_first(text: &[u8]) -> Result<Moment> {
    let length = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let name = std::str::from_utf8(&text[..length]).unwrap_or_default();
    let (weekday, rest) = match words::english_weekday(name) {
        Some(day) => {
            let rest = &text[length..];
            let rest = rest.strip_prefix(b".").unwrap_or(rest);
            let rest = rest.strip_prefix(b",").unwrap_or(rest);
            (Some(day), &rest[space(rest)..])
        }
        None => (None, text),
    };
    match rest {
        [b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', b'0'..=b'9', ..] => {
            checked(year_first(rest)?, weekday)
        }
        [b'0'..=b'9', ..] => day_first(rest, weekday),
        rest => month_first(rest, weekday),
    }
}

/// Reads `Nov 10, 2025 …`, `Nov 10 2025 …`, and `Nov 10 10:11:12 2025` of `ctime`.
fn month_first(text: &[u8], weekday: Weekday) -> Result<Moment> {
    let (month, length) = words::english_month(text).ok_or(TimestampFault::UnknownForm)?;
    let rest = text[length..].strip_prefix(b".").unwrap_or(&text[length..]);
    let rest = match rest {
        [b'-' | b'/', rest @ ..] => rest,
        rest => &rest[space(rest)..],
    };
    let (day, rest) = number(rest, 1, 2).ok_or(TimestampFault::UnknownForm)?;
    let rest = without_ordinal(rest);
    let rest = match rest {
        [b',' | b'-' | b'/', rest @ ..] => rest,
        rest => rest,
    };
    let rest = &rest[space(rest)..];
    if matches!(
        rest,
        [b'0'..=b'9', b'0'..=b'9', b':', ..] | [b'0'..=b'9', b':', ..]
    ) {
        return year_last(month, day, rest, weekday);
    }
    let (year, rest) = full_year(rest)?;
    let moment = checked(at_day(year, month, day)?, weekday)?;
    time_after(moment, rest)
}

/// Reads `10:11:12 +0100 2025` after month and day.
fn year_last(month: u32, day: u32, text: &[u8], weekday: Weekday) -> Result<Moment> {
    let (_, year) = text
        .split_at_checked(text.len().saturating_sub(4))
        .unwrap_or((text, b""));
    let (year, _) = full_year(year)?;
    let time = text[..text.len() - 4].trim_ascii_end();
    let moment = checked(at_day(year, month, day)?, weekday)?;
    clock(moment, time)
}

/// Reads what follows a date: nothing, an offset, or a time.
fn time_after(moment: Moment, rest: &[u8]) -> Result<Moment> {
    match rest {
        [] => return Ok(moment),
        // A day has no offset: it counts as the day that it names.
        [b'Z' | b'z'] => return Ok(moment),
        [b'+' | b'-', _, ..] => {
            return match civil::signed_offset(rest) {
                // What follows a hyphen may as well be a time of day: `2025-11-10-10:11`.
                Some(Ok((seconds, []))) if rest[0] == b'+' || is_in_use(seconds) => Ok(moment),
                _ => Err(TimestampFault::UnknownForm),
            };
        }
        _ => {}
    }
    let gap = match rest {
        [b'T' | b't', rest @ ..] => return clock(moment, rest),
        [b',', rest @ ..] => rest,
        rest => rest,
    };
    let trimmed = &gap[space(gap)..];
    if gap.len() == rest.len() && trimmed.len() == gap.len() {
        return Err(TimestampFault::UnknownForm);
    }
    // Kibana writes `Nov 10, 2025 @ 10:11:12.123`.
    let trimmed = match trimmed {
        [b'@', rest @ ..] | [b'a' | b'A', b't' | b'T', b' ', rest @ ..] => &rest[space(rest)..],
        rest => rest,
    };
    clock(moment, trimmed)
}

/// Whether some zone is or was behind UTC by these seconds since 1970.
fn is_in_use(seconds: i64) -> bool {
    const HALF_HOURS: [i64; 4] = [150, 210, 270, 570];
    let minutes = -seconds / 60;
    (0..=720).contains(&minutes) && (minutes % 60 == 0 || HALF_HOURS.contains(&minutes))
}

/// Reads `H:MM[:SS[.fraction]]`, perhaps with AM or PM, and the offset or zone after it.
pub(super) fn clock(moment: Moment, text: &[u8]) -> Result<Moment> {
    let unknown = TimestampFault::UnknownForm;
    let (hour, rest) = number(text, 1, 2).ok_or(unknown)?;
    if let Some((second_half, rest)) = half_of_day(rest) {
        let hour = civil::hour_of_half(hour, second_half)?;
        return place_after(with_time(moment, civil::time_of_day(hour, 0, 0)?), rest);
    }
    if let [b'.', b'0'..=b'9', b'0'..=b'9', b'.', ..] = rest {
        return dotted_time(moment, text);
    }
    let rest = rest.strip_prefix(b":").ok_or(unknown)?;
    let (minute, rest) = number(rest, 2, 2).ok_or(unknown)?;
    let (second, fraction, rest) = match rest {
        [b':', rest @ ..] => {
            let (second, rest) = number(rest, 2, 2).ok_or(unknown)?;
            let (fraction, rest) = optional_fraction(rest)?;
            (second, fraction, rest)
        }
        rest => (0, 0, rest),
    };
    let (hour, rest) = match half_of_day(rest) {
        Some((second_half, rest)) => (civil::hour_of_half(hour, second_half)?, rest),
        None => (hour, rest),
    };
    let time = civil::time_of_day(hour, minute, second)? + fraction;
    place_after(with_time(moment, time), rest)
}

/// Reads `10.11.12.123456`, as DB2 writes times.
fn dotted_time(moment: Moment, text: &[u8]) -> Result<Moment> {
    let unknown = TimestampFault::UnknownForm;
    let part = |text| number(text, 1, 2).ok_or(unknown);
    let (hour, rest) = part(text)?;
    let (minute, rest) = part(rest.strip_prefix(b".").ok_or(unknown)?)?;
    let (second, rest) = part(rest.strip_prefix(b".").ok_or(unknown)?)?;
    let (fraction, rest) = optional_fraction(rest)?;
    let time = civil::time_of_day(hour, minute, second)? + fraction;
    place_after(with_time(moment, time), rest)
}

/// Reads what follows a time: an offset, the name of UTC, and what repeats them.
pub(super) fn place_after(mut moment: Moment, rest: &[u8]) -> Result<Moment> {
    let rest = &rest[space(rest)..];
    // RFC 9557: `Z` and `-00:00` say that the local offset is not known, `+00:00` that it is zero.
    let stated_offset = rest.first() == Some(&b'+');
    let (offset, rest) = match rest {
        [] => return Ok(moment),
        [b'[', ..] => (None, rest),
        [b'+' | b'-', ..] => match civil::signed_offset(rest) {
            Some(offset) => offset.map(|(seconds, rest)| (Some(seconds), rest))?,
            None => return Err(TimestampFault::UnknownForm),
        },
        rest => {
            let rest = after_utc(rest)?;
            match civil::signed_offset(rest) {
                // Browsers write `GMT+0100`; others write less, with another meaning.
                Some(offset) if digits(&rest[1..]) == 4 => {
                    offset.map(|(seconds, rest)| (Some(seconds), rest))?
                }
                Some(_) => return Err(TimestampFault::UnknownForm),
                None => (Some(0), rest),
            }
        }
    };
    moment.place = offset.map_or(Place::Unsaid, Place::Offset);
    if rest.is_empty() {
        return Ok(moment);
    }
    if rest.first() == Some(&b'[') {
        let is_local = offset == Some(0) && stated_offset;
        return bracketed(moment, rest, is_local);
    }
    match offset {
        Some(seconds) => repeated(moment, seconds, rest),
        None => Err(TimestampFault::UnknownForm),
    }
}

/// Returns the text after `Z`, `UTC` or `GMT`.
fn after_utc(text: &[u8]) -> Result<&[u8]> {
    let length = text
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .count();
    let (name, rest) = text.split_at(length);
    let is = |utc: &str| name.eq_ignore_ascii_case(utc.as_bytes());
    if is("Z") || is("UTC") || is("GMT") {
        return Ok(rest);
    }
    let is_abbreviation = (3..=5).contains(&length) && name.iter().all(u8::is_ascii_uppercase);
    Err(if is_abbreviation && rest.is_empty() {
        TimestampFault::ZoneAbbreviation
    } else {
        TimestampFault::UnknownForm
    })
}

/// Reads the zone of RFC 9557: `[Europe/Berlin]`, and tags such as `[u-ca=gregory]`, which do not change the instant.
fn bracketed(mut moment: Moment, mut rest: &[u8], is_local: bool) -> Result<Moment> {
    let mut is_first = true;
    while let [b'[', inner @ ..] = rest {
        let end = memchr::memchr(b']', inner).ok_or(TimestampFault::UnknownForm)?;
        let name = std::str::from_utf8(&inner[..end]).map_err(|_| TimestampFault::UnknownForm)?;
        let name = name.strip_prefix('!').unwrap_or(name);
        rest = &inner[end + 1..];
        let is_tag = name.contains('=');
        if is_first && !is_tag {
            moment.place = in_zone(moment.place, name, is_local)?;
        } else if !is_tag {
            return Err(TimestampFault::UnknownForm);
        }
        is_first = false;
    }
    if rest.is_empty() && moment.place != Place::Unsaid {
        Ok(moment)
    } else {
        Err(TimestampFault::UnknownForm)
    }
}

/// Adds a zone in brackets to an offset; `is_local` of an offset of zero that is that of the zone.
fn in_zone(place: Place, name: &str, is_local: bool) -> Result<Place> {
    if let Some(offset) = civil::signed_offset(name.as_bytes()) {
        let (seconds, rest) = offset?;
        let agrees = place == Place::Unsaid || place == Place::Offset(seconds);
        return match (rest, agrees) {
            ([], true) => Ok(Place::Offset(seconds)),
            _ => Err(TimestampFault::Contradiction),
        };
    }
    let zone: Tz = match name {
        "Z" => Tz::UTC,
        name => name.parse().map_err(|_| TimestampFault::UnknownZone)?,
    };
    Ok(match place {
        Place::Unsaid => Place::Zone(zone),
        Place::Offset(0) if !is_local => Place::Offset(0),
        Place::Offset(seconds) => Place::Both(seconds, zone),
        other => other,
    })
}

/// Reads what repeats an offset: an abbreviation (Go), a comment (mails, browsers), the monotonic clock of Go.
fn repeated(moment: Moment, seconds: i64, rest: &[u8]) -> Result<Moment> {
    let rest = &rest[space(rest)..];
    if let [b'(', comment @ .., b')'] = rest
        && memchr::memchr2(b'(', b')', comment).is_none()
    {
        return Ok(moment);
    }
    let end = rest
        .iter()
        .position(|byte| *byte == b' ')
        .unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let is_utc = matches!(name, b"UTC" | b"GMT" | b"Z");
    let is_abbreviation = (2..=5).contains(&name.len())
        && name.iter().all(u8::is_ascii_uppercase)
        && !matches!(name, b"AM" | b"PM");
    let is_number = civil::signed_offset(name).is_some_and(|other| other == Ok((seconds, &[])));
    if is_utc && seconds != 0 {
        return Err(TimestampFault::Contradiction);
    }
    let is_clock = |rest: &[u8]| {
        let number = rest.strip_prefix(b" m=+").or(rest.strip_prefix(b" m=-"));
        number.is_some_and(|n| !n.is_empty() && n.iter().all(|b| b.is_ascii_digit() || *b == b'.'))
    };
    if (is_utc || is_abbreviation || is_number) && (rest.is_empty() || is_clock(rest)) {
        Ok(moment)
    } else {
        Err(TimestampFault::UnknownForm)
    }
}

fn half_of_day(rest: &[u8]) -> Option<(bool, &[u8])> {
    let text = &rest[space(rest)..];
    let (second_half, length) = match text {
        [b'A' | b'a', b'M' | b'm', ..] => (false, 2),
        [b'P' | b'p', b'M' | b'm', ..] => (true, 2),
        [b'A' | b'a', b'.', b'M' | b'm', b'.', ..] => (false, 4),
        [b'P' | b'p', b'.', b'M' | b'm', b'.', ..] => (true, 4),
        _ => return None,
    };
    let rest = &text[length..];
    let ends = rest
        .first()
        .is_none_or(|byte| !byte.is_ascii_alphanumeric());
    ends.then_some((second_half, rest))
}

fn optional_fraction(text: &[u8]) -> Result<(i64, &[u8])> {
    match text {
        [b'.' | b',', rest @ ..] => civil::fraction(rest),
        rest => Ok((0, rest)),
    }
}

/// Returns a year of four digits. Two digits do not say which century is meant, or that they are the year.
fn full_year(text: &[u8]) -> Result<(u32, &[u8])> {
    match digits(text) {
        4 => number(text, 4, 4).ok_or(TimestampFault::UnknownForm),
        2 => Err(TimestampFault::Ambiguous),
        _ => Err(TimestampFault::UnknownForm),
    }
}

/// Returns the text after `st`, `nd`, `rd` or `th` of a day.
fn without_ordinal(text: &[u8]) -> &[u8] {
    match text {
        [a, b, rest @ ..]
            if matches!(&[a | 32, b | 32], b"st" | b"nd" | b"rd" | b"th")
                && rest.first().is_none_or(|byte| !byte.is_ascii_alphabetic()) =>
        {
            rest
        }
        text => text,
    }
}

fn at_day(year: u32, month: u32, day: u32) -> Result<Moment> {
    let days = civil::days(year, month, day)?;
    Ok(Moment {
        days,
        ..Moment::default()
    })
}

fn with_time(moment: Moment, time: i64) -> Moment {
    Moment {
        time: Some(time),
        ..moment
    }
}

fn checked(moment: Moment, weekday: Weekday) -> Result<Moment> {
    if let Some(days) = weekday {
        moment.check_weekday(days)?;
    }
    Ok(moment)
}
