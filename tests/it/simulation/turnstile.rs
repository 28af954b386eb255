//! What stands between the actors of a history and the store and the queue.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::Poll,
};

use async_trait::async_trait;
use tallymill::{
    job::{Dispatch, DispatchError},
    model::JobId,
    store::{Result, StoreError},
};

use super::{Census, file::Dice};
use crate::helpers::gate::{Gate, Seen};

/// Stops each actor once before each verb, and makes some verbs fail while there is disorder.
pub(super) struct Turnstile {
    pub(super) shared: Arc<Shared>,
    pub(super) faulty: bool,
}

/// What all actors of a history see.
pub(super) struct Shared {
    pub(super) chaos: AtomicBool,
    pub(super) faults: AtomicU64,
    pub(super) census: Arc<Census>,
}

#[async_trait]
impl Gate for Turnstile {
    async fn pass(&self, verb: &'static str) -> Result<()> {
        let mut stopped = false;
        std::future::poll_fn(|_| {
            if std::mem::replace(&mut stopped, true) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
        if self.faulty && self.shared.chaos.load(Ordering::Relaxed) {
            let dice = Dice(self.shared.faults.fetch_add(1, Ordering::Relaxed)).next();
            if dice % 100 < 2 {
                let source = "planned".into();
                return Err(if dice & 1024 == 0 {
                    StoreError::Failed { what: verb, source }
                } else {
                    StoreError::Unavailable { what: verb, source }
                });
            }
        }
        Ok(())
    }

    fn saw(&self, seen: Seen) {
        self.shared.census.count(seen);
    }
}

/// A queue that keeps nudges until the scheduler delivers, doubles or loses them.
#[derive(Default)]
pub(super) struct Nudges(pub(super) Mutex<Vec<JobId>>);

#[async_trait]
impl Dispatch for Nudges {
    async fn nudge(&self, job: JobId) -> std::result::Result<(), DispatchError> {
        self.0.lock().expect("one thread").push(job);
        Ok(())
    }
}
