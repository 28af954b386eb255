//! Deletes a batch: its days are recomputed, and the batches that lost identities to it are counted again. Its events
//! are removed last, because its claims are found by reading them.

use super::{
    claim::{DistinctClaims, sort_identities},
    process::mark_days,
    rollup::roll_up,
};
use crate::{
    job::{JobContext, RunEnd, RunError},
    model::{Batch, BatchChange, BatchId, BatchStatus, JobChange, JobId, JobPhase},
    store::{self, StoreError},
};

/// Losers read in one query.
const PAGE: usize = 200;

/// Runs the job of one batch.
pub(super) async fn run(context: &JobContext<'_>, id: BatchId) -> Result<RunEnd, RunError> {
    let Some(batch) = deleting(context, id).await? else {
        return Ok(RunEnd::Completed);
    };
    mark_days(context.store, &batch.undo_days).await?;
    requeue_losers(context, id).await?;
    if batch.claims() {
        release_claims(context, &batch).await?;
    }
    for (done, day) in batch.undo_days.iter().enumerate() {
        let (done, total) = (done as u64, batch.undo_days.len() as u64);
        context.progress.report(JobPhase::Rollup, done, total);
        roll_up(context, *day).await?;
    }
    purge(context, id).await?;
    let bury = BatchChange::Bury {
        at: context.clock.now(),
    };
    context.store.change_batch(id, &bury).await?;
    Ok(RunEnd::Completed)
}

/// Returns the end of the job of a batch whose deletion is complete.
pub(super) async fn end_without_run(
    context: &JobContext<'_>,
    id: BatchId,
) -> store::Result<Option<RunEnd>> {
    let left = deleting(context, id).await?;
    Ok(left.is_none().then_some(RunEnd::Completed))
}

async fn deleting(context: &JobContext<'_>, id: BatchId) -> store::Result<Option<Batch>> {
    let batch = context.store.batch(id).await?;
    Ok(batch.filter(|b| b.status == BatchStatus::Deleting))
}

/// Takes the dead job of a deleted batch out of the dead-letter queue: nobody can act on it any more.
async fn withdraw_dead_letter(context: &JobContext<'_>, id: BatchId) -> Result<(), RunError> {
    let withdraw = JobChange::Withdraw;
    let now = context.clock.now();
    context
        .store
        .change_job(JobId::Process(id), &withdraw, now)
        .await?;
    Ok(())
}

async fn requeue_losers(context: &JobContext<'_>, id: BatchId) -> Result<(), RunError> {
    let mut after = None;
    loop {
        let losers = context.store.overlaps_of_owner(id, after, PAGE).await?;
        for loser in losers.iter().map(|o| o.loser).filter(|loser| *loser != id) {
            // Refused by a batch that is deleted or was never processed.
            let recounted = match context
                .store
                .change_batch(loser, &BatchChange::Recount)
                .await
            {
                // The deletion goes on. Once its document is restored, verification finds the difference.
                Err(error) if error.is_of_document() => {
                    tracing::error!(batch.id = %loser, %error, "batch {loser} lost identities to a deleted one and could not be counted again");
                    continue;
                }
                changed => changed?.done(),
            };
            if recounted.is_some_and(|b| b.status == BatchStatus::Queued) {
                context.jobs.arm(JobId::Process(loser)).await?;
            }
        }
        after = losers.last().map(|o| o.loser);
        if losers.len() < PAGE {
            return Ok(());
        }
    }
}

async fn release_claims(context: &JobContext<'_>, batch: &Batch) -> Result<(), RunError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let records = match sort_identities(context, batch).await {
        // Removed by an earlier run, or unreadable. Other batches take over claims of a deleted batch.
        Err(RunError::Store(StoreError::Missing { .. } | StoreError::Corrupt { .. })) => {
            return Ok(());
        }
        other => other?,
    };
    let mut distinct = DistinctClaims::new(records, context.limits.claims_at_once);
    let mut done = 0;
    loop {
        let page;
        (page, distinct) = distinct.next_page().await?;
        let keys: Vec<_> = page.claims.iter().map(|claim| claim.key).collect();
        if keys.is_empty() {
            return Ok(());
        }
        context.store.release(batch.id, &keys).await?;
        done += keys.len() as u64;
        context.progress.report(JobPhase::Remove, done, total);
    }
}

/// Removes everything that a deleted batch wrote, its events last, and its dead letter.
pub(super) async fn purge(context: &JobContext<'_>, id: BatchId) -> Result<(), RunError> {
    withdraw_dead_letter(context, id).await?;
    while context.store.drop_stale_partials(id).await? {}
    while context.store.drop_rejections(id).await? {}
    // A loser that stores its overlap after this reads the owner's status again, finds it deleted, and claims.
    context.store.drop_overlaps(id).await?;
    context.store.drop_events(id).await?;
    Ok(())
}
