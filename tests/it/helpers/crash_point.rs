//! Work that crashes after a number of steps, over either store, and the recovery afterwards.

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

use super::{
    intercepted_store::InterceptedStore, interceptor::VerbInterceptor, mongo::Mongo,
    store_fixtures::TestStore,
};

/// Lets a number of steps pass, and blocks the next one for ever.
pub(crate) struct CrashPoint {
    left: AtomicUsize,
    reached: Notify,
}

impl CrashPoint {
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
impl VerbInterceptor for CrashPoint {
    async fn before_verb(&self, _: &'static str) -> Result<()> {
        self.step().await;
        Ok(())
    }
}

/// The same, before every MongoDB command instead of every verb.
pub(crate) struct Commands(Arc<CrashPoint>);

#[async_trait]
impl CommandHook for Commands {
    async fn before_command(&self, _: &'static str) -> Result<Box<dyn Send>> {
        self.0.step().await;
        Ok(Box::new(()))
    }
}

/// A store, with a second handle for work that crashes.
pub(crate) enum StoreUnderTest {
    Embedded(TestStore),
    Mongo(MongoStore),
}

impl StoreUnderTest {
    pub(crate) async fn embedded() -> Self {
        Self::Embedded(TestStore::open(Mode::Durable).await)
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

    pub(crate) fn crashing_at(&self, crash_point: &Arc<CrashPoint>) -> Arc<dyn Store> {
        match self {
            Self::Embedded(home) => Arc::new(InterceptedStore::new(
                home.store.clone(),
                crash_point.clone(),
                None,
            )),
            Self::Mongo(store) => Arc::new(store.with_options(MongoOptions {
                command_hook: Some(Arc::new(Commands(Arc::clone(crash_point)))),
                ..MongoOptions::default()
            })),
        }
    }
}

/// Runs work to its end, or drops it at the crash point and returns none.
pub(crate) async fn run_until_crash<T>(
    crash_point: &CrashPoint,
    work: impl Future<Output = T>,
) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = crash_point.reached.notified() => None,
    }
}

pub(crate) fn ingest(store: Arc<dyn Store>) -> Ingest {
    let limits = Limits {
        receive: receive::Limits::default(),
        parse: parse::Limits::default(),
        time_zone: chrono_tz::Tz::UTC,
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

/// Abandons receiving batches, as the reconciler does once their leases expire.
pub(crate) async fn abandon_crashed_uploads(store: &dyn Store) {
    for id in all(store, BatchStatus::Receiving).await {
        let abandon = BatchChange::Abandon {
            at: Fixed::epoch(),
            renewals: Some(0),
        };
        store.change_batch(id, &abandon).await.expect("gives up");
    }
}
