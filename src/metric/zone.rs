//! The calendar day of an instant in one time zone, with a cache that makes it fast enough for every event.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::model::Day;

/// Microseconds in a quarter of an hour. Offsets change at its limits, except for a few in the early 1970s.
const SLOT: i64 = 900_000_000;
/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;
/// Maximum slots in the cache. A year has 35,040.
const SLOTS: usize = 40_000;

/// Determines the days of instants.
#[derive(Debug, Clone)]
pub struct DayZone {
    zone: Tz,
    /// The slot of the last call, with its day.
    last: (i64, Day),
    /// The day of each slot; `None` if the day changes within it.
    slots: HashMap<i64, Option<Day>>,
}

impl DayZone {
    /// Creates an empty cache for a time zone.
    #[must_use]
    pub fn new(zone: Tz) -> Self {
        Self {
            zone,
            last: (i64::MIN, Day(0)),
            slots: HashMap::new(),
        }
    }

    /// Returns the day of an instant in microseconds since 1970 (UTC).
    #[inline]
    pub fn day(&mut self, at: i64) -> Day {
        if self.zone == Tz::UTC {
            return Day(i32::try_from(at.div_euclid(DAY)).unwrap_or(i32::MAX));
        }
        let slot = at.div_euclid(SLOT);
        if self.last.0 == slot {
            return self.last.1;
        }
        self.day_in_slot(slot, at)
    }

    fn day_in_slot(&mut self, slot: i64, at: i64) -> Day {
        if self.slots.len() >= SLOTS {
            self.slots.clear();
        }
        let zone = self.zone;
        // With an offset such as 44 minutes, the day changes within a slot.
        let day_of_slot = *self.slots.entry(slot).or_insert_with(|| {
            let (first, last) = (
                local_day(zone, slot * SLOT),
                local_day(zone, slot * SLOT + SLOT - 1),
            );
            (first == last).then_some(first)
        });
        if let Some(day) = day_of_slot {
            self.last = (slot, day);
        }
        day_of_slot.unwrap_or_else(|| local_day(zone, at))
    }

    /// Returns the first instant of a day, in microseconds since 1970 (UTC).
    #[must_use]
    pub fn start(zone: Tz, day: Day) -> i64 {
        let midnight = day.date().and_time(NaiveTime::MIN);
        // A day starts later than midnight if the clock changes then, and some zones have skipped a day.
        let quarters = (0..2 * 96).map(|n| midnight + TimeDelta::minutes(15 * n));
        let first = quarters
            .filter_map(|at| at.and_local_timezone(zone).earliest())
            .next();
        first.map_or(i64::MAX, |at| at.timestamp_micros())
    }

    /// Returns the day of an instant, without a cache.
    #[must_use]
    pub fn day_of(zone: Tz, at: DateTime<Utc>) -> Day {
        local_day(zone, at.timestamp_micros())
    }
}

fn local_day(zone: Tz, at: i64) -> Day {
    let date = DateTime::from_timestamp_micros(at)
        .map_or(NaiveDate::MAX, |at| at.with_timezone(&zone).date_naive());
    Day::from_date(date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_start_where_the_previous_day_ends() {
        for (zone, day, start) in [
            (Tz::UTC, "2025-11-10", "2025-11-10T00:00:00Z"),
            (Tz::Europe__Berlin, "2025-11-10", "2025-11-09T23:00:00Z"),
            (Tz::America__Sao_Paulo, "2018-11-04", "2018-11-04T03:00:00Z"),
            (Tz::Pacific__Apia, "2011-12-30", "2011-12-30T10:00:00Z"),
            (Tz::Pacific__Apia, "2011-12-31", "2011-12-30T10:00:00Z"),
        ] {
            let at = DateTime::parse_from_rfc3339(start).expect("an instant");
            let actual = DayZone::start(zone, day.parse().expect("a day"));
            assert_eq!(actual, at.timestamp_micros(), "{zone} {day}");
            assert!(
                local_day(zone, actual - 1) < local_day(zone, actual),
                "{zone} {day}"
            );
        }
    }

    #[test]
    fn days_of_unusual_zones_equal_those_of_chrono() {
        let from = DateTime::parse_from_rfc3339("2025-10-25T00:00:00Z")
            .expect("an instant")
            .timestamp_micros();
        let monrovia = DateTime::parse_from_rfc3339("1972-01-06T00:00:00Z")
            .expect("an instant")
            .timestamp_micros();
        for (zone, from) in [
            (Tz::UTC, from),
            (Tz::Europe__Berlin, from),
            (Tz::Asia__Kathmandu, from),
            (Tz::America__Sao_Paulo, from),
            (Tz::Africa__Monrovia, monrovia),
        ] {
            let mut days = DayZone::new(zone);
            for minute in 0..4 * 1440 {
                let at = from + minute * 60_000_000 + 30_000_000;
                assert_eq!(days.day(at), local_day(zone, at), "{zone} {at}");
            }
        }
    }
}
