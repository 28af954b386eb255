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
    store::{Result, StoreError, mongo::CommandHook},
};

use super::{Census, file::Dice};
use crate::helpers::gate::{Gate, Seen};

/// Stops each actor once before each verb (and, where a verb takes several, before each command), and makes some fail
/// while there is disorder.
#[derive(Clone)]
pub(super) struct Turnstile {
    pub(super) shared: Arc<Shared>,
    pub(super) faulty: bool,
}

/// What all actors of a history see.
pub(super) struct Shared {
    pub(super) chaos: AtomicBool,
    pub(super) faults: AtomicU64,
    pub(super) census: Arc<Census>,
    /// Steps so far: who comes to a turnstile passes it at a later one.
    pub(super) turn: AtomicU64,
    /// Commands that a server is at: none between two steps.
    pub(super) under_way: AtomicU64,
}

/// Held while a server is at a command.
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl CommandHook for Turnstile {
    async fn before_command(&self, command: &'static str) -> Result<Box<dyn Send>> {
        Gate::pass(self, command).await?;
        self.shared.under_way.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(UnderWay(Arc::clone(&self.shared))))
    }
}

#[async_trait]
impl Gate for Turnstile {
    async fn pass(&self, verb: &'static str) -> Result<()> {
        let mut came = None;
        std::future::poll_fn(|cx| {
            let turn = self.shared.turn.load(Ordering::Relaxed);
            if *came.get_or_insert(turn) != turn {
                return Poll::Ready(());
            }
            // Some combinators poll again only what has asked for it.
            cx.waker().wake_by_ref();
            Poll::Pending
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
