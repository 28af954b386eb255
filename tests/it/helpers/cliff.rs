//! Work that dies after a number of steps, over either store, and what is done about what it leaves.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use tallymill::{
    clock::Fixed,
    ingest::{Ingest, Limits},
    model::{BatchChange, BatchId, BatchStatus},
    parse, receive,
    store::{
        BatchFilter, Result, Store,
        embedded::Mode,
        mongo::{CommandHook, MongoOptions, MongoStore},
    },
};
use tokio::sync::Notify;

use super::{gate::Gate, mongo::Mongo, staged::Staged, stock::Home};

/// Lets so many steps pass, and holds up the next for ever.
pub(crate) struct Cliff {
    left: AtomicUsize,
    reached: Notify,
}

impl Cliff {
    pub(crate) fn after(steps: usize) -> Arc<Self> {
        Arc::new(Self {
            left: AtomicUsize::new(steps),
            reached: Notify::new(),
        })
    }

    async fn step(&self) {
        let passes = |left: usize| left.checked_sub(1);
        let left = &self.left;
        if left
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, passes)
            .is_err()
        {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

#[async_trait]
impl Gate for Cliff {
    async fn pass(&self, _: &'static str) -> Result<()> {
        self.step().await;
        Ok(())
    }
}

/// The same before every command.
pub(crate) struct Commands(Arc<Cliff>);

#[async_trait]
impl CommandHook for Commands {
    async fn before_command(&self, _: &'static str) -> Result<Box<dyn Send>> {
        self.0.step().await;
        Ok(Box::new(()))
    }
}

/// A store, and the same for somebody who dies after so many steps.
pub(crate) enum Ground {
    Embedded(Home),
    Mongo(MongoStore),
}

impl Ground {
    pub(crate) async fn embedded() -> Self {
        Self::Embedded(Home::open(Mode::Durable).await)
    }

    pub(crate) async fn mongo() -> Self {
        let store = MongoStore::open(&Mongo::shared().database(), chrono_tz::Tz::UTC).await;
        Self::Mongo(store.expect("opens"))
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(home) => home.store.clone(),
            Self::Mongo(store) => Arc::new(store.clone()),
        }
    }

    pub(crate) fn behind(&self, cliff: &Arc<Cliff>) -> Arc<dyn Store> {
        match self {
            Self::Embedded(home) => Arc::new(Staged::new(home.store.clone(), cliff.clone(), None)),
            Self::Mongo(store) => Arc::new(store.with_options(MongoOptions {
                command_hook: Some(Arc::new(Commands(Arc::clone(cliff)))),
                ..MongoOptions::default()
            })),
        }
    }
}

/// Runs until it is done or falls off the cliff, where it ends.
pub(crate) async fn until_it_dies<T>(cliff: &Cliff, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = cliff.reached.notified() => None,
    }
}

pub(crate) fn ingest(store: Arc<dyn Store>) -> Ingest {
    let limits = Limits {
        receive: receive::Limits::default(),
        parse: parse::Limits::default(),
        rejections: 10,
        event_types: 10,
        days: 10,
        batch_ttl: None,
        lease: Duration::from_secs(30),
    };
    Ingest::new(store, Arc::new(Fixed::default()), limits, "w".into())
}

pub(crate) async fn all(store: &dyn Store, status: BatchStatus) -> Vec<BatchId> {
    let filter = BatchFilter {
        statuses: vec![status],
        parent: None,
        before: None,
    };
    let all = store.list_batches(&filter, 10).await.expect("lists");
    all.into_iter().map(|batch| batch.id).collect()
}

/// What the sweep does to uploads whose lease stands still.
pub(crate) async fn give_up_what_died(store: &dyn Store) {
    for id in all(store, BatchStatus::Receiving).await {
        let abandon = BatchChange::Abandon {
            at: Fixed::epoch(),
            renewals: Some(0),
        };
        store.change_batch(id, &abandon).await.expect("gives up");
    }
}
