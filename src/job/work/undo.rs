//! Takes a batch away: its days are recomputed, what it had claimed goes to those that had lost it,
//! its events go last, for the claims are found through them.

use crate::{
    job::{
        Done, WorkError,
        engine::runner::{Claimed, Runner},
    },
    model::{Batch, BatchChange, BatchId, BatchStatus, JobId, job::Phase},
    store::StoreError,
};

use super::{
    claim::{Distinct, Lost, identities},
    process::mark,
    rollup::roll_up,
};

/// Losers read at once.
const PAGE: usize = 200;

/// One run.
pub(crate) async fn run(
    runner: &Runner,
    claimed: &Claimed<'_>,
    id: BatchId,
) -> Result<Done, WorkError> {
    let Some(batch) = runner
        .store
        .batch(id)
        .await?
        .filter(|b| b.status == BatchStatus::Deleting)
    else {
        return Ok(Done::Completed);
    };
    mark(runner.store.as_ref(), &batch.undo_days).await?;
    requeue_losers(runner, id).await?;
    if batch.claims() {
        release(runner, claimed, &batch).await?;
    }
    for (done, day) in batch.undo_days.iter().enumerate() {
        claimed.at(Phase::Rollup, done as u64, batch.undo_days.len() as u64);
        roll_up(runner, *day).await?;
    }
    purge(runner, id).await?;
    runner
        .store
        .change_batch(
            id,
            &BatchChange::Bury {
                at: runner.clock.now(),
            },
        )
        .await?;
    Ok(Done::Completed)
}

async fn requeue_losers(runner: &Runner, id: BatchId) -> Result<(), WorkError> {
    let mut after = None;
    loop {
        let losers = runner.store.losers(id, after, PAGE).await?;
        for loser in losers.iter().map(|o| o.loser).filter(|loser| *loser != id) {
            // Gone, or never processed: nothing to recount.
            let recounted = runner
                .store
                .change_batch(loser, &BatchChange::Recount)
                .await?
                .done();
            if recounted.is_some_and(|b| b.status == BatchStatus::Queued) {
                runner.desk.arm(JobId::Process(loser)).await?;
            }
        }
        after = losers.last().map(|o| o.loser);
        if losers.len() < PAGE {
            return Ok(());
        }
    }
}

async fn release(runner: &Runner, claimed: &Claimed<'_>, batch: &Batch) -> Result<(), WorkError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let records = match identities(runner, claimed, batch).await {
        // Removed by a run before this one, or past reading: what is left claimed is taken over by whoever asks.
        Err(WorkError::Store(StoreError::Missing { .. } | StoreError::Corrupt { .. })) => {
            return Ok(());
        }
        other => other?,
    };
    let mut distinct = Distinct::new(records, runner.limits.claims_at_once, batch.id);
    let mut done = 0;
    loop {
        let keys: Vec<_> = distinct
            .next(&mut Lost::default())?
            .into_iter()
            .map(|claim| claim.key)
            .collect();
        if keys.is_empty() {
            return Ok(());
        }
        runner.store.release(batch.id, &keys).await?;
        done += keys.len() as u64;
        claimed.at(Phase::Remove, done, total);
    }
}

/// Removes what a void batch wrote, the events last.
pub(super) async fn purge(runner: &Runner, id: BatchId) -> Result<(), WorkError> {
    while runner.store.sweep_partials(id).await? {}
    while runner.store.drop_rejections(id).await? {}
    // A loser that writes its overlap later looks at the owner again, finds it void, and claims.
    runner.store.drop_overlaps(id).await?;
    runner.store.drop_events(id).await?;
    Ok(())
}
