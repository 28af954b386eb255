//! Arms jobs: first in the ledger, then by a nudge to the worker pool.
//! A **nudge** is a wake-up hint that may be lost; the reconciler repeats it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    clock::Clock,
    model::{Instant, JobId},
    store::{Result, Store},
};

/// The queue did not accept a nudge.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not take job {job}")]
pub struct DispatchError {
    /// The job.
    pub job: JobId,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The sending half of the queue to the worker pool.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// Asks some worker to run `job`. A lost nudge costs delay, never work.
    ///
    /// # Errors
    /// [`DispatchError`] if the queue is unavailable.
    async fn nudge(&self, job: JobId) -> std::result::Result<(), DispatchError>;

    /// Asks some worker to run `job` after a wait. A queue may ignore this: the reconciler nudges due jobs.
    fn nudge_after(&self, _job: JobId, _wait: Duration) {}

    /// Returns the kind of queue, as `/ready` and the log name it.
    fn kind(&self) -> &'static str {
        "in-process"
    }

    /// Returns whether the queue answers within about a second. A queue in this process always does.
    async fn answers(&self) -> bool {
        true
    }
}

/// The ledger of jobs together with its queue.
#[derive(Clone)]
pub struct JobQueue {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    dispatch: Arc<dyn Dispatch>,
}

impl JobQueue {
    /// Returns the queue of a ledger.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, dispatch: Arc<dyn Dispatch>) -> Self {
        Self {
            store,
            clock,
            dispatch,
        }
    }

    /// Queues a job unless it is queued or running.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is unavailable.
    pub async fn arm(&self, job: JobId) -> Result<()> {
        self.store.arm(job, self.clock.now()).await?;
        self.nudge(job).await;
        Ok(())
    }

    /// Queues a job unless the ledger has it in any state: the job of one slot of the schedule runs once.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is unavailable.
    pub async fn arm_once(&self, job: JobId) -> Result<()> {
        if self.store.job(job).await?.is_none() {
            self.arm(job).await?;
        }
        Ok(())
    }

    /// Nudges the worker pool when a queued job becomes due.
    pub fn nudge_at(&self, job: JobId, run_at: Instant) {
        let wait = (run_at - self.clock.now()).to_std().unwrap_or_default();
        self.dispatch.nudge_after(job, wait);
    }

    /// Nudges the worker pool. A failure is only logged, since the reconciler nudges again.
    pub async fn nudge(&self, job: JobId) {
        if let Err(error) = self.dispatch.nudge(job).await {
            // The queue warns once per outage; a warning per job would repeat at each pass of the reconciler.
            tracing::debug!(job.id = %job, %error, "nudge of job {job} failed, the reconciler will repeat it");
        }
    }
}
