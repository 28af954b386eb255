//! The bodies of the six kinds of job. A run of each may be dropped at any await and repeated from its start.

mod blocking;
mod claim;
mod cleanup;
mod fold;
mod process;
mod retry;
mod rollup;
mod undo;
mod verify;

use async_trait::async_trait;

use super::{JobBodies, JobContext, RunEnd, RunError};
use crate::{
    model::JobId,
    store::{self, Store},
};

/// Most events of a batch whose run is short: at a million a second, a tenth of a second.
const SHORT_ROWS: u64 = 100_000;

/// The bodies of all kinds of job.
#[derive(Debug, Clone, Copy)]
pub struct Bodies;

#[async_trait]
impl JobBodies for Bodies {
    async fn run(&self, job: JobId, context: &JobContext<'_>) -> Result<RunEnd, RunError> {
        match job {
            JobId::Process(id) => process::run(context, id).await,
            JobId::Undo(id) => undo::run(context, id).await,
            JobId::Rollup(day) => rollup::run(context, day).await,
            JobId::Reprocess(slot) => verify::run(context, slot).await,
            JobId::Cleanup(_) => cleanup::run(context).await,
            JobId::Retry(request) => retry::run(context, request).await,
        }
    }

    async fn is_short(&self, job: JobId, store: &dyn Store) -> store::Result<bool> {
        match job {
            JobId::Process(id) => {
                let receipt = store.batch(id).await?.and_then(|batch| batch.receipt);
                Ok(receipt.is_none_or(|receipt| receipt.rows.inserted <= SHORT_ROWS))
            }
            // An undo is what a user waits for.
            JobId::Undo(_) | JobId::Rollup(_) => Ok(true),
            JobId::Reprocess(_) | JobId::Cleanup(_) | JobId::Retry(_) => Ok(false),
        }
    }

    async fn end_without_run(
        &self,
        job: JobId,
        context: &JobContext<'_>,
    ) -> store::Result<Option<RunEnd>> {
        match job {
            JobId::Process(id) => process::end_without_run(context, id).await,
            JobId::Undo(id) => undo::end_without_run(context, id).await,
            JobId::Rollup(day) => rollup::end_without_run(context, day).await,
            JobId::Reprocess(_) | JobId::Cleanup(_) | JobId::Retry(_) => Ok(None),
        }
    }

    async fn abandon(
        &self,
        job: JobId,
        context: &JobContext<'_>,
        reason: &str,
    ) -> store::Result<()> {
        match job {
            JobId::Process(id) => process::abandon(context, id, reason).await,
            JobId::Undo(_)
            | JobId::Rollup(_)
            | JobId::Reprocess(_)
            | JobId::Cleanup(_)
            | JobId::Retry(_) => Ok(()),
        }
    }
}
