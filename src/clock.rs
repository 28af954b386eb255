//! Time as it is passed in: the wall clock for documents, a monotonic one for waiting.
//! Only this file reads the machine's clocks.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use chrono::{SubsecRound, TimeDelta};

use crate::model::Instant;

/// Where time comes from.
#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    /// The wall clock, to the millisecond.
    fn now(&self) -> Instant;

    /// Time since some fixed moment of this process; never goes back, never jumps.
    fn elapsed(&self) -> Duration;

    /// Waits.
    async fn sleep(&self, wait: Duration);
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct System {
    start: std::time::Instant,
}

impl System {
    /// A clock whose monotonic side starts now.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one owner of the machine's clocks"
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
        reason = "the one owner of the machine's clocks"
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

/// A clock that stands still until a test moves it.
#[derive(Debug, Clone, Default)]
pub struct Fixed {
    moved: Arc<Mutex<Duration>>,
    wake: Arc<tokio::sync::Notify>,
}

impl Fixed {
    /// Where a fixed clock starts: 2025-11-20T00:00:00Z.
    #[must_use]
    pub fn epoch() -> Instant {
        Instant::default() + TimeDelta::days(20_412)
    }

    /// Moves it.
    pub fn advance(&self, by: Duration) {
        *self.moved.lock().expect("no holder panics") += by;
        self.wake.notify_waiters();
    }
}

#[async_trait::async_trait]
impl Clock for Fixed {
    fn now(&self) -> Instant {
        Self::epoch() + self.elapsed()
    }

    fn elapsed(&self) -> Duration {
        *self.moved.lock().expect("no holder panics")
    }

    async fn sleep(&self, wait: Duration) {
        let until = self.elapsed() + wait;
        loop {
            let moved = self.wake.notified();
            if self.elapsed() >= until {
                return;
            }
            moved.await;
        }
    }
}
