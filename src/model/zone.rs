//! The offsets of time zones from UTC, at instants and at wall times, exact to the second.
//! The tables of `chrono_tz` end in 2100. A later date has the offset of the same date in an earlier year in which it is
//! the same day of the week, since rules in force then are of the form "last Sunday of March".

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, Offset, TimeZone, Utc,
};
use chrono_tz::Tz;

/// The first year beyond the tables.
const END_OF_TABLES: i32 = 2100;
/// The first year in which every zone follows its last rules: those of Morocco list the months of Ramadan until 2087.
/// From here to the end of the tables, each date but 29 February falls on each day of the week.
const LAST_RULES: i32 = 2088;

/// Returns the seconds east of UTC at an instant in seconds since 1970 (UTC).
#[must_use]
pub fn offset_at(zone: Tz, instant: i64) -> i64 {
    let Some(at) = civil(instant) else { return 0 };
    let offset = zone.offset_from_utc_datetime(&within_tables(at));
    i64::from(offset.fix().local_minus_utc())
}

/// Returns the seconds east of UTC at a wall time, given as the seconds since 1970-01-01 00:00 on the same clock. There
/// are none where clocks are set forward, and two where they are set back.
#[must_use]
pub fn offset_of_wall(zone: Tz, wall: i64) -> MappedLocalTime<i64> {
    let Some(at) = civil(wall) else {
        return MappedLocalTime::None;
    };
    zone.offset_from_local_datetime(&within_tables(at))
        .map(|offset| i64::from(offset.fix().local_minus_utc()))
}

/// Returns date and time of seconds since 1970; none beyond the range of chrono.
fn civil(seconds: i64) -> Option<NaiveDateTime> {
    DateTime::<Utc>::from_timestamp(seconds, 0).map(|at| at.naive_utc())
}

/// Returns a date and time within the tables at which every zone has the same offset.
fn within_tables(at: NaiveDateTime) -> NaiveDateTime {
    if at.year() < END_OF_TABLES {
        return at;
    }
    let date = at.date();
    let same = (LAST_RULES..END_OF_TABLES)
        .filter_map(|year| date.with_year(year))
        .find(|same| same.weekday() == date.weekday());
    // 29 February may have no such year. No zone changes its clocks around that day.
    let same = same.or_else(|| NaiveDate::from_ymd_opt(END_OF_TABLES - 1, 2, 28));
    same.unwrap_or(date).and_time(at.time())
}

/// Returns the second at which the offset changes between two instants with different offsets.
#[must_use]
pub fn first_change(zone: Tz, mut before: i64, mut after: i64) -> i64 {
    let offset = offset_at(zone, before);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        if offset_at(zone, middle) == offset {
            before = middle;
        } else {
            after = middle;
        }
    }
    after
}

/// Returns the instants at which the offset of a zone changes, from 1970 to 2199, in seconds since 1970 (UTC).
#[cfg(test)]
pub(crate) fn transitions(zone: Tz) -> Vec<i64> {
    const DAY: i64 = 86_400;
    const END: i64 = 7_258_118_400;
    // No zone changes its clocks twice within three days.
    let starts = (0..END).step_by(3 * DAY as usize);
    starts
        .filter(|start| offset_at(zone, *start) != offset_at(zone, start + 3 * DAY))
        .map(|start| first_change(zone, start, start + 3 * DAY))
        .collect()
}

#[cfg(test)]
mod tests;
