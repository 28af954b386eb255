//! The queue within one process: apalis' memory, bounded and without doubles.

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

use super::{Handler, Runs, WAITING, stopped, supervise::supervise};
use crate::{
    job::{Dispatch, DispatchError},
    model::JobId,
};

/// The sending half: nudges within this process.
pub(super) struct InProcess {
    storage: Mutex<MemoryStorage<JobId>>,
    waiting: Mutex<HashSet<JobId>>,
}

/// The storage as one worker sees it: what a worker that ended did not take is there for the next.
struct Feed(Arc<InProcess>);

impl InProcess {
    pub(super) fn new() -> Self {
        Self {
            storage: Mutex::new(MemoryStorage::new()),
            waiting: Mutex::default(),
        }
    }

    pub(super) async fn serve(
        self: Arc<Self>,
        handler: Handler,
        concurrency: usize,
        stop: CancellationToken,
    ) {
        let runs = Runs::new(handler, concurrency);
        supervise("jobs", "jobs", &stop, |name| {
            let worker = WorkerBuilder::new(name)
                .backend(Feed(Arc::clone(&self)))
                .data(Arc::clone(&self))
                .data(runs.clone())
                .concurrency(concurrency)
                .catch_panic()
                .build(take);
            worker.run_until(stopped(stop.clone()))
        })
        .await;
        runs.over().await;
    }
}

/// Always well for apalis: what a run came to is in the ledger, so its own retries have nothing to do.
async fn take(
    job: JobId,
    queue: Data<Arc<InProcess>>,
    runs: Data<Runs>,
) -> Result<(), BoxDynError> {
    // Before the run: a nudge that comes while it runs may be about something it has not seen.
    lock(&queue.waiting).remove(&job);
    runs.run(job).await;
    Ok(())
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Dispatch for InProcess {
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= WAITING {
            tracing::debug!(job.id = %job, "{WAITING} nudges wait: the sweep will nudge job {job} again");
            return Ok(());
        }
        if !waiting.insert(job) {
            return Ok(());
        }
        // Its channel has no bound of its own, so this never has to wait.
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

impl Backend for Feed {
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

    // The next worker goes on with the same channel.
    fn poll_close(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for Feed {
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
