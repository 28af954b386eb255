//! The retry of one dead job, which an admin asks for, or the job that retries all.

use super::{JobQueue, service::log_not_armed};
use crate::{
    clock::Clock,
    model::{BatchChange, Job, JobChange, JobId},
    store::{Changed, Result, Store},
};

/// Queues a dead job again, with its full number of attempts.
///
/// # Errors
/// [`StoreError`](crate::store::StoreError) if the ledger is unavailable: nothing was changed.
pub(super) async fn retry_dead(
    store: &dyn Store,
    clock: &dyn Clock,
    jobs: &JobQueue,
    id: JobId,
) -> Result<Changed<Job>> {
    let now = clock.now();
    let retried = match store.job(id).await? {
        None => return Ok(Changed::Missing),
        Some(job) => match job.after(&JobChange::Retry, now) {
            Ok(retried) => retried,
            Err(refused) => return Ok(Changed::Refused(refused)),
        },
    };
    // The batch is queued first: a job that ran before would find it failed, and settle at once.
    let is_batch_queued = match id {
        JobId::Process(batch) => {
            let revived = store.change_batch(batch, &BatchChange::Revive).await?;
            revived.done().is_some()
        }
        JobId::Undo(_)
        | JobId::Rollup(_)
        | JobId::Reprocess(_)
        | JobId::Cleanup(_)
        | JobId::Retry(_) => false,
    };
    match store.change_job(id, &JobChange::Retry, now).await {
        Ok(Changed::Done(job)) => {
            jobs.nudge(id).await;
            Ok(Changed::Done(job))
        }
        // The reconciler arms, or has armed, the job of a queued batch.
        Ok(_) if is_batch_queued => Ok(Changed::Done(retried)),
        Err(error) if is_batch_queued => {
            log_not_armed(id, &error);
            Ok(Changed::Done(retried))
        }
        other => other,
    }
}
