//! Counts a batch: claim, fold, publish, mark, roll up, finish. Each step is a compare-and-set or may be repeated, so a
//! crash between any two costs time and changes no figure.

use std::collections::BTreeSet;

use super::{
    claim::{LostRows, claim_all},
    fold::fold_pass,
    rollup::roll_up,
};
use crate::{
    job::{JobContext, RunEnd, RunError},
    model::{Batch, BatchChange, BatchId, BatchStatus, Day, JobPhase, Published, RunCounts},
    store::{self, Changed, Store},
};

/// Partials written in one transaction: few enough that lease renewals and seals wait briefly.
const PARTIALS_AT_ONCE: usize = 256;
/// Days marked in one transaction.
const DAYS_AT_ONCE: usize = 500;

/// Runs the job of one batch.
pub(super) async fn run(context: &JobContext<'_>, id: BatchId) -> Result<RunEnd, RunError> {
    let token = context.token;
    let begin = BatchChange::Begin { token };
    let batch = match context.store.change_batch(id, &begin).await? {
        Changed::Done(batch) => batch,
        Changed::Missing => return Ok(RunEnd::Cancelled),
        Changed::Refused(_) => return end_by_status(context, id).await,
    };
    let computed = batch.wanted;
    let published = match batch.published.clone() {
        // An earlier run ended after it had published.
        Some(published) if published.computed == computed => published,
        before => publish(context, &batch, before.as_ref()).await?,
    };
    let days = published.touched();
    mark_days(context.store, &days).await?;
    for (done, day) in days.iter().enumerate() {
        let (done, total) = (done as u64, days.len() as u64);
        context.progress.report(JobPhase::Rollup, done, total);
        roll_up(context, *day).await?;
    }
    let finish = BatchChange::Finish { token, computed };
    match context.store.change_batch(id, &finish).await? {
        Changed::Done(batch) if batch.status == BatchStatus::Completed => {
            while context.store.drop_stale_partials(id).await? {}
            Ok(RunEnd::Completed)
        }
        Changed::Done(_) => Ok(RunEnd::MoreRequested),
        Changed::Refused(_) | Changed::Missing => end_by_status(context, id).await,
    }
}

/// Ends a run whose batch is no longer queued or processing under its token: the job follows the batch.
async fn end_by_status(context: &JobContext<'_>, id: BatchId) -> Result<RunEnd, RunError> {
    let end = end_without_run(context, id).await?;
    Ok(end.unwrap_or(RunEnd::MoreRequested))
}

/// Returns how the job of a batch ends that is not queued or processing; `None` for one that is.
pub(super) async fn end_without_run(
    context: &JobContext<'_>,
    id: BatchId,
) -> store::Result<Option<RunEnd>> {
    let status = context.store.batch(id).await?.map(|b| b.status);
    Ok(match status {
        Some(BatchStatus::Queued | BatchStatus::Processing) => None,
        Some(BatchStatus::Failed) => Some(RunEnd::Abandoned),
        Some(BatchStatus::Completed) => Some(RunEnd::Completed),
        None
        | Some(
            BatchStatus::Receiving
            | BatchStatus::Uploaded
            | BatchStatus::Deleting
            | BatchStatus::Deleted,
        ) => Some(RunEnd::Cancelled),
    })
}

/// Fails a batch whose job is abandoned. What is published stays in the figures, so its days are marked: a run may have
/// ended between its publication and its marks.
pub(super) async fn abandon(
    context: &JobContext<'_>,
    id: BatchId,
    reason: &str,
) -> store::Result<()> {
    let token = context.token;
    // A run that ended before it began has no fence under which the batch could fail.
    let begin = BatchChange::Begin { token };
    context.store.change_batch(id, &begin).await?;
    let published = context.store.batch(id).await?.and_then(|b| b.published);
    if let Some(published) = published {
        mark_days(context.store, &published.touched()).await?;
    }
    let reason = reason.to_owned();
    let fail = BatchChange::Fail { token, reason };
    context.store.change_batch(id, &fail).await?;
    Ok(())
}

/// Claims and folds the events, writes the partials under the run's token, and makes the batch point to them.
async fn publish(
    context: &JobContext<'_>,
    batch: &Batch,
    before: Option<&Published>,
) -> Result<Published, RunError> {
    let token = context.token;
    let lost = if batch.claims() {
        claim_all(context, batch).await?
    } else {
        LostRows::default()
    };
    let mut days = BTreeSet::new();
    let (mut inserted, mut counted) = (0, 0);
    let mut from = Some(Day(i32::MIN));
    while let Some(start) = from {
        let pass = fold_pass(context, batch, &lost.rows, start).await?;
        for part in pass.groups.chunks(PARTIALS_AT_ONCE) {
            context.store.put_partials(batch.id, token, part).await?;
        }
        days.extend(pass.groups.iter().map(|g| g.day));
        counted += pass.groups.iter().map(|g| g.partial.count).sum::<u64>();
        (inserted, from) = (pass.rows, pass.next);
    }
    let (duplicate, conflict) = lost.counts();
    let counts = RunCounts {
        inserted,
        counted,
        duplicate,
        conflict,
    };
    check_sums(batch, counts)?;
    let published = Published {
        computed: batch.wanted,
        token,
        counts,
        days: days.into_iter().collect(),
        prev_days: before.map(Published::touched).unwrap_or_default(),
        at: context.clock.now(),
    };
    let publish = BatchChange::Publish(published.clone());
    match context.store.change_batch(batch.id, &publish).await? {
        Changed::Done(_) => Ok(published),
        Changed::Refused(_) | Changed::Missing => Err(RunError::Superseded),
    }
}

/// Refuses to publish figures that lose an event: each stored event is counted, a duplicate or a conflict.
fn check_sums(batch: &Batch, counts: RunCounts) -> Result<(), RunError> {
    let stored = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let RunCounts {
        inserted,
        counted,
        duplicate,
        conflict,
    } = counts;
    if inserted == stored && inserted == counted + duplicate + conflict {
        return Ok(());
    }
    Err(RunError::Inconsistent(format!(
        "batch {} has {stored} events, but {inserted} were read, {counted} counted, {duplicate} duplicate, {conflict} in conflict",
        batch.id
    )))
}

/// Requests new figures of days.
pub(super) async fn mark_days(store: &dyn Store, days: &[Day]) -> store::Result<()> {
    for part in days.chunks(DAYS_AT_ONCE) {
        store.mark_days(part).await?;
    }
    Ok(())
}
