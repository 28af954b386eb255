//! The store of a history, and how futures that use it are polled.

use std::{
    future::{Future, poll_fn},
    path::Path,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use chrono_tz::Tz;
use tallymill::{
    metric::SpanSize,
    store::{
        Store,
        embedded::{EmbeddedStore, Mode},
        mongo::{CommandHook, MongoOptions, MongoStore},
    },
};
use tokio::runtime::Runtime;

use super::step_gate::{InFlightCount, SharedSteps, StepGate};
use crate::helpers::{mongo::Mongo, now};

/// A store, and the runtime that waits for it.
pub(super) enum SimulatedBackend {
    /// Answers at once; a verb is one step.
    Embedded(Arc<EmbeddedStore>),
    /// A server: a command is one step, and bulks have one document.
    Mongo(MongoStore, Arc<Runtime>),
}

impl SimulatedBackend {
    pub(super) fn embedded(dir: &Path) -> Self {
        let store = now(EmbeddedStore::open(dir, Tz::UTC, Mode::Simulated));
        Self::Embedded(Arc::new(store.expect("opens")))
    }

    pub(super) fn mongo(runtime: &Arc<Runtime>) -> Self {
        let uri = Mongo::shared().database();
        let store = runtime.block_on(MongoStore::open(&uri, Tz::UTC));
        Self::Mongo(store.expect("opens"), Arc::clone(runtime))
    }

    pub(super) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::Mongo(store, _) => Arc::new(store.clone()),
        }
    }

    /// Returns the store of one actor, behind its gate.
    pub(super) fn behind(&self, gate: &StepGate) -> Arc<dyn Store> {
        self.hooked(Arc::new(gate.clone()))
    }

    /// Returns a store whose commands stop at no gate, but end within the step that begins them. A command that waits
    /// between two steps can hold a lock of the driver, which all others would wait for.
    pub(super) fn ungated(&self, shared: &Arc<SharedSteps>) -> Arc<dyn Store> {
        self.hooked(Arc::new(InFlightCount(Arc::clone(shared))))
    }

    fn hooked(&self, hook: Arc<dyn CommandHook>) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::Mongo(store, _) => Arc::new(store.with_options(MongoOptions {
                bulk_documents: 1,
                bulks_in_flight: 1,
                span_size: SpanSize::SMALL,
                command_hook: Some(hook),
            })),
        }
    }

    pub(super) fn now<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Embedded(_) => now(future),
            Self::Mongo(_, runtime) => runtime.block_on(future),
        }
    }

    /// Runs an actor to its next gate, or until it waits for something else than the store; returns whether it ended.
    pub(super) fn step(
        &self,
        actor: &mut Pin<Box<dyn Future<Output = ()>>>,
        shared: &SharedSteps,
    ) -> bool {
        shared.turn.fetch_add(1, Ordering::Relaxed);
        let runtime = match self {
            Self::Embedded(_) => {
                let mut context = Context::from_waker(Waker::noop());
                return actor.as_mut().poll(&mut context).is_ready();
            }
            Self::Mongo(_, runtime) => runtime,
        };
        runtime.block_on(poll_fn(|context| {
            let done = actor.as_mut().poll(context).is_ready();
            if !done && shared.under_way.load(Ordering::Relaxed) > 0 {
                return Poll::Pending;
            }
            Poll::Ready(done)
        }))
    }
}
