//! Converts wall times of a time zone to instants.

use std::cell::Cell;

use chrono_tz::Tz;

use super::timestamp::{SECOND, TimestampFault};
use crate::model::zone::offset_of_wall;

/// Seconds for which an offset is cached. No zone shifts twice within an hour, so an offset that holds at both ends of an
/// hour holds throughout.
const HOUR: i64 = 3600;

/// A time zone with its last offset in a cache, since files are mostly in order of time.
#[derive(Debug)]
pub(crate) struct CachedZone {
    tz: Tz,
    /// The hour of the last wall time, and its offset in seconds.
    last: Cell<Option<(i64, i64)>>,
}

impl CachedZone {
    /// Creates a zone with an empty cache.
    pub(crate) fn new(tz: Tz) -> Self {
        Self {
            tz,
            last: Cell::new(None),
        }
    }

    /// Returns the IANA name.
    pub(crate) fn name(&self) -> &'static str {
        self.tz.name()
    }

    /// Returns the instant of a wall time, both in microseconds. Of two instants, returns the earlier one.
    #[inline]
    pub(crate) fn instant(&self, local: i64) -> Result<i64, TimestampFault> {
        if self.tz == Tz::UTC {
            return Ok(local);
        }
        let hour = local.div_euclid(HOUR * SECOND);
        match self.last.get() {
            Some((cached, offset)) if cached == hour => Ok(local - offset * SECOND),
            _ => self.look_up(local, hour),
        }
    }

    #[cold]
    fn look_up(&self, local: i64, hour: i64) -> Result<i64, TimestampFault> {
        let first = offset_of_wall(self.tz, hour * HOUR).single();
        let last = offset_of_wall(self.tz, hour * HOUR + HOUR - 1).single();
        if let Some(offset) = first.filter(|_| first == last) {
            self.last.set(Some((hour, offset)));
            return Ok(local - offset * SECOND);
        }
        let offset = offset_of_wall(self.tz, local.div_euclid(SECOND)).earliest();
        offset
            .map(|offset| local - offset * SECOND)
            .ok_or(TimestampFault::SkippedByClocks)
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn micros(wall: &str) -> i64 {
        let wall = NaiveDateTime::parse_from_str(wall, "%Y-%m-%d %H:%M").expect("a wall time");
        wall.and_utc().timestamp_micros()
    }

    #[test]
    fn skipped_wall_times_are_faults_and_doubled_ones_the_earlier() {
        let berlin = CachedZone::new(Tz::Europe__Berlin);
        assert_eq!(
            berlin.instant(micros("2025-03-30 01:59")),
            Ok(micros("2025-03-30 00:59"))
        );
        assert_eq!(
            berlin.instant(micros("2025-03-30 02:30")),
            Err(TimestampFault::SkippedByClocks)
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
    fn wall_times_after_the_tables_of_zones_have_summer_time() {
        let berlin = CachedZone::new(Tz::Europe__Berlin);
        for (wall, utc) in [
            ("2150-07-01 12:00", "2150-07-01 10:00"),
            ("2150-12-01 12:00", "2150-12-01 11:00"),
            ("2150-10-25 02:30", "2150-10-25 00:30"),
        ] {
            assert_eq!(berlin.instant(micros(wall)), Ok(micros(utc)), "{wall}");
        }
        assert_eq!(
            berlin.instant(micros("2150-03-29 02:30")),
            Err(TimestampFault::SkippedByClocks)
        );
    }

    #[test]
    fn cached_offsets_equal_those_of_the_time_zone() {
        for tz in [
            Tz::Europe__Berlin,
            Tz::Australia__Lord_Howe,
            Tz::Africa__Monrovia,
            Tz::Asia__Kathmandu,
        ] {
            let cached = CachedZone::new(tz);
            for step in 0..40_000_i64 {
                // Steps of 4 h 21 m reach hours, days and years at different minutes. The second time, ten minutes
                // later, is mostly answered from the cache.
                let local = (step * 15_660 + (step % 7) * 60) * SECOND;
                for local in [local, local + 600 * SECOND] {
                    assert_eq!(
                        cached.instant(local),
                        offset_of_wall(tz, local / SECOND)
                            .earliest()
                            .map(|offset| local - offset * SECOND)
                            .ok_or(TimestampFault::SkippedByClocks)
                    );
                }
            }
        }
    }
}
