//! Patterns of timestamps, written as `strftime` formats. Reads what people and programs write: white space of any length
//! and kind, names of months and days in several languages, `a. m.`, `GMT+1`; and `%f` as Python means it.

use chrono_tz::Tz;

use super::{
    civil::{self, number},
    moment::{Moment, Place},
    timestamp::{DAY_SECONDS, SECOND, TimestampFault},
    words,
};

/// A compiled pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    items: Vec<Item>,
}

/// A part of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Literal(String),
    /// White space.
    Space,
    /// A number; `exact` if digits follow or precede it directly.
    Number {
        part: Part,
        exact: bool,
    },
    /// A fraction of a second, of any length or of exactly this many digits.
    Fraction(Option<usize>),
    /// A point and a fraction, or nothing.
    OptionalFraction,
    MonthName,
    WeekdayName,
    HalfOfDay,
    Offset,
    ZoneName,
    Epoch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Year,
    ShortYear,
    Month,
    Day,
    Hour,
    HalfHour,
    Minute,
    Second,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatternFault {
    /// It has a directive that patterns lack.
    Directive,
    /// It does not determine a day, or a time of day.
    Incomplete,
    /// It ends in the literal `Z`, `UTC` or `GMT`, which would be read without its meaning.
    LiteralZone,
}

/// The parts that were read.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Parts {
    numbers: [Option<u32>; 8],
    micros: i64,
    second_half: Option<bool>,
    weekdays: Option<u8>,
    epoch: Option<i64>,
    place: Place,
}

impl Pattern {
    /// Compiles a pattern.
    pub(super) fn new(text: &str) -> Result<Self, PatternFault> {
        let pattern = Self::part(text)?;
        pattern.check()?;
        Ok(pattern)
    }

    /// Compiles a part of a pattern, which need not be complete.
    pub(super) fn part(text: &str) -> Result<Self, PatternFault> {
        let mut items = Vec::new();
        compile(text, &mut items)?;
        let digits = |item: Option<&Item>| {
            item.is_some_and(|item| matches!(item, Item::Number { .. } | Item::Fraction(_)))
        };
        for at in 0..items.len() {
            let touches = digits(items.get(at + 1)) || at > 0 && digits(items.get(at - 1));
            if let Item::Number { exact, .. } = &mut items[at] {
                *exact = touches;
            }
        }
        Ok(Self { items })
    }

    /// Checks that the pattern determines an instant.
    fn check(&self) -> Result<(), PatternFault> {
        let has = |item: &Item| self.items.contains(item);
        let counts = |part: Part| {
            let is_part =
                |item: &Item| matches!(item, Item::Number { part: of, .. } if *of == part);
            self.items.iter().any(is_part)
        };
        let names_zone = |item: &Item| match item {
            Item::Literal(text) => text
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| ["Z", "UTC", "GMT"].contains(&word)),
            _ => false,
        };
        let reads_zone = has(&Item::Offset) || has(&Item::ZoneName);
        if !reads_zone && self.items.iter().any(names_zone) {
            return Err(PatternFault::LiteralZone);
        }
        let year = counts(Part::Year) || counts(Part::ShortYear);
        let month = counts(Part::Month) || has(&Item::MonthName);
        let date = year && month && counts(Part::Day);
        let hour = counts(Part::Hour) || counts(Part::HalfHour) && has(&Item::HalfOfDay);
        let only_half = counts(Part::HalfHour) && !has(&Item::HalfOfDay);
        let finer = counts(Part::Minute) || counts(Part::Second);
        let is_complete = (date || has(&Item::Epoch)) && (hour || !finer) && !only_half;
        is_complete.then_some(()).ok_or(PatternFault::Incomplete)
    }

    /// Reads a complete value.
    pub(super) fn read(&self, value: &str) -> Result<Moment, TimestampFault> {
        let mut parts = Parts::default();
        let rest = self.read_start(value, &mut parts)?;
        if rest.is_empty() {
            parts.moment()
        } else {
            Err(TimestampFault::FormatMismatch)
        }
    }

    /// Reads the start of a text, and returns the rest.
    pub(super) fn read_start<'a>(
        &self,
        text: &'a str,
        parts: &mut Parts,
    ) -> Result<&'a str, TimestampFault> {
        let mut rest = text;
        for item in &self.items {
            rest = item.read(rest, parts)?;
        }
        Ok(rest)
    }
}

