//! The fence: only this file and its folder name apalis. Carries nudges to the worker pool, ticks to the desk.
//! Whatever it loses or doubles, the ledger and the sweep make good.

mod in_process;
mod redis;
mod supervise;
mod ticks;

#[cfg(test)]
mod tests;

use std::{future::Future, pin::Pin, sync::Arc};

use apalis::prelude::WorkerError;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Dispatch, Runner};
use crate::model::JobId;

use self::redis::Shared;
use in_process::InProcess;

pub use self::redis::redis;
pub use ticks::{Schedule, schedule};

/// Nudges waiting at once; the sweep brings back what is dropped.
pub const WAITING: usize = 1_000;

/// What is done about a nudge.
pub type Handler = Arc<dyn Fn(JobId) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The receiving half of a queue.
pub struct Queue(Kind);

enum Kind {
    InProcess(Arc<InProcess>),
    Redis(Arc<Shared>),
}

/// A queue that lives in this process.
#[must_use]
pub fn in_process() -> (Arc<dyn Dispatch>, Queue) {
    let queue = Arc::new(InProcess::new());
    (
        Arc::clone(&queue) as Arc<dyn Dispatch>,
        Queue(Kind::InProcess(queue)),
    )
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

    /// As [`run`](Self::run), with anything in place of the runner.
    pub async fn serve(self, handler: Handler, concurrency: usize, stop: CancellationToken) {
        let concurrency = concurrency.max(1);
        match self.0 {
            Kind::InProcess(queue) => queue.serve(handler, concurrency, stop).await,
            Kind::Redis(queue) => queue.serve(handler, concurrency, stop).await,
        }
    }
}

/// The runs of one queue. They outlive the worker that began them, which ends at any error of its own.
#[derive(Clone)]
struct Runs {
    handler: Handler,
    places: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Runs {
    fn new(handler: Handler, concurrency: usize) -> Self {
        Self {
            handler,
            places: Arc::new(Semaphore::new(concurrency)),
            tasks: TaskTracker::new(),
        }
    }

    /// Runs a job to its end, once there is a place.
    async fn run(&self, job: JobId) {
        // A worker that took the place of one that died must not add its runs to those still under way.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            return;
        };
        let run = (self.handler)(job);
        // A task of its own, since apalis polls all handlers of a worker on one.
        let ended = self.tasks.spawn(async move {
            let _place = place;
            run.await;
        });
        if let Err(why) = ended.await {
            tracing::error!(job.id = %job, error = %why, "the run of job {job} ended badly: its lease will lapse");
        }
    }

    /// Whether no further run would begin at once.
    fn are_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// Begins no more runs, and waits for those under way.
    async fn over(&self) {
        self.places.close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn stopped(stop: CancellationToken) -> Result<(), WorkerError> {
    stop.cancelled_owned().await;
    Ok(())
}
