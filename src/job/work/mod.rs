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
use crate::{
    model::{BatchChange, JobId},
    store,
};

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

    async fn abandon(
        &self,
        job: JobId,
        context: &JobContext<'_>,
        reason: &str,
    ) -> store::Result<()> {
        let token = context.token;
        match job {
            JobId::Process(id) => {
                // A run that ended before it began has no fence under which the batch could fail.
                let begin = BatchChange::Begin { token };
                context.store.change_batch(id, &begin).await?;
                let reason = reason.to_owned();
                let fail = BatchChange::Fail { token, reason };
                context.store.change_batch(id, &fail).await?;
                Ok(())
            }
            JobId::Undo(_) | JobId::Rollup(_) | JobId::Reprocess(_) | JobId::Cleanup(_) => Ok(()),
        }
    }
}