impl Item {
    fn read<'a>(&self, text: &'a str, parts: &mut Parts) -> Result<&'a str, TimestampFault> {
        let mismatch = TimestampFault::FormatMismatch;
        let after = |length: usize| &text[length..];
        let fraction = |text: &'a str| match civil::fraction(text.as_bytes()) {
            Ok((micros, rest)) => Ok((micros, &text[text.len() - rest.len()..])),
            Err(_) => Err(mismatch),
        };
        match self {
            Self::Literal(literal) => text.strip_prefix(literal.as_str()).ok_or(mismatch),
            Self::Space => match civil::space(text.as_bytes()) {
                0 => Err(mismatch),
                length => Ok(after(length)),
            },
            Self::Number { part, exact } => {
                let (least, most) = match part {
                    Part::Year => (4, 4),
                    Part::ShortYear => (2, 2),
                    _ if *exact => (2, 2),
                    _ => (1, 2),
                };
                let (number, rest) = number(text.as_bytes(), least, most).ok_or(mismatch)?;
                parts.numbers[*part as usize] = Some(number);
                Ok(after(text.len() - rest.len()))
            }
            Self::Fraction(digits) => {
                let found = civil::digits(text.as_bytes());
                if digits.is_some_and(|digits| digits != found) {
                    return Err(mismatch);
                }
                let (micros, rest) = fraction(text)?;
                parts.micros = micros;
                Ok(rest)
            }
            Self::OptionalFraction => match text.strip_prefix('.') {
                None => Ok(text),
                Some(text) => {
                    let (micros, rest) = fraction(text)?;
                    parts.micros = micros;
                    Ok(rest)
                }
            },
            Self::MonthName => {
                let (month, length) = words::month(text).ok_or(mismatch)?;
                parts.numbers[Part::Month as usize] = Some(month);
                Ok(without_point(after(length), length))
            }
            Self::WeekdayName => {
                let (days, length) = words::weekdays(text).ok_or(mismatch)?;
                parts.weekdays = Some(days);
                Ok(without_point(after(length), length))
            }
            Self::HalfOfDay => {
                let (second_half, length) = words::half_of_day(text).ok_or(mismatch)?;
                parts.second_half = Some(second_half);
                Ok(after(length))
            }
            Self::Offset => read_offset(text, parts),
            Self::ZoneName => read_zone(text, parts),
            Self::Epoch => {
                let digits = civil::digits(text.as_bytes());
                let seconds: i64 = text[..digits].parse().map_err(|_| mismatch)?;
                parts.epoch = Some(
                    seconds
                        .checked_mul(SECOND)
                        .ok_or(TimestampFault::OutOfRange)?,
                );
                Ok(after(digits))
            }
        }
    }
}

/// Returns the text after the point of an abbreviation of up to five letters.
fn without_point(rest: &str, length: usize) -> &str {
    match rest.strip_prefix('.') {
        Some(after) if length <= 6 && !after.starts_with(|c: char| c.is_ascii_digit()) => after,
        _ => rest,
    }
}

fn read_offset<'a>(text: &'a str, parts: &mut Parts) -> Result<&'a str, TimestampFault> {
    if let Some(offset) = civil::signed_offset(text.as_bytes()) {
        let (seconds, rest) = offset?;
        parts.place = Place::Offset(seconds);
        return Ok(&text[text.len() - rest.len()..]);
    }
    let utc = ["Z", "z", "UTC", "GMT"];
    let rest = utc.iter().find_map(|name| text.strip_prefix(name));
    parts.place = Place::Offset(0);
    rest.ok_or(TimestampFault::FormatMismatch)
}

fn read_zone<'a>(text: &'a str, parts: &mut Parts) -> Result<&'a str, TimestampFault> {
    let is_of_name =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '+' | '-' | ':');
    let (name, rest) = text.split_at(text.find(|c| !is_of_name(c)).unwrap_or(text.len()));
    if name.is_empty() {
        return Err(TimestampFault::FormatMismatch);
    }
    parts.place = zone_place(name)?;
    Ok(rest)
}

/// Returns what the name of a zone means: `UTC`, `GMT+1` and its like, or a name of IANA.
fn zone_place(name: &str) -> Result<Place, TimestampFault> {
    let utc = ["UTC", "GMT"].iter().find_map(|utc| name.strip_prefix(utc));
    match utc {
        _ if matches!(name, "Z" | "z") => return Ok(Place::Offset(0)),
        Some("") => return Ok(Place::Offset(0)),
        Some(offset) => {
            let (sign, digits) = offset.split_at(1);
            let padded = match digits.find(':').unwrap_or(digits.len()) {
                1 => format!("{sign}0{digits}"),
                _ => offset.to_owned(),
            };
            if let Some(Ok((seconds, []))) = civil::signed_offset(padded.as_bytes()) {
                return Ok(Place::Offset(seconds));
            }
        }
        None => {}
    }
    let zone: Result<Tz, _> = name.parse();
    zone.map(Place::Zone)
        .map_err(|_| TimestampFault::UnknownZone)
}

