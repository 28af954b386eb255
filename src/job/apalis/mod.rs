//! The adapter around apalis: the only folder that names it. Carries nudges to the worker pool.
//! The ledger and the reconciler repair whatever it loses or repeats.

mod in_process;
mod lanes;
mod redis;
mod supervise;

#[cfg(test)]
mod tests;

use std::{future::Future, pin::Pin, sync::Arc};

use apalis::prelude::WorkerError;
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Dispatch, Runner};
use crate::model::JobId;

use self::redis::RedisQueue;
use in_process::InProcessQueue;
use lanes::Lanes;

pub use self::redis::redis;

/// Most nudges that wait at once. A nudge beyond it is dropped, and repeated by the reconciler.
pub const MAX_WAITING: usize = 1_000;

/// The reaction to a nudge.
pub type NudgeHandler =
    Arc<dyn Fn(JobId) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The receiving half of a queue: workers that handle the nudges of both lanes.
pub struct WorkerPool {
    main: Backend,
    express: Backend,
}

enum Backend {
    InProcess(Arc<InProcessQueue>),
    Redis(Arc<RedisQueue>),
}

/// Returns both halves of a queue within this process.
#[must_use]
pub fn in_process() -> (Arc<dyn Dispatch>, WorkerPool) {
    let (main, express) = (
        Arc::new(InProcessQueue::new()),
        Arc::new(InProcessQueue::new()),
    );
    let lanes = Lanes {
        main: main.clone(),
        express: express.clone(),
    };
    let pool = WorkerPool {
        main: Backend::InProcess(main),
        express: Backend::InProcess(express),
    };
    (Arc::new(lanes), pool)
}

impl WorkerPool {
    /// Passes every nudge to the runner, `concurrency` at once, and those of short jobs one more at a time, until `stop`.
    /// Returns when the last run has ended.
    pub async fn run(self, runner: Arc<Runner>, concurrency: usize, stop: CancellationToken) {
        let all: NudgeHandler = {
            let runner = Arc::clone(&runner);
            Arc::new(move |job| {
                let runner = Arc::clone(&runner);
                Box::pin(async move {
                    runner.run(job).await;
                })
            })
        };
        let short: NudgeHandler = Arc::new(move |job| {
            let runner = Arc::clone(&runner);
            Box::pin(async move {
                if runner.is_short(job).await {
                    runner.run(job).await;
                }
            })
        });
        let Self { main, express } = self;
        tokio::join!(
            main.serve(all, concurrency, stop.clone()),
            express.serve(short, 1, stop)
        );
    }

    /// Passes the nudges of the main lane to any handler.
    pub async fn serve(self, handler: NudgeHandler, concurrency: usize, stop: CancellationToken) {
        self.main.serve(handler, concurrency, stop).await;
    }
}

impl Backend {
    async fn serve(self, handler: NudgeHandler, concurrency: usize, stop: CancellationToken) {
        let concurrency = concurrency.max(1);
        match self {
            Self::InProcess(queue) => queue.serve(handler, concurrency, stop).await,
            Self::Redis(queue) => queue.serve(handler, concurrency, stop).await,
        }
    }
}

/// The runs of one queue. They outlive the apalis worker that started them, which ends at any error of its own.
#[derive(Clone)]
struct Runs {
    handler: NudgeHandler,
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Runs {
    fn new(handler: NudgeHandler, concurrency: usize) -> Self {
        Self {
            handler,
            permits: Arc::new(Semaphore::new(concurrency)),
            tasks: TaskTracker::new(),
        }
    }

    /// Runs a job to its end once a permit is free.
    async fn run(&self, job: JobId) {
        // The runs of a replaced worker still count against the concurrency of its successor.
        let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else {
            return;
        };
        let run = (self.handler)(job);
        // A task per run, since apalis polls all handlers of a worker on one task.
        let ended = self.tasks.spawn(async move {
            let _permit = permit;
            run.await;
        });
        if let Err(error) = ended.await {
            tracing::error!(job.id = %job, %error, "run of job {job} panicked, the job is queued again once its lease expires");
        }
    }

    /// Returns whether another run would have to wait for a permit.
    fn are_full(&self) -> bool {
        self.permits.available_permits() == 0
    }

    /// Refuses further runs, and waits for those that were started.
    async fn close(&self) {
        self.permits.close();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn stopped(stop: CancellationToken) -> Result<(), WorkerError> {
    stop.cancelled_owned().await;
    Ok(())
}
