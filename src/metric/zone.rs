//! The calendar day of an instant in one time zone, with a cache that makes it fast enough for every event, and the
//! instants of a day.

use std::{collections::HashMap, ops::Range};

use chrono_tz::Tz;

use crate::model::{
    Day,
    zone::{first_change, offset_at},
};

/// Microseconds in a second.
const SECOND: i64 = 1_000_000;
/// Microseconds in a quarter of an hour.
const SLOT: i64 = 900 * SECOND;
/// Microseconds in a day.
const DAY: i64 = 86_400 * SECOND;
/// Maximum slots in the cache. A year has 35,040.
const SLOTS: usize = 40_000;
/// Microseconds in an hour. No zone changes its offset twice within one.
const HOUR: i64 = 3_600 * SECOND;
/// More hours than any zone has been ahead of or behind UTC.
const MAX_OFFSET_HOURS: i64 = 16;

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
            return day_of_local(at);
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
        // With an offset such as 44 minutes, or where clocks are set back at 00:01, the day changes within a slot.
        let day_of_slot = *self.slots.entry(slot).or_insert_with(|| {
            let (first, last) = (slot * SLOT, slot * SLOT + SLOT - 1);
            let day = local_day(zone, first);
            (offset(zone, first) == offset(zone, last) && day == local_day(zone, last))
                .then_some(day)
        });
        if let Some(day) = day_of_slot {
            self.last = (slot, day);
        }
        day_of_slot.unwrap_or_else(|| local_day(zone, at))
    }

    /// Returns the instants whose day lies between two days, inclusive, in microseconds since 1970 (UTC), as disjoint
    /// ranges in order. `first` is not after `last`; a missing day is an open end. The instants of a day are several ranges where clocks are set back
    /// across midnight, and none if the zone skipped the day.
    #[must_use]
    pub fn instants(zone: Tz, first: Option<Day>, last: Option<Day>) -> Vec<Range<i64>> {
        let starts = first.map_or(vec![i64::MIN], |day| boundaries(zone, day));
        let ends = last.map_or(vec![i64::MAX], |day| {
            boundaries(zone, Day(day.0.saturating_add(1)))
        });
        // An instant of a day after `last` is also one of `first` or later, so it is selected by both or neither.
        let mut all: Vec<i64> = Vec::new();
        for at in &starts {
            all.extend((!ends.contains(at)).then_some(at));
        }
        for at in &ends {
            all.extend((!starts.contains(at)).then_some(at));
        }
        all.sort_unstable();
        all.chunks_exact(2).map(|ends| ends[0]..ends[1]).collect()
    }
}

/// Returns the instants, in order, at which the local day becomes `day` or later (the first, third, ...) or becomes an
/// earlier one again (the second, ...), since clocks are set back. Their number is odd.
fn boundaries(zone: Tz, day: Day) -> Vec<i64> {
    let midnight = i64::from(day.0).saturating_mul(DAY);
    let hour = midnight.div_euclid(HOUR);
    let mut all: Vec<i64> = Vec::new();
    let mut add = |from: i64, until: i64| {
        let start = midnight.saturating_sub(offset(zone, from));
        let reached = all.len() % 2 == 1;
        if reached && from < start {
            all.push(from);
        }
        if start < until && (from < start || !reached) {
            all.push(start.max(from));
        }
    };
    for hour in hour - MAX_OFFSET_HOURS..hour + MAX_OFFSET_HOURS {
        let (from, until) = (hour.saturating_mul(HOUR), (hour + 1).saturating_mul(HOUR));
        if offset(zone, from) == offset(zone, until) {
            add(from, until);
        } else {
            let change = first_change(zone, from.div_euclid(SECOND), until.div_euclid(SECOND));
            add(from, change * SECOND);
            add(change * SECOND, until);
        }
    }
    all
}

/// Returns the microseconds east of UTC at an instant in microseconds since 1970 (UTC).
fn offset(zone: Tz, at: i64) -> i64 {
    offset_at(zone, at.div_euclid(SECOND)) * SECOND
}

fn local_day(zone: Tz, at: i64) -> Day {
    day_of_local(at.saturating_add(offset(zone, at)))
}

