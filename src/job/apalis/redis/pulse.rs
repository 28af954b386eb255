//! Finds out a worker that has fallen silent without an end: seen once after a Redis that stood still for seconds, with
//! its connection open and nothing taken any more. `supervise` only puts another in the place of one that ends.

use std::time::Duration;

/// Silence after which a worker counts as deaf: three times as long as it takes to give a sign of life.
const SILENCE: Duration = Duration::from_secs(6);

/// The signs of life of one worker, as somebody sees them on its own clock.
pub(super) struct Pulse {
    /// The last sign; none if Redis does not know the worker.
    seen: Option<f64>,
    since: Duration,
}

impl Pulse {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            seen: None,
            since: now,
        }
    }

    /// Whether the worker has been silent for too long. One whose places are all taken gives no signs of life, and
    /// need not.
    pub(super) fn is_silent(&mut self, sign: Option<f64>, busy: bool, now: Duration) -> bool {
        if busy || sign != self.seen {
            *self = Self {
                seen: sign,
                since: now,
            };
            return false;
        }
        now.saturating_sub(self.since) >= SILENCE
    }

    /// Redis is away: nothing can be said of the worker.
    pub(super) fn unknown(&mut self, now: Duration) {
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_worker_is_deaf_only_when_it_is_idle_and_its_sign_stands_still_before_a_redis_that_answers()
    {
        let mut pulse = Pulse::new(at(0));
        assert!(!pulse.is_silent(Some(1.0), false, at(2)));
        assert!(!pulse.is_silent(Some(2.0), false, at(9)), "it moved");
        assert!(!pulse.is_silent(Some(2.0), false, at(14)));
        assert!(pulse.is_silent(Some(2.0), false, at(15)));
        assert!(!pulse.is_silent(Some(2.0), true, at(30)), "it is busy");
        pulse.unknown(at(40));
        assert!(!pulse.is_silent(Some(2.0), false, at(45)), "Redis was away");
        assert!(pulse.is_silent(Some(2.0), false, at(46)));
        let mut never = Pulse::new(at(0));
        assert!(
            never.is_silent(None, false, at(6)),
            "Redis does not know it"
        );
    }
}
