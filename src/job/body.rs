//! The interface between the engine and the bodies of jobs. The engine knows no kind of job; a body knows no lease.

use async_trait::async_trait;

use super::JobContext;
use crate::{
    model::JobId,
    store::{self, Store, StoreError},
};

/// The work of every kind of job.
#[async_trait]
pub trait JobBodies: Send + Sync {
    /// Runs the body of a job. The run may be dropped at any await, and the job run again from the start.
    ///
    /// # Errors
    /// [`RunError`] says whether another attempt may succeed.
    async fn run(&self, job: JobId, context: &JobContext<'_>) -> Result<RunEnd, RunError>;

    /// Returns whether a run takes about a second at most, so that it need not wait for long ones.
    ///
    /// # Errors
    /// [`StoreError`] if the store is unavailable.
    async fn is_short(&self, job: JobId, store: &dyn Store) -> store::Result<bool>;

    /// Returns how a job ends without another run; `None` if work is left. Called before a job is abandoned: a worker
    /// that was lost may have done all of it, or its subject may be deleted.
    ///
    /// # Errors
    /// [`StoreError`] if the store is unavailable.
    async fn end_without_run(
        &self,
        job: JobId,
        context: &JobContext<'_>,
    ) -> store::Result<Option<RunEnd>>;

    /// Marks the subject of a job as failed for `reason`. Called before the job itself is settled as dead.
    ///
    /// # Errors
    /// [`StoreError`] if the store is unavailable; the engine calls it again.
    async fn abandon(
        &self,
        job: JobId,
        context: &JobContext<'_>,
        reason: &str,
    ) -> store::Result<()>;
}

/// How a run ended without an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All requested work is done.
    Completed,
    /// More work was requested during the run.
    MoreRequested,
    /// The subject no longer needs the job.
    Cancelled,
    /// The subject failed before this run began.
    Abandoned,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store returned an error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer run or a deletion owns the batch; this run must not write any more.
    #[error("a newer run or an undo has it")]
    Superseded,
    /// A spill file of the sort could not be written or read.
    #[error("sorting identities failed: {0}")]
    Sort(#[from] std::io::Error),
    /// Two sums that must agree differ.
    #[error("{0}")]
    Inconsistent(String),
}
