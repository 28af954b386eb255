//! Wall times of a time zone, as instants.

use std::cell::Cell;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;

use super::timestamp::{SECOND, TimeFault};

/// Offsets are remembered by the hour, which no zone shifts twice within.
const HOUR: i64 = 3600;

/// A time zone that remembers the offset it gave last; files are mostly in order of time.
#[derive(Debug)]
pub(crate) struct Zone {
    tz: Tz,
    recent: Cell<Option<(i64, i64)>>,
}

impl Zone {
    /// The zone of that name.
    pub(crate) fn new(tz: Tz) -> Self {
        Self {
            tz,
            recent: Cell::new(None),
        }
    }

    /// Its name.
    pub(crate) fn name(&self) -> &'static str {
        self.tz.name()
    }

    /// The instant of a wall time, both in microseconds; the earlier of two.
    #[inline]
    pub(crate) fn instant(&self, local: i64) -> Result<i64, TimeFault> {
        if self.tz == Tz::UTC {
            return Ok(local);
        }
        let hour = local.div_euclid(HOUR * SECOND);
        match self.recent.get() {
            Some((known, offset)) if known == hour => Ok(local - offset * SECOND),
            _ => self.look_up(local, hour),
        }
    }

    #[cold]
    fn look_up(&self, local: i64, hour: i64) -> Result<i64, TimeFault> {
        let first = self.offset(hour * HOUR).single();
        let last = self.offset(hour * HOUR + HOUR - 1).single();
        if let Some(offset) = first.filter(|_| first == last) {
            self.recent.set(Some((hour, offset)));
            return Ok(local - offset * SECOND);
        }
        let offset = self.offset(local.div_euclid(SECOND)).earliest();
        offset
            .map(|offset| local - offset * SECOND)
            .ok_or(TimeFault::Gap)
    }

    /// Seconds east of UTC at a wall time in seconds.
    fn offset(&self, local: i64) -> MappedLocalTime<i64> {
        let wall = wall(local * SECOND);
        self.tz
            .offset_from_local_datetime(&wall)
            .map(|offset| i64::from(offset.fix().local_minus_utc()))
    }
}

fn wall(local: i64) -> NaiveDateTime {
    DateTime::from_timestamp_micros(local)
        .expect("dates come from four digits or from chrono, whose range this is")
        .naive_utc()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(wall: &str) -> i64 {
        let wall = NaiveDateTime::parse_from_str(wall, "%Y-%m-%d %H:%M").expect("a wall time");
        wall.and_utc().timestamp_micros()
    }

    #[test]
    fn a_skipped_wall_time_is_a_fault_and_a_doubled_one_the_earlier() {
        let berlin = Zone::new(Tz::Europe__Berlin);
        assert_eq!(
            berlin.instant(micros("2025-03-30 01:59")),
            Ok(micros("2025-03-30 00:59"))
        );
        assert_eq!(
            berlin.instant(micros("2025-03-30 02:30")),
            Err(TimeFault::Gap)
        );
        assert_eq!(
            berlin.instant(micros("2025-03-30 03:00")),
            Ok(micros("2025-03-30 01:00"))
        );
        assert_eq!(
            berlin.instant(micros("2025-10-26 02:30")),
            Ok(micros("2025-10-26 00:30"))
        );
        assert_eq!(
            berlin.instant(micros("2025-10-26 03:00")),
            Ok(micros("2025-10-26 02:00"))
        );
    }

    #[test]
    fn what_is_remembered_agrees_with_what_is_looked_up() {
        for tz in [
            Tz::Europe__Berlin,
            Tz::Australia__Lord_Howe,
            Tz::Africa__Monrovia,
            Tz::Asia__Kathmandu,
        ] {
            let kept = Zone::new(tz);
            for step in 0..40_000_i64 {
                // 4 h 21 m apart, so that hours, days and years are hit at ever other minutes, then again nearby.
                let local = (step * 15_660 + (step % 7) * 60) * SECOND;
                for local in [local, local + 600 * SECOND] {
                    assert_eq!(
                        kept.instant(local),
                        Zone::new(tz)
                            .offset(local / SECOND)
                            .earliest()
                            .map(|offset| local - offset * SECOND)
                            .ok_or(TimeFault::Gap)
                    );
                }
            }
        }
    }
}
