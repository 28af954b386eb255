//! Which calendar day an instant falls on, in one time zone, fast enough to ask for every event.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::model::Day;

/// Microseconds in a quarter of an hour: offsets change on its edges, but for a few in the early 1970s.
const SLOT: i64 = 900_000_000;
/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;
/// Slots remembered; a year has 35,040.
const SLOTS: usize = 40_000;

/// Tells days from instants.
#[derive(Debug, Clone)]
pub struct DayZone {
    zone: Tz,
    last: (i64, Day),
    slots: HashMap<i64, Option<Day>>,
}

impl DayZone {
    /// For one zone.
    #[must_use]
    pub fn new(zone: Tz) -> Self {
        Self {
            zone,
            last: (i64::MIN, Day(0)),
            slots: HashMap::new(),
        }
    }

    /// The day of an instant given in microseconds since 1970 (UTC).
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
        // A slot in which the day changes (an offset of 44 minutes, say) is asked event by event.
        let known = *self.slots.entry(slot).or_insert_with(|| {
            let (first, last) = (
                local_day(zone, slot * SLOT),
                local_day(zone, slot * SLOT + SLOT - 1),
            );
            (first == last).then_some(first)
        });
        if let Some(day) = known {
            self.last = (slot, day);
        }
        known.unwrap_or_else(|| local_day(zone, at))
    }

    /// The first instant of a day, microseconds since 1970 (UTC).
    #[must_use]
    pub fn start(zone: Tz, day: Day) -> i64 {
        let midnight = day.date().and_time(NaiveTime::MIN);
        // Where clocks are put forward at midnight a day begins later, and some days were left out.
        let quarters = (0..2 * 96).map(|n| midnight + TimeDelta::minutes(15 * n));
        let first = quarters
            .filter_map(|at| at.and_local_timezone(zone).earliest())
            .next();
        first.map_or(i64::MAX, |at| at.timestamp_micros())
    }

    /// The day of an instant, without the memory.
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
    fn days_begin_where_the_day_before_ends() {
        for (zone, day, start) in [
            (Tz::UTC, "2025-11-10", "2025-11-10T00:00:00Z"),
            (Tz::Europe__Berlin, "2025-11-10", "2025-11-09T23:00:00Z"),
            (Tz::America__Sao_Paulo, "2018-11-04", "2018-11-04T03:00:00Z"),
            (Tz::Pacific__Apia, "2011-12-30", "2011-12-30T10:00:00Z"),
            (Tz::Pacific__Apia, "2011-12-31", "2011-12-30T10:00:00Z"),
        ] {
            let at = DateTime::parse_from_rfc3339(start).expect("an instant");
            let found = DayZone::start(zone, day.parse().expect("a day"));
            assert_eq!(found, at.timestamp_micros(), "{zone} {day}");
            assert!(
                local_day(zone, found - 1) < local_day(zone, found),
                "{zone} {day}"
            );
        }
    }

    #[test]
    fn every_minute_of_odd_zones_falls_on_the_day_that_chrono_says() {
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
