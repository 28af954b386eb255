//! Removes what has expired: batches that were never processed, what tombstones left, old slots of the schedule.

use chrono::TimeDelta;

use crate::{
    job::{
        Done, WorkError,
        engine::runner::{Claimed, Runner},
    },
    model::{BatchChange, BatchId, BatchStatus, job::Phase},
    store::BatchFilter,
};

use super::undo::purge;

/// Batches read at once.
const PAGE: usize = 200;
/// A writer that was late by more than this would have outlived its lease many times over.
const LATE_WRITERS: TimeDelta = TimeDelta::hours(1);
/// How long settled slots of the schedule are remembered.
const SLOTS_KEPT: TimeDelta = TimeDelta::days(7);
/// How long the keys of requests are remembered.
const KEYS_KEPT: TimeDelta = TimeDelta::hours(24);

/// One run.
pub(crate) async fn run(runner: &Runner, claimed: &Claimed<'_>) -> Result<Done, WorkError> {
    expire(runner).await?;
    let mut purged = 0;
    loop {
        let left = runner
            .store
            .unpurged_batches(runner.clock.now() - LATE_WRITERS, PAGE)
            .await?;
        for id in &left {
            purge_tombstone(runner, *id).await?;
            purged += 1;
            claimed.at(Phase::Remove, purged, purged);
        }
        if left.len() < PAGE {
            break;
        }
    }
    while runner
        .store
        .prune_jobs(runner.clock.now() - SLOTS_KEPT)
        .await?
    {}
    while runner
        .store
        .prune_keys(runner.clock.now() - KEYS_KEPT)
        .await?
    {}
    while runner.store.prune_transfers(runner.clock.now()).await? {}
    Ok(Done::Completed)
}

async fn purge_tombstone(runner: &Runner, id: BatchId) -> Result<(), WorkError> {
    let late = runner.clock.now() - LATE_WRITERS;
    let due = runner.store.batch(id).await?.filter(|batch| {
        batch.purges == 0 || batch.purges == 1 && batch.deleted_at.is_some_and(|at| at < late)
    });
    // Another cleanup was here since the list was read: the second purge has to wait its hour.
    let Some(batch) = due else { return Ok(()) };
    purge(runner, id).await?;
    let purged = BatchChange::Purged {
        before: batch.purges,
    };
    runner.store.change_batch(id, &purged).await?;
    Ok(())
}

async fn expire(runner: &Runner) -> Result<(), WorkError> {
    let Some(kept) = runner.limits.batch_ttl else {
        return Ok(());
    };
    let now = runner.clock.now();
    let mut filter = BatchFilter {
        statuses: vec![BatchStatus::Uploaded],
        parent: None,
        before: None,
    };
    loop {
        let page = runner.store.list_batches(&filter, PAGE).await?;
        for batch in page.iter().filter(|b| b.created_at + kept <= now) {
            // Refused if it was asked for meanwhile.
            if runner
                .store
                .change_batch(batch.id, &BatchChange::Expire { at: now })
                .await?
                .done()
                .is_some()
            {
                tracing::info!(batch.id = %batch.id, "batch {} was never processed and is removed", batch.id);
            }
        }
        filter.before = page.last().map(|b| b.id);
        if page.len() < PAGE {
            return Ok(());
        }
    }
}
