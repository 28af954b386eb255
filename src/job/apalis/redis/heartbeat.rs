//! Detects a worker that has stopped to work without ending. It was seen once after Redis had stalled for seconds: the
//! connection was open, and no nudge was received. `supervise` replaces only workers that end.

use std::time::Duration;

/// Time without a heartbeat after which an idle worker counts as stalled: three heartbeat intervals.
const SILENCE: Duration = Duration::from_secs(6);

/// The heartbeats of one worker, timed by the observer's own clock.
pub(super) struct HeartbeatMonitor {
    /// The last heartbeat; `None` if Redis does not know the worker.
    last: Option<f64>,
    /// When `last` was first seen.
    since: Duration,
}

impl HeartbeatMonitor {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            last: None,
            since: now,
        }
    }

    /// Returns whether the worker has been silent for too long. A worker without a free permit sends no heartbeats.
    pub(super) fn is_silent(
        &mut self,
        heartbeat: Option<f64>,
        is_busy: bool,
        now: Duration,
    ) -> bool {
        if is_busy || heartbeat != self.last {
            *self = Self {
                last: heartbeat,
                since: now,
            };
            return false;
        }
        now.saturating_sub(self.since) >= SILENCE
    }

    /// Restarts the silence, since nothing is known of the worker while Redis is unavailable.
    pub(super) fn reset(&mut self, now: Duration) {
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
    fn only_idle_workers_without_heartbeats_are_silent() {
        let mut monitor = HeartbeatMonitor::new(at(0));
        assert!(!monitor.is_silent(Some(1.0), false, at(2)));
        assert!(!monitor.is_silent(Some(2.0), false, at(9)), "it moved");
        assert!(!monitor.is_silent(Some(2.0), false, at(14)));
        assert!(monitor.is_silent(Some(2.0), false, at(15)));
        assert!(!monitor.is_silent(Some(2.0), true, at(30)), "it is busy");
        monitor.reset(at(40));
        assert!(
            !monitor.is_silent(Some(2.0), false, at(45)),
            "Redis was unavailable"
        );
        assert!(monitor.is_silent(Some(2.0), false, at(46)));
        let mut unregistered = HeartbeatMonitor::new(at(0));
        assert!(
            unregistered.is_silent(None, false, at(6)),
            "Redis does not know it"
        );
    }
}
