//! Converts five-field cron text (or a nickname such as `@daily`) to instants in a time zone. Reads no clock.
//! A local time that a clock change skips is due right after the gap; a repeated one is due once.

use chrono::{DateTime, Datelike, Days, NaiveDate, TimeDelta};
use chrono_tz::Tz;

use crate::model::{
    Instant,
    zone::{offset_at, offset_of_wall},
};

/// Days searched for a tick: the longest time between two 29 Februaries.
const HORIZON: u64 = 8 * 366 + 2;
/// Longest gap of a clock change, in minutes. Samoa skipped a day in 2011.
const GAP: i64 = 25 * 60;
/// Longest text that is parsed.
const TEXT_BYTES: usize = 200;

const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];

/// A parsed cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: Vec<u32>,
    hours: Vec<u32>,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether both kinds of day are restricted. Then either suffices, as in every cron.
    either_day: bool,
}

/// One of the five fields.
struct Field {
    name: &'static str,
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field::numbers("minute", 0, 59),
    Field::numbers("hour", 0, 23),
    Field::numbers("day of month", 1, 31),
    Field {
        name: "month",
        min: 1,
        max: 12,
        names: &MONTHS,
    },
    // 7 is Sunday too.
    Field {
        name: "day of week",
        min: 0,
        max: 7,
        names: &WEEKDAYS,
    },
];

impl Cron {
    /// Parses `minute hour day-of-month month day-of-week`, with `*`, lists, ranges, steps and names.
    ///
    /// # Errors
    /// Names the field, what is wrong with it, and what it accepts.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES {
            return Err(format!("is longer than {TEXT_BYTES} bytes"));
        }
        let text = text.trim().to_ascii_lowercase();
        let text = NICKNAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map_or(text.as_str(), |(_, meaning)| meaning);
        let fields: Vec<&str> = text.split_whitespace().collect();
        if fields.len() != FIELDS.len() {
            return Err(format!(
                "has {} fields, not the 5 of `minute hour day-of-month month day-of-week`, such as `0 0 * * *` for midnight",
                fields.len()
            ));
        }
        let mut masks = [0; 5];
        for ((mask, field), text) in masks.iter_mut().zip(&FIELDS).zip(&fields) {
            *mask = field.mask(text)?;
        }
        let [minutes, hours, days, months, weekdays] = masks;
        let cron = Self {
            minutes: (0..60).filter(|n| minutes >> n & 1 == 1).collect(),
            hours: (0..24).filter(|n| hours >> n & 1 == 1).collect(),
            days,
            months,
            weekdays: weekdays | weekdays >> 7,
            either_day: !fields[2].starts_with('*') && !fields[4].starts_with('*'),
        };
        cron.next(Instant::default(), Tz::UTC)
            .map(|_| cron)
            .ok_or_else(|| "is never due: there is no such day".into())
    }

    /// Returns the first tick after an instant.
    #[must_use]
    pub fn next(&self, after: Instant, zone: Tz) -> Option<Instant> {
        // One day earlier: a tick moved by a gap may belong to the local day before.
        let first = local_date(after, zone) - Days::new(1);
        (0..HORIZON)
            .filter_map(|n| first.checked_add_days(Days::new(n)))
            .filter(|day| self.is_due_on(*day))
            .find_map(|day| self.ticks(day, zone).find(|tick| *tick > after))
    }

    /// Returns the last tick at or before an instant.
    #[must_use]
    pub fn last(&self, until: Instant, zone: Tz) -> Option<Instant> {
        let last = local_date(until, zone);
        (0..HORIZON)
            .filter_map(|n| last.checked_sub_days(Days::new(n)))
            .filter(|day| self.is_due_on(*day))
            .find_map(|day| self.ticks(day, zone).filter(|tick| *tick <= until).max())
    }

    fn is_due_on(&self, day: NaiveDate) -> bool {
        let of_month = self.days >> day.day() & 1 == 1;
        let of_week = self.weekdays >> day.weekday().num_days_from_sunday() & 1 == 1;
        let of_day = if self.either_day {
            of_month || of_week
        } else {
            of_month && of_week
        };
        of_day && self.months >> day.month() & 1 == 1
    }

    fn ticks(&self, day: NaiveDate, zone: Tz) -> impl Iterator<Item = Instant> {
        self.hours
            .iter()
            .flat_map(|hour| self.minutes.iter().map(move |minute| (*hour, *minute)))
            .filter_map(move |(hour, minute)| {
                let local = day.and_hms_opt(hour, minute, 0)?.and_utc().timestamp();
                let at = (0..=GAP).map(|late| local + late * 60).find_map(|wall| {
                    let offset = offset_of_wall(zone, wall).earliest()?;
                    Some(wall - offset)
                });
                DateTime::from_timestamp(at?, 0)
            })
    }
}

fn local_date(at: Instant, zone: Tz) -> NaiveDate {
    let offset = offset_at(zone, at.timestamp());
    (at + TimeDelta::seconds(offset)).date_naive()
}

