//! The time that a store vouches for. A clock that is set wrongly must not delete what waits for a day.

use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::Result;
use crate::model::Instant;

/// Difference between two clocks, or length of a stop, that is accepted at once.
const TOLERANCE: TimeDelta = TimeDelta::hours(1);

/// Running time after which a wall clock that is ahead is accepted: the service was stopped for long.
const ACCEPTED_AFTER: Duration = Duration::from_secs(86_400);

/// What a process knows of the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading {
    /// The wall clock of the machine.
    pub wall: Instant,
    /// The monotonic time since the start of the process.
    pub running: Duration,
}

/// Returns the time by more than one clock.
#[async_trait]
pub trait TimeStore: Send + Sync {
    /// Returns the latest time that is certain: at most that of the wall clock. It is earlier while the wall clock is ahead
    /// of the store's own time. Called every minute or so.
    async fn certain_time(&self, reading: ClockReading) -> Result<Instant>;
}

/// The time of a store that has no clock of its own: the last certain time, advanced by running time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CertainTime {
    /// The last certain time.
    pub(super) time: Instant,
    /// Seconds for which the service has run with a wall clock that is ahead.
    seconds_ahead: u64,
}

impl CertainTime {
    /// Returns the time of the first start.
    pub(super) fn first(wall: Instant) -> Self {
        Self {
            time: wall,
            seconds_ahead: 0,
        }
    }

    /// Returns the time after the service has run for `passed`.
    pub(super) fn after(self, passed: Duration, wall: Instant) -> Self {
        let expected = self.time + passed;
        let seconds_ahead = self.seconds_ahead + passed.as_secs();
        if wall <= expected + TOLERANCE || seconds_ahead >= ACCEPTED_AFTER.as_secs() {
            // It never decreases: a clock that starts in 1970 and is then corrected is not ahead.
            return Self::first(wall.max(self.time));
        }
        Self {
            time: expected,
            seconds_ahead,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const DAY: Duration = Duration::from_secs(86_400);

    #[test]
    fn a_clock_that_is_ahead_is_accepted_after_a_day() {
        let start = Instant::default();
        let mut time = CertainTime::first(start);
        for hour in 1..24 {
            let wall = start + 2 * DAY + hour * HOUR;
            time = time.after(HOUR, wall);
            assert_eq!(time.time, start + hour * HOUR);
        }
        let wall = start + 3 * DAY;
        assert_eq!(time.after(HOUR, wall), CertainTime::first(wall));
    }

    #[test]
    fn a_short_stop_is_accepted_and_a_clock_that_is_behind_changes_nothing() {
        let start = Instant::default() + 30 * DAY;
        let time = CertainTime::first(start);
        let later = start + HOUR;
        assert_eq!(time.after(HOUR / 60, later), CertainTime::first(later));
        let behind = time.after(HOUR / 60, Instant::default());
        assert_eq!(behind, time);
        assert_eq!(behind.after(HOUR / 60, later), CertainTime::first(later));
    }
}
