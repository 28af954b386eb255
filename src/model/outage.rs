//! Outages of a server as the results of calls to it show them, so that the log has one line when an outage begins and
//! one when it ends. Calls overlap: a call that began before an outage says nothing about its end, and a call that began
//! before the end says nothing about the next outage.

use std::time::Duration;

/// What a failed call says about the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailure {
    /// The server does not answer.
    Unreachable,
    /// The server answers, but refuses writes: it is full, or lacks its majority. Only a write shows that this is over.
    WritesRefused,
}

/// Whether a server is in an outage. Times are of a monotonic clock.
#[derive(Debug, Default)]
pub struct Outage {
    /// The beginning: of the first failed call, and when it failed.
    since: Option<(Duration, Duration)>,
    /// The end of the previous outage.
    ended: Duration,
    needs_write: bool,
}

impl Outage {
    /// Records the failure of a call that began at `begun`. Returns whether an outage begins.
    pub fn record_failure(&mut self, failure: CallFailure, begun: Duration, now: Duration) -> bool {
        let is_new = self.since.is_none();
        if is_new && begun < self.ended {
            return false;
        }
        self.since.get_or_insert((begun, now));
        self.needs_write |= failure == CallFailure::WritesRefused;
        is_new
    }

    /// Records the success of a call that began at `begun`; `wrote` if the server stored something. Returns the
    /// duration of the outage if it ends.
    pub fn record_success(
        &mut self,
        wrote: bool,
        begun: Duration,
        now: Duration,
    ) -> Option<Duration> {
        let (since, _) = self.since.filter(|(_, noticed)| begun >= *noticed)?;
        if self.needs_write && !wrote {
            return None;
        }
        *self = Self {
            ended: now,
            ..Self::default()
        };
        Some(now.saturating_sub(since))
    }

    /// Returns whether an outage goes on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Returns whether an outage goes on that only a write ends.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.needs_write
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CallFailure::{Unreachable, WritesRefused};

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_outage_begins_and_ends_once_with_its_duration() {
        let mut outage = Outage::default();
        assert_eq!(outage.record_success(true, at(0), at(0)), None);
        assert!(outage.record_failure(Unreachable, at(1), at(2)));
        assert!(!outage.record_failure(Unreachable, at(1), at(3)));
        assert!(outage.is_on());
        assert_eq!(outage.record_success(false, at(4), at(5)), Some(at(4)));
        assert_eq!(outage.record_success(false, at(4), at(5)), None);
        assert!(outage.record_failure(Unreachable, at(6), at(7)), "another");
    }

    #[test]
    fn overlapping_calls_neither_end_nor_begin_an_outage() {
        let mut outage = Outage::default();
        assert!(outage.record_failure(Unreachable, at(1), at(10)));
        let earlier = outage.record_success(false, at(9), at(11));
        assert_eq!(earlier, None, "it began before the outage");
        assert_eq!(outage.record_success(false, at(10), at(12)), Some(at(11)));
        let late = outage.record_failure(Unreachable, at(11), at(20));
        assert!(!late, "it began before the end");
    }

    #[test]
    fn refused_writes_end_with_a_write() {
        let mut outage = Outage::default();
        assert!(outage.record_failure(WritesRefused, at(1), at(1)));
        assert!(outage.refuses_writes());
        assert_eq!(outage.record_success(false, at(2), at(2)), None);
        assert!(!outage.record_failure(Unreachable, at(3), at(3)));
        assert_eq!(outage.record_success(false, at(4), at(4)), None);
        assert_eq!(outage.record_success(true, at(5), at(5)), Some(at(4)));
        assert!(!outage.refuses_writes());
    }
}
