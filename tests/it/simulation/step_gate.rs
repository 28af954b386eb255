//! The gates between the actors of a history and the store, and the queue of the history.

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

use super::{ObservationCounts, generated_file::Random};
use crate::helpers::interceptor::{Observation, VerbInterceptor};

/// Stops an actor before each verb, and over MongoDB before each command. Makes some verbs fail during the chaos phase.
#[derive(Clone)]
pub(super) struct StepGate {
    pub(super) shared: Arc<SharedSteps>,
    pub(super) faulty: bool,
}

/// The state shared by all actors of a history.
pub(super) struct SharedSteps {
    pub(super) chaos: AtomicBool,
    pub(super) faults: AtomicU64,
    pub(super) counts: Arc<ObservationCounts>,
    /// Steps so far. An actor passes its gate at a later step.
    pub(super) turn: AtomicU64,
    /// Commands that a server is executing; 0 between two steps.
    pub(super) under_way: AtomicU64,
}

/// Counts a command while a server executes it.
struct CommandInFlight(Arc<SharedSteps>);

impl Drop for CommandInFlight {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CommandInFlight {
    fn begin(shared: &Arc<SharedSteps>) -> Box<Self> {
        shared.under_way.fetch_add(1, Ordering::Relaxed);
        Box::new(Self(Arc::clone(shared)))
    }
}

#[async_trait]
impl CommandHook for StepGate {
    async fn before_command(&self, command: &'static str) -> Result<Box<dyn Send>> {
        VerbInterceptor::before_verb(self, command).await?;
        Ok(CommandInFlight::begin(&self.shared))
    }
}

/// Counts commands in flight, and stops none.
pub(super) struct InFlightCount(pub(super) Arc<SharedSteps>);

#[async_trait]
impl CommandHook for InFlightCount {
    async fn before_command(&self, _: &'static str) -> Result<Box<dyn Send>> {
        Ok(CommandInFlight::begin(&self.0))
    }
}

#[async_trait]
impl VerbInterceptor for StepGate {
    async fn before_verb(&self, verb: &'static str) -> Result<()> {
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
            let random = Random(self.shared.faults.fetch_add(1, Ordering::Relaxed)).next();
            if random % 100 < 2 {
                let source = "planned".into();
                return Err(if random & 1024 == 0 {
                    StoreError::Failed { what: verb, source }
                } else {
                    StoreError::Unavailable { what: verb, source }
                });
            }
        }
        Ok(())
    }

    fn observed(&self, seen: Observation) {
        self.shared.counts.count(seen);
    }
}

/// A queue whose nudges the simulation delivers, repeats or loses.
#[derive(Default)]
pub(super) struct Nudges(pub(super) Mutex<Vec<JobId>>);

#[async_trait]
impl Dispatch for Nudges {
    async fn nudge(&self, job: JobId) -> std::result::Result<(), DispatchError> {
        self.0.lock().expect("one thread").push(job);
        Ok(())
    }
}
