//! The fence: only this file and its folder name apalis. Carries nudges to the worker pool, ticks to the desk.
//! Whatever it loses or doubles, the ledger and the sweep make good.

mod supervise;
mod ticks;

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use apalis::{
    layers::WorkerBuilderExt,
    prelude::{
        Backend, BoxDynError, Data, Identity, MemoryStorage, MemoryStorageError, RandomId, Task,
        TaskSink, WorkerBuilder, WorkerContext, WorkerError,
    },
};
use apalis_core::backend::{BackendConfig, finalize::Ephemeral};
use async_trait::async_trait;
use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Dispatch, DispatchError, Runner};
use crate::model::JobId;

use supervise::supervise;
pub use ticks::{Schedule, schedule};

/// Nudges waiting at once; the sweep brings back what is dropped.
pub const WAITING: usize = 1_000;

type Handler = Arc<dyn Fn(JobId) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The sending half: nudges within this process.
pub struct InProcess {
    storage: Mutex<MemoryStorage<JobId>>,
    waiting: Mutex<HashSet<JobId>>,
}

/// The receiving half.
pub struct Queue(Arc<InProcess>);

/// The storage as one worker sees it: what a worker that ended did not take is there for the next.
struct Feed(Arc<InProcess>);

/// A queue that lives in this process.
#[must_use]
pub fn in_process() -> (Arc<InProcess>, Queue) {
    let sender = Arc::new(InProcess {
        storage: Mutex::new(MemoryStorage::new()),
        waiting: Mutex::default(),
    });
    (Arc::clone(&sender), Queue(sender))
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

impl Queue {
    /// Gives every nudge to the runner, `concurrency` at once, until `stop`; returns when the last run has ended.
    pub async fn run(self, runner: Arc<Runner>, concurrency: usize, stop: CancellationToken) {
        let handler: Handler = Arc::new(move |job| {
            let runner = Arc::clone(&runner);
            Box::pin(async move {
                runner.run(job).await;
            })
        });
        self.serve(handler, concurrency, stop).await;
    }

    async fn serve(self, handler: Handler, concurrency: usize, stop: CancellationToken) {
        let runs = TaskTracker::new();
        supervise("jobs", &stop, |name| {
            let worker = WorkerBuilder::new(name)
                .backend(Feed(Arc::clone(&self.0)))
                .data(Arc::clone(&self.0))
                .data(Arc::clone(&handler))
                .data(runs.clone())
                .concurrency(concurrency.max(1))
                .catch_panic()
                .build(take);
            worker.run_until(stopped(stop.clone()))
        })
        .await;
        runs.close();
        runs.wait().await;
    }
}

/// Always well for apalis: what a run came to is in the ledger, so its own retries have nothing to do.
async fn take(
    job: JobId,
    queue: Data<Arc<InProcess>>,
    handler: Data<Handler>,
    runs: Data<TaskTracker>,
) -> Result<(), BoxDynError> {
    // Before the run: a nudge that comes while it runs may be about something it has not seen.
    lock(&queue.waiting).remove(&job);
    // A task of its own, since apalis polls all handlers of a worker on one.
    if let Err(why) = runs.spawn((*handler)(job)).await {
        tracing::error!(job.id = %job, error = %why, "the run of job {job} ended badly: its lease will lapse");
    }
    Ok(())
}

async fn stopped(stop: CancellationToken) -> Result<(), WorkerError> {
    stop.cancelled_owned().await;
    Ok(())
}
