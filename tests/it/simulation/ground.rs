//! What a history stands on: the store, and how futures that use it are driven.

use std::{
    future::{Future, poll_fn},
    path::Path,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use chrono_tz::Tz;
use tallymill::store::{
    Store,
    embedded::{EmbeddedStore, Mode},
    mongo::{MongoOptions, MongoStore},
};
use tokio::runtime::Runtime;

use super::turnstile::{Shared, Turnstile};
use crate::helpers::{mongo::Mongo, now};

/// A store, and what it takes to wait for it.
pub(super) enum Ground {
    /// Answers on the spot, each verb as a whole.
    Embedded(Arc<EmbeddedStore>),
    /// A server: every command is a point where another actor may step, and bulks are of one document.
    Mongo(MongoStore, Arc<Runtime>),
}

impl Ground {
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

    /// The store as one actor has it, behind its turnstile.
    pub(super) fn behind(&self, gate: &Turnstile) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::Mongo(store, _) => Arc::new(store.with_options(MongoOptions {
                bulk_documents: 1,
                bulks_in_flight: 1,
                command_hook: Some(Arc::new(gate.clone())),
            })),
        }
    }

    pub(super) fn now<T>(&self, future: impl Future<Output = T>) -> T {
        match self {
            Self::Embedded(_) => now(future),
            Self::Mongo(_, runtime) => runtime.block_on(future),
        }
    }

    /// Lets an actor go on to its next turnstile, or until it waits for something else than the store; true if it is
    /// done.
    pub(super) fn step(
        &self,
        actor: &mut Pin<Box<dyn Future<Output = ()>>>,
        shared: &Shared,
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
