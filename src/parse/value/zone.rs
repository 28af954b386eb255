//! Converts wall times of time zones, and days, to instants.

use std::cell::{Cell, RefCell};

use chrono::MappedLocalTime;
use chrono_tz::Tz;

use super::{
    moment::{Basis, Reading},
    timestamp::{DAY_SECONDS, SECOND, TimestampFault},
};
use crate::model::zone::{first_change, offset_at, offset_of_wall};

/// Seconds for which an offset is cached. No zone shifts twice within an hour, so an offset that holds at both ends of an
/// hour holds throughout.
const HOUR: i64 = 3600;

/// The zones of one file.
#[derive(Debug)]
pub(crate) struct Zones {
    /// The zone of times without an offset.
    pub(crate) file: CachedZone,
    /// The zone of the service, in which a day without a time starts.
    days: CachedZone,
    /// The last day without a time, and the instant at which it starts.
    last_day: Cell<Option<(i64, i64)>>,
    /// The zone that the last value named.
    named: RefCell<Option<CachedZone>>,
}

impl Zones {
    /// Creates the zones of a file: of times without an offset, and of days without a time.
    pub(crate) fn new(file: Tz, days: Tz) -> Self {
        Self {
            file: CachedZone::new(file),
            days: CachedZone::new(days),
            last_day: Cell::new(None),
            named: RefCell::new(None),
        }
    }

    /// Returns the start of a day, given in days since 1970.
    #[inline]
    pub(super) fn day(&self, days: i64) -> Result<Reading, TimestampFault> {
        let instant = match self.last_day.get() {
            Some((day, instant)) if day == days => instant,
            _ => {
                let instant = self.days.start_of_day(days)?;
                self.last_day.set(Some((days, instant)));
                instant
            }
        };
        let basis = Basis::Day;
        Ok(Reading { instant, basis })
    }

    /// Passes on a zone that a value names.
    pub(super) fn named<T>(&self, tz: Tz, read: impl FnOnce(&CachedZone) -> T) -> T {
        let mut named = self.named.borrow_mut();
        match named.as_ref() {
            Some(zone) if zone.tz == tz => read(zone),
            _ => read(named.insert(CachedZone::new(tz))),
        }
    }
}

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
    pub(super) fn instant(&self, local: i64) -> Result<Reading, TimestampFault> {
        let found = |offset: i64, basis| {
            Ok(Reading {
                instant: local - offset * SECOND,
                basis,
            })
        };
        if self.tz == Tz::UTC {
            return found(0, Basis::Local);
        }
        let hour = local.div_euclid(HOUR * SECOND);
        match self.last.get() {
            Some((cached, offset)) if cached == hour => found(offset, Basis::Local),
            _ => self
                .look_up(local, hour)
                .and_then(|(offset, basis)| found(offset, basis)),
        }
    }

    #[cold]
    fn look_up(&self, local: i64, hour: i64) -> Result<(i64, Basis), TimestampFault> {
        let first = offset_of_wall(self.tz, hour * HOUR).single();
        let last = offset_of_wall(self.tz, hour * HOUR + HOUR - 1).single();
        if let Some(offset) = first.filter(|_| first == last) {
            self.last.set(Some((hour, offset)));
            return Ok((offset, Basis::Local));
        }
        match offset_of_wall(self.tz, local.div_euclid(SECOND)) {
            MappedLocalTime::Single(offset) => Ok((offset, Basis::Local)),
            MappedLocalTime::Ambiguous(earlier, _) => Ok((earlier, Basis::LocalTwice)),
            MappedLocalTime::None => Err(TimestampFault::SkippedByClocks),
        }
    }

    /// Whether the zone has an offset in seconds at an instant in microseconds.
    pub(super) fn has_offset(&self, instant: i64, seconds: i64) -> bool {
        let hour = (instant + seconds * SECOND).div_euclid(HOUR * SECOND);
        if self.last.get() == Some((hour, seconds)) {
            return true;
        }
        let holds = offset_at(self.tz, instant.div_euclid(SECOND)) == seconds;
        if holds {
            // Fills the cache.
            let _ = self.instant(instant + seconds * SECOND);
        }
        holds
    }

    /// Returns the first instant of a day, in microseconds: later than midnight where clocks skipped it.
    fn start_of_day(&self, days: i64) -> Result<i64, TimestampFault> {
        let midnight = days * DAY_SECONDS;
        if self.tz == Tz::UTC {
            return Ok(midnight * SECOND);
        }
        if let Some(offset) = offset_of_wall(self.tz, midnight).earliest() {
            return Ok((midnight - offset) * SECOND);
        }
        // Clocks were set forward at midnight or before it: the day starts with the new offset.
        let before = offset_of_wall(self.tz, midnight - DAY_SECONDS / 2).latest();
        let before = before.ok_or(TimestampFault::SkippedByClocks)?;
        let late = midnight - before + DAY_SECONDS;
        let start = first_change(self.tz, midnight - before - DAY_SECONDS / 4, late);
        let start_wall = start + offset_at(self.tz, start);
        // A zone that crosses the date line has no such day at all.
        if start_wall.div_euclid(DAY_SECONDS) == days {
            Ok(start * SECOND)
        } else {
            Err(TimestampFault::SkippedByClocks)
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDateTime;

    use super::*;

    fn read(zone: &CachedZone, local: i64) -> Result<i64, TimestampFault> {
        zone.instant(local).map(|reading| reading.instant)
    }

    fn micros(wall: &str) -> i64 {
        let wall = NaiveDateTime::parse_from_str(wall, "%Y-%m-%d %H:%M").expect("a wall time");
        wall.and_utc().timestamp_micros()
    }

    #[test]
    fn skipped_wall_times_are_faults_and_doubled_ones_the_earlier() {
        let berlin = CachedZone::new(Tz::Europe__Berlin);
        assert_eq!(
            read(&berlin, micros("2025-03-30 01:59")),
            Ok(micros("2025-03-30 00:59"))
        );
        assert_eq!(
            read(&berlin, micros("2025-03-30 02:30")),
            Err(TimestampFault::SkippedByClocks)
        );
        assert_eq!(
            read(&berlin, micros("2025-03-30 03:00")),
            Ok(micros("2025-03-30 01:00"))
        );
        assert_eq!(
            read(&berlin, micros("2025-10-26 02:30")),
            Ok(micros("2025-10-26 00:30"))
        );
        let twice = berlin.instant(micros("2025-10-26 02:30"));
        assert_eq!(twice.map(|reading| reading.basis), Ok(Basis::LocalTwice));
        assert_eq!(
            read(&berlin, micros("2025-10-26 03:00")),
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
            assert_eq!(read(&berlin, micros(wall)), Ok(micros(utc)), "{wall}");
        }
        assert_eq!(
            read(&berlin, micros("2150-03-29 02:30")),
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
                        read(&cached, local),
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
