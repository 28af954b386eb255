//! The ledger of jobs: one document each, changed by compare-and-set.

use async_trait::async_trait;

use super::{Changed, Result};
use crate::model::{Instant, Job, JobChange, JobId, JobState};

/// Stores jobs.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Adds a queued job; changes nothing if the job exists, whatever its state.
    async fn add_job(&self, id: JobId, now: Instant) -> Result<()>;
    /// Queues a job and adds it if it is missing; a queued or running job does not change.
    async fn arm(&self, id: JobId, now: Instant) -> Result<Job>;
    /// Returns a job.
    async fn job(&self, id: JobId) -> Result<Option<Job>>;
    /// Applies [`Job::after`] by compare-and-set.
    async fn change_job(&self, id: JobId, change: &JobChange, now: Instant)
    -> Result<Changed<Job>>;
    /// Lists queued jobs that are due, the longest due first.
    async fn due_jobs(&self, now: Instant, limit: usize) -> Result<Vec<JobId>>;
    /// Lists jobs in a state, the last changed first, after the last (change, id) of the previous page.
    async fn jobs_in(
        &self,
        state: JobState,
        after: Option<(Instant, JobId)>,
        limit: usize,
    ) -> Result<Vec<Job>>;
    /// Returns the number of jobs in a state.
    async fn count_jobs(&self, state: JobState) -> Result<u64>;
    /// Deletes some settled cleanup, reprocess and retry jobs that last changed before an instant, but never the job of the
    /// latest slot of a kind, by which the schedule knows that the slot has run. Returns whether more may remain.
    async fn prune_jobs(&self, before: Instant) -> Result<bool>;
}