impl Field {
    const fn numbers(name: &'static str, min: u32, max: u32) -> Self {
        Self {
            name,
            min,
            max,
            names: &[],
        }
    }

    fn mask(&self, text: &str) -> Result<u64, String> {
        let mut mask = 0;
        for part in text.split(',') {
            let (range, step) = match part.split_once('/') {
                Some((range, step)) => (range, Some(step)),
                None => (part, None),
            };
            let (from, to) = match (range, range.split_once('-')) {
                ("*" | "?", _) => (self.min, self.max),
                (_, Some((from, to))) => (self.number(from, part)?, self.number(to, part)?),
                (one, None) => {
                    let one = self.number(one, part)?;
                    (one, if step.is_some() { self.max } else { one })
                }
            };
            let step: usize = step.unwrap_or("1").parse().unwrap_or(0);
            if step == 0 || from > to {
                return Err(self.fault(part));
            }
            for n in (from..=to).step_by(step) {
                mask |= 1 << n;
            }
        }
        Ok(mask)
    }

    fn number(&self, text: &str, part: &str) -> Result<u32, String> {
        let named = self.names.iter().position(|name| *name == text);
        let number = match named {
            Some(at) => u32::try_from(at).ok().map(|at| at + self.min),
            None => text.parse().ok(),
        };
        number
            .filter(|n| (self.min..=self.max).contains(n))
            .ok_or_else(|| self.fault(part))
    }

    fn fault(&self, part: &str) -> String {
        format!(
            "`{part}` is not a {}: use `*`, {}-{}, lists (1,2), ranges (1-5) or steps (*/2)",
            self.name, self.min, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    fn next(cron: &str, after: &str, zone: Tz) -> String {
        let tick = Cron::parse(cron).expect(cron).next(at(after), zone);
        tick.expect("due").format("%Y-%m-%dT%H:%M").to_string()
    }

    #[test]
    fn cron_forms_mean_what_they_mean_elsewhere() {
        let thursday = "2025-11-20T10:30:00Z";
        for (cron, due) in [
            ("0 0 * * *", "2025-11-21T00:00"),
            ("@daily", "2025-11-21T00:00"),
            ("*/20 * * * *", "2025-11-20T10:40"),
            ("5,45 10-11 * * *", "2025-11-20T10:45"),
            ("0 0 * * 0", "2025-11-23T00:00"),
            ("0 0 * * 7", "2025-11-23T00:00"),
            ("0 0 * * MON", "2025-11-24T00:00"),
            ("0 0 * * 1-5", "2025-11-21T00:00"),
            ("0 0 1 * *", "2025-12-01T00:00"),
            ("0 0 1 * fri", "2025-11-21T00:00"),
            ("30 4 29 2 *", "2028-02-29T04:30"),
            ("0 0 1 jan ?", "2026-01-01T00:00"),
        ] {
            assert_eq!(next(cron, thursday, Tz::UTC), due, "{cron}");
        }
    }

    #[test]
    fn invalid_text_is_refused_with_its_field() {
        for (cron, named) in [
            ("", "0 fields"),
            ("0 0 * *", "4 fields"),
            ("0 0 0 * * *", "6 fields"),
            ("60 0 * * *", "minute"),
            ("0 24 * * *", "hour"),
            ("0 0 * * 8", "day of week"),
            ("0 0 * 13 *", "month"),
            ("*/0 0 * * *", "minute"),
            ("5-1 0 * * *", "minute"),
            ("0 0 30 2 *", "never due"),
        ] {
            let fault = Cron::parse(cron).expect_err(cron);
            assert!(fault.contains(named), "{cron}: {fault}");
        }
    }

    #[test]
    fn midnight_is_due_once_a_day_across_clock_changes() {
        let midnight = Cron::parse("0 0 * * *").expect("midnight");
        for (zone, start) in [
            (Tz::Europe__Berlin, "2025-03-20T12:00:00Z"),
            (Tz::Europe__Berlin, "2025-10-20T12:00:00Z"),
            // Midnight itself is skipped, and repeated.
            (Tz::Africa__Cairo, "2025-04-20T12:00:00Z"),
            (Tz::America__Havana, "2025-10-28T12:00:00Z"),
        ] {
            let mut now = at(start);
            let mut days = std::collections::BTreeSet::new();
            for _ in 0..20 {
                now = midnight.next(now, zone).expect("due");
                days.insert(now.with_timezone(&zone).date_naive());
                assert_eq!(midnight.last(now, zone), Some(now));
            }
            let span = *days.last().expect("20") - *days.first().expect("20");
            assert_eq!((days.len(), span.num_days()), (20, 19), "{zone}");
        }
    }

    #[test]
    fn skipped_times_are_due_right_after_the_gap() {
        assert_eq!(
            next("30 2 * * *", "2025-03-29T12:00:00Z", Tz::Europe__Berlin),
            "2025-03-30T01:00"
        );
    }
}
