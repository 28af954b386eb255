//! The queue within one process: the memory storage of apalis, bounded, with at most one waiting nudge per job.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use apalis::{
    layers::WorkerBuilderExt,
    prelude::{
        Backend, BoxDynError, Data, Identity, MemoryStorage, MemoryStorageError, RandomId, Task,
        TaskSink, WorkerBuilder, WorkerContext,
    },
};
use apalis_core::backend::{BackendConfig, finalize::Ephemeral};
use async_trait::async_trait;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{MAX_WAITING, NudgeHandler, Runs, stopped, supervise::supervise};
use crate::{
    job::{Dispatch, DispatchError},
    model::JobId,
};

/// Both halves of the queue.
pub(super) struct InProcessQueue {
    storage: Mutex<MemoryStorage<JobId>>,
    /// The jobs whose nudge no worker has received yet.
    waiting: Mutex<HashSet<JobId>>,
}

/// The storage as the backend of one worker. Nudges that an ended worker did not receive stay for the next one.
struct SharedStorage(Arc<InProcessQueue>);

impl InProcessQueue {
    pub(super) fn new() -> Self {
        Self {
            storage: Mutex::new(MemoryStorage::new()),
            waiting: Mutex::default(),
        }
    }

    pub(super) async fn serve(
        self: Arc<Self>,
        handler: NudgeHandler,
        concurrency: usize,
        stop: CancellationToken,
    ) {
        let runs = Runs::new(handler, concurrency);
        supervise("jobs", &stop, |name| {
            let worker = WorkerBuilder::new(name)
                .backend(SharedStorage(Arc::clone(&self)))
                .data(Arc::clone(&self))
                .data(runs.clone())
                .concurrency(concurrency)
                .catch_panic()
                .build(handle);
            worker.run_until(stopped(stop.clone()))
        })
        .await;
        runs.close().await;
    }
}

/// Runs a job. Returns `Ok` always: the ledger has the outcome, so apalis must not retry.
async fn handle(
    job: JobId,
    queue: Data<Arc<InProcessQueue>>,
    runs: Data<Runs>,
) -> Result<(), BoxDynError> {
    // Before the run: a nudge during the run may be about work that the run has not seen.
    lock(&queue.waiting).remove(&job);
    runs.run(job).await;
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Dispatch for InProcessQueue {
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= MAX_WAITING {
            tracing::debug!(job.id = %job, "queue is full with {MAX_WAITING} nudges, the reconciler will nudge job {job} again");
            return Ok(());
        }
        if !waiting.insert(job) {
            return Ok(());
        }
        // The channel of the storage is unbounded, so a push never waits.
        match lock(&self.storage).push(job).now_or_never() {
            Some(Ok(())) => Ok(()),
            failed => {
                waiting.remove(&job);
                let source = format!("the channel is closed: {failed:?}").into();
                Err(DispatchError { job, source })
            }
        }
    }
}

impl Backend for SharedStorage {
    type Task = Task<JobId>;
    type Error = MemoryStorageError;

    fn poll_ready(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Result<(), Self::Error>> {
        Backend::poll_ready(&mut *lock(&self.0.storage), cx, worker)
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Self::Error>>> {
        Backend::poll_next(&mut *lock(&self.0.storage), cx, worker)
    }

    // The channel stays open for the next worker.
    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for SharedStorage {
    type Id = RandomId;
    type Args = JobId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