/// Returns the day of microseconds since 1970-01-01 00:00 on the same clock.
fn day_of_local(at: i64) -> Day {
    Day(i32::try_from(at.div_euclid(DAY)).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use chrono::DateTime;
    use chrono_tz::TZ_VARIANTS;

    use super::*;
    use crate::model::zone::transitions;

    fn micros(text: &str) -> i64 {
        let at = DateTime::parse_from_rfc3339(text).expect("an instant");
        at.timestamp_micros()
    }

    fn day(text: &str) -> Day {
        text.parse().expect("a day")
    }

    #[test]
    fn days_start_where_the_previous_day_ends() {
        for (zone, date, start) in [
            (Tz::UTC, "2025-11-10", "2025-11-10T00:00:00Z"),
            (Tz::Europe__Berlin, "2025-11-10", "2025-11-09T23:00:00Z"),
            (Tz::America__Sao_Paulo, "2018-11-04", "2018-11-04T03:00:00Z"),
            (Tz::Pacific__Apia, "2011-12-31", "2011-12-30T10:00:00Z"),
            // Clocks were set forward from midnight by 44 min 30 s.
            (Tz::Africa__Monrovia, "1972-01-07", "1972-01-07T00:44:30Z"),
            (Tz::Africa__Monrovia, "1972-01-06", "1972-01-06T00:44:30Z"),
            (Tz::Europe__Berlin, "2150-07-02", "2150-07-01T22:00:00Z"),
        ] {
            let day = day(date);
            let all = DayZone::instants(zone, Some(day), None);
            let start = micros(start);
            assert_eq!(
                (all.len(), &all[0]),
                (1, &(start..i64::MAX)),
                "{zone} {date}"
            );
            let before = DayZone::instants(zone, None, Some(Day(day.0 - 1)));
            let until = (before.len(), &before[0]);
            assert_eq!(until, (1, &(i64::MIN..start)), "{zone} {date}");
        }
    }

    #[test]
    fn skipped_days_have_no_instants() {
        for (zone, date) in [
            (Tz::Pacific__Apia, "2011-12-30"),
            (Tz::Pacific__Kwajalein, "1993-08-21"),
        ] {
            let skipped = Some(day(date));
            assert_eq!(DayZone::instants(zone, skipped, skipped), [], "{zone}");
        }
    }

    #[test]
    fn days_where_clocks_go_back_across_midnight_have_two_ranges() {
        // At 00:01 clocks were set back to 23:01.
        let actual = DayZone::instants(
            Tz::America__St_Johns,
            Some(day("2009-11-01")),
            Some(day("2009-11-01")),
        );
        let expected = [
            ("2009-11-01T02:30:00Z", "2009-11-01T02:31:00Z"),
            ("2009-11-01T03:30:00Z", "2009-11-02T03:30:00Z"),
        ];
        assert_eq!(
            actual,
            expected.map(|(from, until)| micros(from)..micros(until))
        );
    }

    /// A day has exactly the instants that the fold counts for it, around every change of every zone.
    #[test]
    fn instants_of_days_are_those_that_fold_counts() {
        let mut checked = HashSet::new();
        for zone in TZ_VARIANTS {
            // Later changes follow the rules of 2040; some of them show that those beyond the tables do too.
            let mut changes = transitions(zone);
            changes.retain(|at| *at < 2_208_988_800 || (5_680_281_600..5_806_512_000).contains(at));
            let offsets: Vec<_> = changes
                .iter()
                .map(|at| (*at, offset_at(zone, *at)))
                .collect();
            if !checked.insert(offsets) {
                continue;
            }
            let mut fold = DayZone::new(zone);
            for change in changes {
                let change = change * SECOND;
                let near = local_day(zone, change).0 - 2..=local_day(zone, change).0 + 2;
                let ranges: Vec<_> = near
                    .map(|day| {
                        let day = Day(day);
                        (day, DayZone::instants(zone, Some(day), Some(day)))
                    })
                    .collect();
                let edges = ranges.iter().flat_map(|(_, ranges)| ranges);
                let mut instants: BTreeSet<i64> = edges
                    .flat_map(|range| [range.start, range.end])
                    .chain((-5..=5).map(|n| change + n * 900 * SECOND))
                    .chain([change, change + 30 * SECOND, change - 30 * SECOND])
                    .collect();
                let before: Vec<_> = instants.iter().map(|at| at - 1).collect();
                instants.extend(before);
                for at in instants {
                    let day = fold.day(at);
                    assert_eq!(day, local_day(zone, at), "{zone} {at}");
                    for (other, ranges) in &ranges {
                        let within = ranges.iter().any(|range| range.contains(&at));
                        assert_eq!(within, *other == day, "{zone} {at} {other}");
                    }
                }
            }
        }
    }

    #[test]
    fn days_of_unusual_zones_equal_those_without_cache() {
        for (zone, from) in [
            (Tz::UTC, "2025-10-25T00:00:00Z"),
            (Tz::Europe__Berlin, "2025-10-25T00:00:00Z"),
            (Tz::Asia__Kathmandu, "2025-10-25T00:00:00Z"),
            (Tz::America__Sao_Paulo, "2025-10-25T00:00:00Z"),
            (Tz::America__St_Johns, "2009-10-30T00:00:00Z"),
            (Tz::Africa__Monrovia, "1972-01-06T00:00:00Z"),
        ] {
            let from = micros(from);
            let mut days = DayZone::new(zone);
            for minute in 0..4 * 1440 {
                let at = from + minute * 60 * SECOND + 30 * SECOND;
                assert_eq!(days.day(at), local_day(zone, at), "{zone} {at}");
            }
        }
    }
}
