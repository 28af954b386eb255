//! Counts a batch: claim, fold, publish, mark, roll up, finish. Each step is a compare-and-set or may be
//! repeated, so a crash anywhere costs time and nothing else.

use std::collections::BTreeSet;

use crate::{
    job::{
        Done, WorkError,
        engine::runner::{Claimed, Runner},
    },
    model::{Batch, BatchChange, BatchId, BatchStatus, Counts, Day, Published, job::Phase},
    store::{Changed, Store},
};

use super::{claim, fold, rollup};

/// Partials written in one transaction, short enough that leases and seals need not wait.
const PARTIALS_AT_ONCE: usize = 256;
/// Days marked in one transaction.
const DAYS_AT_ONCE: usize = 500;

/// One run.
pub(crate) async fn run(
    runner: &Runner,
    claimed: &Claimed<'_>,
    id: BatchId,
) -> Result<Done, WorkError> {
    let token = claimed.token;
    let batch = match runner
        .store
        .change_batch(id, &BatchChange::Begin { token })
        .await?
    {
        Changed::Done(batch) => batch,
        Changed::Missing => return Ok(Done::Cancelled),
        Changed::Refused(_) => return not_wanted(runner, id).await,
    };
    let computed = batch.wanted;
    let published = match batch.published.clone() {
        // A run before this one came as far as to publish.
        Some(published) if published.computed == computed => published,
        before => publish(runner, claimed, &batch, before.as_ref()).await?,
    };
    let days = published.touched();
    mark(runner.store.as_ref(), &days).await?;
    for (done, day) in days.iter().enumerate() {
        claimed.at(Phase::Rollup, done as u64, days.len() as u64);
        rollup::roll_up(runner, *day).await?;
    }
    match runner
        .store
        .change_batch(id, &BatchChange::Finish { token, computed })
        .await?
    {
        Changed::Done(batch) if batch.status == BatchStatus::Completed => {
            while runner.store.sweep_partials(id).await? {}
            Ok(Done::Completed)
        }
        Changed::Done(_) => Ok(Done::Again),
        Changed::Refused(_) | Changed::Missing => not_wanted(runner, id).await,
    }
}

/// The batch is no longer queued or processing under this token: the job follows it.
async fn not_wanted(runner: &Runner, id: BatchId) -> Result<Done, WorkError> {
    let status = runner.store.batch(id).await?.map(|b| b.status);
    Ok(match status {
        Some(BatchStatus::Failed) => Done::GivenUp,
        Some(BatchStatus::Completed) => Done::Completed,
        Some(BatchStatus::Queued | BatchStatus::Processing) => Done::Again,
        None
        | Some(
            BatchStatus::Receiving
            | BatchStatus::Uploaded
            | BatchStatus::Deleting
            | BatchStatus::Deleted,
        ) => Done::Cancelled,
    })
}

/// Claims, folds, writes the partials under this token and lets the batch point to them.
async fn publish(
    runner: &Runner,
    claimed: &Claimed<'_>,
    batch: &Batch,
    before: Option<&Published>,
) -> Result<Published, WorkError> {
    let token = claimed.token;
    let lost = if batch.claims() {
        claim::claim_all(runner, claimed, batch).await?
    } else {
        claim::Lost::default()
    };
    let mut days = BTreeSet::new();
    let (mut seen, mut counted) = (0, 0);
    let mut from = Some(Day(i32::MIN));
    while let Some(start) = from {
        let (groups, rows, next) = fold::pass(runner, claimed, batch, &lost.rows, start).await?;
        for part in groups.chunks(PARTIALS_AT_ONCE) {
            runner.store.put_partials(batch.id, token, part).await?;
        }
        days.extend(groups.iter().map(|g| g.day));
        counted += groups.iter().map(|g| g.partial.count).sum::<u64>();
        (seen, from) = (rows, next);
    }
    let (duplicate, conflict) = lost.counts();
    let counts = Counts {
        inserted: seen,
        counted,
        duplicate,
        conflict,
    };
    check(batch, counts)?;
    let published = Published {
        computed: batch.wanted,
        token,
        counts,
        days: days.into_iter().collect(),
        prev_days: before.map(Published::touched).unwrap_or_default(),
        at: runner.clock.now(),
    };
    match runner
        .store
        .change_batch(batch.id, &BatchChange::Publish(published.clone()))
        .await?
    {
        Changed::Done(_) => Ok(published),
        Changed::Refused(_) | Changed::Missing => Err(WorkError::Superseded),
    }
}

/// Every stored event is counted, a duplicate or a conflict; figures that lose one are not published.
fn check(batch: &Batch, counts: Counts) -> Result<(), WorkError> {
    let stored = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let Counts {
        inserted,
        counted,
        duplicate,
        conflict,
    } = counts;
    if inserted == stored && inserted == counted + duplicate + conflict {
        return Ok(());
    }
    Err(WorkError::Inconsistent(format!(
        "batch {} has {stored} events, but {inserted} were read, {counted} counted, {duplicate} duplicate, {conflict} in conflict",
        batch.id
    )))
}

/// Asks for new figures of days.
pub(super) async fn mark(store: &dyn Store, days: &[Day]) -> Result<(), WorkError> {
    for part in days.chunks(DAYS_AT_ONCE) {
        store.mark_days(part).await?;
    }
    Ok(())
}
