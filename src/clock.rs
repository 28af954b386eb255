//! Time as a parameter: the wall clock for documents, a monotonic clock for waits. The only file that reads the clocks
//! of the machine.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{SubsecRound, TimeDelta};

use crate::model::Instant;

/// A source of time.
#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    /// Returns the time of the wall clock, to the millisecond.
    fn now(&self) -> Instant;

    /// Returns the time since a fixed moment of this process. It never decreases, and is not set with the wall clock.
    fn elapsed(&self) -> Duration;

    /// Waits for a duration.
    async fn sleep(&self, wait: Duration);
}

/// The clocks of the machine.
#[derive(Debug, Clone, Copy)]
pub struct System {
    start: std::time::Instant,
}

impl System {
    /// Returns the clocks; the monotonic one starts now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one owner of the clocks of the machine"
    )]
    pub fn start() -> Self {
        Self {
            start: std::time::Instant::now(),
        }
    }
}

#[async_trait::async_trait]
impl Clock for System {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one owner of the clocks of the machine"
    )]
    fn now(&self) -> Instant {
        chrono::Utc::now().trunc_subsecs(3)
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, wait: Duration) {
        tokio::time::sleep(wait).await;
    }
}

/// A clock that only a test advances.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    elapsed: Arc<Mutex<Duration>>,
    wake: Arc<tokio::sync::Notify>,
}

impl Fixed {
    /// Returns the time at which a fixed clock starts: 2025-11-20T00:00:00Z.
    #[must_use]
    pub fn epoch() -> Instant {
        Instant::default() + TimeDelta::days(20_412)
    }

    /// Advances the clock.
    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().expect("no holder panics") += by;
        self.wake.notify_waiters();
    }
}

#[async_trait::async_trait]
impl Clock for Fixed {
    fn now(&self) -> Instant {
        Self::epoch() + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.elapsed.lock().expect("no holder panics")
    }

    async fn sleep(&self, wait: Duration) {
        let until = self.elapsed() + wait;
        loop {
            let advanced = self.wake.notified();
            if self.elapsed() >= until {
                return;
            }
            advanced.await;
        }
    }
}
