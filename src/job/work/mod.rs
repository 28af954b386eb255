//! The bodies of the five kinds of job. A run of each may be dropped at any await and repeated from its start.

mod claim;
mod cleanup;
mod fold;
mod process;
mod rollup;
mod undo;
mod verify;

use async_trait::async_trait;

use super::{JobBodies, JobContext, RunEnd, RunError};
use crate::{model::JobId, store};

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
            JobId::Reprocess(_) | JobId::Cleanup(_) => Ok(None),
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
            JobId::Undo(_) | JobId::Rollup(_) | JobId::Reprocess(_) | JobId::Cleanup(_) => Ok(()),
        }
    }
}
