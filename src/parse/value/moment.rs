//! What a timestamp says: a date, perhaps a time of day, perhaps an offset or a zone; and the instant that follows.

use chrono_tz::Tz;

use super::{
    civil,
    timestamp::{DAY_SECONDS, SECOND, TimestampFault},
    zone::Zones,
};

/// How the instant of a value is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Basis {
    /// The value states it: by an offset, a zone, or a number since 1970.
    Stated,
    /// It is a wall time of the zone of the file.
    Local,
    /// It is such a wall time, which was there twice; the earlier instant is taken.
    LocalTwice,
    /// It is a day, without a time.
    Day,
}

/// A timestamp that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Microseconds since 1970, UTC.
    pub(crate) instant: i64,
    pub(crate) basis: Basis,
}

impl Reading {
    /// An instant that the value states.
    #[inline]
    pub(crate) fn stated(instant: i64) -> Self {
        Self {
            instant,
            basis: Basis::Stated,
        }
    }
}

/// Where a wall time is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// The value does not say.
    #[default]
    Unsaid,
    /// At this offset, in seconds east of UTC.
    Offset(i64),
    /// In this zone.
    Zone(Tz),
    /// In this zone, at this offset, which has to be one of its offsets then.
    Both(i64, Tz),
}

/// The parts of a timestamp.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Moment {
    /// Days since 1970.
    pub(super) days: i64,
    /// Microseconds of the day; none if the value has no time.
    pub(super) time: Option<i64>,
    pub(super) place: Place,
}

impl Moment {
    /// Returns the instant.
    #[inline]
    pub(super) fn resolve(self, zones: &Zones) -> Result<Reading, TimestampFault> {
        let Some(time) = self.time else {
            return zones.day(self.days);
        };
        let local = self.days * DAY_SECONDS * SECOND + time;
        match self.place {
            Place::Unsaid => zones.file.instant(local),
            Place::Offset(seconds) => Ok(Reading::stated(local - seconds * SECOND)),
            Place::Zone(zone) => {
                let reading = zones.named(zone, |zone| zone.instant(local))?;
                Ok(match reading.basis {
                    Basis::LocalTwice => reading,
                    Basis::Stated | Basis::Local | Basis::Day => Reading::stated(reading.instant),
                })
            }
            Place::Both(seconds, zone) => {
                let instant = local - seconds * SECOND;
                let holds = zones.named(zone, |zone| zone.has_offset(instant, seconds));
                holds
                    .then_some(Reading::stated(instant))
                    .ok_or(TimestampFault::Contradiction)
            }
        }
    }

    /// Checks the day of the week: `days` has a bit for each that the value may mean.
    pub(super) fn check_weekday(self, days: u8) -> Result<(), TimestampFault> {
        if days >> civil::weekday(self.days) & 1 == 1 {
            Ok(())
        } else {
            Err(TimestampFault::Contradiction)
        }
    }
}
