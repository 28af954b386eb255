//! Removes what has expired: batches that were never processed, orphaned rows of deleted batches, tombstones, old jobs of
//! the schedule, audit entries, idempotency keys and resumable uploads.

use chrono::TimeDelta;

use super::undo::purge;
use crate::{
    job::{JobContext, RunEnd, RunError},
    model::{Batch, BatchChange, BatchId, BatchStatus, Instant, JobPhase},
    store::{BatchFilter, StoreError},
};

/// Documents read in one query.
const PAGE: usize = 200;
/// Age at which a tombstone is purged a second time. A writer delayed for longer has lost its lease long before.
const LATE_WRITERS: TimeDelta = TimeDelta::hours(1);
/// Time for which settled jobs of the schedule stay in the ledger. The last job of each kind stays for longer.
const SLOT_RETENTION: TimeDelta = TimeDelta::days(7);
/// Time for which idempotency keys are stored.
const KEY_RETENTION: TimeDelta = TimeDelta::hours(24);

/// Runs one cleanup. A step that fails does not keep the others from running; the first error is that of the run.
pub(super) async fn run(context: &JobContext<'_>) -> Result<RunEnd, RunError> {
    let now = context.certain_time().await?;
    let steps = [
        expire_batches(context, now).await,
        purge_tombstones(context, now).await,
        prune_ledger(context, now).await,
        prune_requests(context, now).await,
        prune_tombstones(context, now).await,
        prune_audit(context, now).await,
    ];
    steps.into_iter().collect::<Result<(), RunError>>()?;
    Ok(RunEnd::Completed)
}

async fn prune_ledger(context: &JobContext<'_>, now: Instant) -> Result<(), RunError> {
    while context.store.prune_jobs(now - SLOT_RETENTION).await? {}
    Ok(())
}

async fn prune_requests(context: &JobContext<'_>, now: Instant) -> Result<(), RunError> {
    let before = now - KEY_RETENTION;
    while context.store.prune_idempotency_entries(before).await? {}
    while context.store.prune_transfers(now).await? {}
    Ok(())
}

async fn prune_tombstones(context: &JobContext<'_>, now: Instant) -> Result<(), RunError> {
    if let Some(retention) = context.limits.tombstone_retention {
        while context.store.prune_tombstones(now - retention).await? {}
    }
    Ok(())
}

async fn prune_audit(context: &JobContext<'_>, now: Instant) -> Result<(), RunError> {
    if let Some(retention) = context.limits.audit_retention {
        while context.store.prune_audit(now - retention).await? {}
    }
    Ok(())
}

async fn purge_tombstones(context: &JobContext<'_>, now: Instant) -> Result<(), RunError> {
    let before = now - LATE_WRITERS;
    let mut purged = 0;
    loop {
        let page = context.store.unpurged_batches(before, PAGE).await?;
        let purged_before = purged;
        for id in &page {
            match purge_tombstone(context, *id, before).await {
                Ok(()) => purged += 1,
                // One document must not keep the others from being purged.
                Err(RunError::Store(
                    error @ (StoreError::Corrupt { .. } | StoreError::Missing { .. }),
                )) => {
                    tracing::error!(batch.id = %id, %error, "rows of deleted batch {id} could not be removed, the next cleanup tries again");
                }
                Err(error) => return Err(error),
            }
            context.progress.report(JobPhase::Remove, purged, purged);
        }
        if page.len() < PAGE || purged == purged_before {
            return Ok(());
        }
    }
}

async fn purge_tombstone(
    context: &JobContext<'_>,
    id: BatchId,
    before: Instant,
) -> Result<(), RunError> {
    let due = context.store.batch(id).await?.filter(|batch| {
        batch.purges == 0 || batch.purges == 1 && batch.deleted_at.is_some_and(|at| at < before)
    });
    // Another cleanup may have purged it since the page was read; the second purge has to wait its hour.
    let Some(batch) = due else { return Ok(()) };
    purge(context, id).await?;
    let purged = BatchChange::Purged {
        before: batch.purges,
    };
    context.store.change_batch(id, &purged).await?;
    Ok(())
}

async fn expire_batches(context: &JobContext<'_>, now: Instant) -> Result<(), RunError> {
    // Expiry may have been switched off since the receipts were written.
    if context.limits.batch_ttl.is_none() {
        return Ok(());
    }
    let mut filter = BatchFilter {
        statuses: vec![BatchStatus::Uploaded],
        parent: None,
        before: None,
    };
    loop {
        let page = context.store.list_batches(&filter, PAGE).await?;
        let is_due = |batch: &&Batch| batch.expires_at().is_some_and(|due| due <= now);
        for batch in page.iter().filter(is_due) {
            // Refused if the batch was queued, or its file uploaded again, since the page was read.
            if context
                .store
                .change_batch(batch.id, &BatchChange::Expire { at: now })
                .await?
                .done()
                .is_some()
            {
                tracing::info!(batch.id = %batch.id, "batch {} expired unprocessed and is deleted", batch.id);
            }
        }
        filter.before = page.last().map(|b| b.id);
        if page.len() < PAGE {
            return Ok(());
        }
    }
}
