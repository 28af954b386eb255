//! The scheduled verification (kind `reprocess`): folds published batches again in memory, compares the result with what
//! is published, and requests a recount where they differ. Writes no figures itself.

use roaring::RoaringBitmap;

use super::{
    claim::{DistinctClaims, LostRows, sort_identities},
    fold::fold_pass,
};
use crate::{
    job::{JobContext, RunEnd, RunError},
    metric::Group,
    model::{
        Batch, BatchChange, BatchId, BatchStatus, Day, Instant, Job, JobChange, JobId, JobPhase,
        JobState, Published, Slot,
    },
    store::StoreError,
};

/// Documents read in one query.
const PAGE: usize = 100;
/// Verifications that revive a job which died of errors.
const REVIVALS: u32 = 3;

/// Runs one verification within its time budget. Batches that were not reached are first at the next one.
pub(super) async fn run(context: &JobContext<'_>, slot: Slot) -> Result<RunEnd, RunError> {
    let until = context.clock.elapsed() + context.limits.reprocess_budget;
    revive_dead_jobs(context).await?;
    // A slot ahead of the clock (which was set back) would select the same batches for ever.
    let since = Instant::from_timestamp(slot.0, 0)
        .unwrap_or_default()
        .min(context.clock.now());
    let mut checked = 0;
    loop {
        let page = context.store.unchecked_batches(since, PAGE).await?;
        for id in &page {
            if context.clock.elapsed() >= until {
                tracing::info!(
                    checked,
                    "verification stopped at REPROCESS_BUDGET_SECONDS, the next one begins with the other batches"
                );
                return Ok(RunEnd::Completed);
            }
            check_batch(context, *id).await?;
            checked += 1;
            context.progress.report(JobPhase::Check, checked, checked);
        }
        if page.is_empty() {
            return Ok(RunEnd::Completed);
        }
    }
}

async fn revive_dead_jobs(context: &JobContext<'_>) -> Result<(), RunError> {
    let mut after = None;
    loop {
        let page = context.store.jobs_in(JobState::Dead, after, PAGE).await?;
        for job in &page {
            revive(context, job).await?;
        }
        after = page.last().map(|j| (j.changed_at, j.id));
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

async fn revive(context: &JobContext<'_>, job: &Job) -> Result<(), RunError> {
    let now = context.clock.now();
    let revive = JobChange::Revive { most: REVIVALS };
    if job.after(&revive, now).is_err() {
        return Ok(());
    }
    if let JobId::Process(id) = job.id {
        let revive = BatchChange::Revive;
        context.store.change_batch(id, &revive).await?;
    }
    let revived = context.store.change_job(job.id, &revive, now).await?;
    if revived.done().is_some() {
        context.jobs.nudge(job.id).await;
    }
    Ok(())
}

async fn check_batch(context: &JobContext<'_>, id: BatchId) -> Result<(), RunError> {
    if let Some(batch) = completed(context, id).await?
        && let Some(published) = &batch.published
    {
        let difference = difference(context, &batch, published).await?;
        // A batch that was published again meanwhile was compared with the wrong partials.
        let is_unchanged = completed(context, id).await?.is_some_and(|now| {
            now.published
                .as_ref()
                .is_some_and(|p| p.token == published.token)
        });
        if let (true, Some(difference)) = (is_unchanged, difference) {
            request_recount(context, id, &difference).await?;
        }
    }
    // A run that lost its lease may have written partials after the last removal for this batch.
    while context.store.drop_stale_partials(id).await? {}
    let checked = BatchChange::Checked {
        at: context.clock.now(),
    };
    context.store.change_batch(id, &checked).await?;
    Ok(())
}

async fn request_recount(
    context: &JobContext<'_>,
    id: BatchId,
    difference: &str,
) -> Result<(), RunError> {
    tracing::error!(batch.id = %id, difference, "published figures of batch {id} differ from its events, it is counted again");
    let recount = BatchChange::Recount;
    let changed = context.store.change_batch(id, &recount).await?;
    if changed.done().is_some() {
        context.jobs.arm(JobId::Process(id)).await?;
    }
    Ok(())
}

async fn completed(context: &JobContext<'_>, id: BatchId) -> Result<Option<Batch>, RunError> {
    Ok(context
        .store
        .batch(id)
        .await?
        .filter(|b| b.status == BatchStatus::Completed))
}

/// Returns the first difference between the published figures and the events.
async fn difference(
    context: &JobContext<'_>,
    batch: &Batch,
    published: &Published,
) -> Result<Option<String>, RunError> {
    let lost = match lost_rows(context, batch).await {
        Err(RunError::Store(StoreError::Missing { what })) => {
            return Ok(Some(format!("{what} is missing")));
        }
        other => other?,
    };
    let partials = context.store.partials(batch.id, published.token).await?;
    let mut rest = partials.as_slice();
    let mut from = Some(Day(i32::MIN));
    while let Some(start) = from {
        let pass = fold_pass(context, batch, &lost, start).await?;
        let Some((head, tail)) = rest.split_at_checked(pass.groups.len()) else {
            return Ok(Some("there are more groups in the events".into()));
        };
        let mut pairs = pass.groups.iter().zip(head);
        if let Some((new, old)) = pairs.find(|(new, old)| !is_same(new, old)) {
            let (new_count, old_count) = (new.partial.count, old.partial.count);
            return Ok(Some(format!(
                "{} `{}`: {new_count} events, {old_count} published",
                new.day, new.event_type
            )));
        }
        (rest, from) = (tail, pass.next);
    }
    Ok((!rest.is_empty()).then(|| "there are fewer groups in the events".into()))
}

fn is_same(new: &Group, old: &Group) -> bool {
    (new.day, &new.event_type) == (old.day, &old.event_type)
        && new.partial.same_figures(&old.partial)
}

/// Returns the rows whose identity the batch does not hold.
async fn lost_rows(context: &JobContext<'_>, batch: &Batch) -> Result<RoaringBitmap, RunError> {
    let mut lost = LostRows::default();
    if batch.claims() {
        let records = sort_identities(context, batch).await?;
        let mut distinct = DistinctClaims::new(records, context.limits.claims_at_once, batch.id);
        loop {
            let claims = distinct.next(&mut lost)?;
            if claims.is_empty() {
                break;
            }
            for index in context.store.unowned_claims(batch.id, &claims).await? {
                lost.rows.insert(claims[index].row);
            }
        }
    }
    Ok(lost.rows)
}