impl Parts {
    fn number(&self, part: Part) -> Option<u32> {
        self.numbers[part as usize]
    }

    /// Returns the moment that the parts determine.
    fn moment(self) -> Result<Moment, TimestampFault> {
        if let Some(epoch) = self.epoch {
            let day = DAY_SECONDS * SECOND;
            return Ok(Moment {
                days: epoch.div_euclid(day),
                time: Some(epoch.rem_euclid(day) + self.micros),
                place: Place::Offset(0),
            });
        }
        let year = match (self.number(Part::Year), self.number(Part::ShortYear)) {
            (Some(year), _) => year,
            // POSIX: 69 is 1969, 68 is 2068; 1970 is the first year in range.
            (None, Some(year)) if year < 70 => 2000 + year,
            (None, Some(year)) => 1900 + year,
            (None, None) => return Err(TimestampFault::FormatMismatch),
        };
        let part = |part| self.number(part).ok_or(TimestampFault::FormatMismatch);
        let moment = Moment {
            days: civil::days(year, part(Part::Month)?, part(Part::Day)?)?,
            time: self.time()?,
            place: self.place,
        };
        match self.weekdays {
            Some(days) => moment.check_weekday(days).map(|()| moment),
            None => Ok(moment),
        }
    }

    fn time(&self) -> Result<Option<i64>, TimestampFault> {
        let hour = match (
            self.number(Part::Hour),
            self.number(Part::HalfHour),
            self.second_half,
        ) {
            (None, None, _) => return Ok(None),
            (Some(hour), _, Some(second_half)) if (hour >= 12) != second_half => {
                return Err(TimestampFault::Contradiction);
            }
            (Some(hour), ..) => hour,
            (None, Some(hour), Some(second_half)) => civil::hour_of_half(hour, second_half)?,
            (None, Some(_), None) => return Err(TimestampFault::FormatMismatch),
        };
        let number = |part| self.number(part).unwrap_or(0);
        let (minute, second) = (number(Part::Minute), number(Part::Second));
        Ok(Some(
            civil::time_of_day(hour, minute, second)? + self.micros,
        ))
    }
}

fn compile(text: &str, items: &mut Vec<Item>) -> Result<(), PatternFault> {
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_whitespace() {
            if items.last() != Some(&Item::Space) {
                items.push(Item::Space);
            }
            continue;
        }
        if c != '%' {
            literal(c, items);
            continue;
        }
        let mut directive = String::new();
        while let Some(c) = chars.next_if(|c| "-_0.#:369".contains(*c)) {
            directive.push(c);
        }
        directive.push(chars.next().ok_or(PatternFault::Directive)?);
        compile_directive(&directive, items)?;
    }
    Ok(())
}

fn literal(c: char, items: &mut Vec<Item>) {
    match items.last_mut() {
        Some(Item::Literal(text)) => text.push(c),
        _ => items.push(Item::Literal(c.into())),
    }
}

fn compile_directive(directive: &str, items: &mut Vec<Item>) -> Result<(), PatternFault> {
    // `-`, `_` and `0` say how numbers are padded when written.
    let plain = directive.trim_start_matches(['-', '_', '0']);
    let number = |part| Item::Number { part, exact: false };
    let item = match plain {
        "Y" => number(Part::Year),
        "y" => number(Part::ShortYear),
        "m" => number(Part::Month),
        "d" | "e" => number(Part::Day),
        "H" | "k" => number(Part::Hour),
        "I" | "l" => number(Part::HalfHour),
        "M" => number(Part::Minute),
        "S" => number(Part::Second),
        "b" | "B" | "h" => Item::MonthName,
        "a" | "A" => Item::WeekdayName,
        "p" | "P" => Item::HalfOfDay,
        "f" => Item::Fraction(None),
        "3f" => Item::Fraction(Some(3)),
        "6f" => Item::Fraction(Some(6)),
        "9f" => Item::Fraction(Some(9)),
        ".f" => Item::OptionalFraction,
        "z" | ":z" | "#z" => Item::Offset,
        "Z" => Item::ZoneName,
        "s" => Item::Epoch,
        "n" | "t" => Item::Space,
        "F" => return compile("%Y-%m-%d", items),
        "T" | "X" => return compile("%H:%M:%S", items),
        "R" => return compile("%H:%M", items),
        "D" | "x" => return compile("%m/%d/%y", items),
        "%" => {
            literal('%', items);
            return Ok(());
        }
        _ => return Err(PatternFault::Directive),
    };
    items.push(item);
    Ok(())
}
