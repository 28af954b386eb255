//! The midnight check: refolds published batches in memory, compares with what is published, and asks for
//! a recount where they differ. Writes no figures itself.

use roaring::RoaringBitmap;

use crate::{
    job::{
        Done, WorkError,
        engine::runner::{Claimed, Runner},
    },
    metric::Group,
    model::{
        Batch, BatchChange, BatchId, BatchStatus, Day, Instant, Job, JobChange, JobId, JobState,
        Published, Slot, job::Phase,
    },
    store::StoreError,
};

use super::{
    claim::{Distinct, Lost, identities},
    fold,
};

/// Documents read at once.
const PAGE: usize = 100;
/// Nights on which a job that died of errors is tried again.
const NIGHTS: u32 = 3;

/// One run, within its budget; batches that were not reached are first the next night.
pub(crate) async fn run(
    runner: &Runner,
    claimed: &Claimed<'_>,
    slot: Slot,
) -> Result<Done, WorkError> {
    let until = runner.clock.elapsed() + runner.limits.reprocess_budget;
    revive_dead(runner).await?;
    // A slot ahead of the clock (it was set back) must not check the same batch for ever.
    let since = Instant::from_timestamp(slot.0, 0)
        .unwrap_or_default()
        .min(runner.clock.now());
    let mut checked = 0;
    loop {
        let page = runner.store.unchecked_batches(since, PAGE).await?;
        for id in &page {
            if runner.clock.elapsed() >= until {
                tracing::info!(
                    checked,
                    "the nightly check used its time; the rest comes first the next night"
                );
                return Ok(Done::Completed);
            }
            check(runner, claimed, *id).await?;
            checked += 1;
            claimed.at(Phase::Check, checked, checked);
        }
        if page.is_empty() {
            return Ok(Done::Completed);
        }
    }
}

async fn revive_dead(runner: &Runner) -> Result<(), WorkError> {
    let mut after = None;
    loop {
        let page = runner.store.jobs_in(JobState::Dead, after, PAGE).await?;
        for job in &page {
            revive(runner, job).await?;
        }
        after = page.last().map(|j| (j.changed_at, j.id));
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

async fn revive(runner: &Runner, job: &Job) -> Result<(), WorkError> {
    let revive = JobChange::Revive { nights: NIGHTS };
    if job.after(&revive, runner.clock.now()).is_err() {
        return Ok(());
    }
    if let JobId::Process(id) = job.id {
        runner.store.change_batch(id, &BatchChange::Revive).await?;
    }
    if runner
        .store
        .change_job(job.id, &revive, runner.clock.now())
        .await?
        .done()
        .is_some()
    {
        runner.desk.nudge(job.id).await;
    }
    Ok(())
}

async fn check(runner: &Runner, claimed: &Claimed<'_>, id: BatchId) -> Result<(), WorkError> {
    if let Some(batch) = settled(runner, id).await?
        && let Some(published) = &batch.published
    {
        let difference = difference(runner, claimed, &batch, published).await?;
        // Only if nothing has happened meanwhile is a difference one.
        let same = settled(runner, id).await?.is_some_and(|now| {
            now.published
                .as_ref()
                .is_some_and(|p| p.token == published.token)
        });
        if let (true, Some(what)) = (same, difference) {
            tracing::error!(batch.id = %id, what, "the figures of batch {id} are not those of its events: counting it anew");
            if runner
                .store
                .change_batch(id, &BatchChange::Recount)
                .await?
                .done()
                .is_some()
            {
                runner.desk.arm(JobId::Process(id)).await?;
            }
        }
    }
    // What a run that was overtaken wrote after the last sweep of this batch.
    while runner.store.sweep_partials(id).await? {}
    runner
        .store
        .change_batch(
            id,
            &BatchChange::Checked {
                at: runner.clock.now(),
            },
        )
        .await?;
    Ok(())
}

async fn settled(runner: &Runner, id: BatchId) -> Result<Option<Batch>, WorkError> {
    Ok(runner
        .store
        .batch(id)
        .await?
        .filter(|b| b.status == BatchStatus::Completed))
}

/// What differs between the published figures and the events, if anything does.
async fn difference(
    runner: &Runner,
    claimed: &Claimed<'_>,
    batch: &Batch,
    published: &Published,
) -> Result<Option<String>, WorkError> {
    let lost = match lost_rows(runner, claimed, batch).await {
        Err(WorkError::Store(StoreError::Missing { what })) => {
            return Ok(Some(format!("{what} is missing")));
        }
        other => other?,
    };
    let kept = runner.store.partials(batch.id, published.token).await?;
    let mut rest = kept.as_slice();
    let mut from = Some(Day(i32::MIN));
    while let Some(start) = from {
        let (groups, _, next) = fold::pass(runner, claimed, batch, &lost, start).await?;
        let Some((head, tail)) = rest.split_at_checked(groups.len()) else {
            return Ok(Some("there are more groups in the events".into()));
        };
        if let Some((new, old)) = groups.iter().zip(head).find(|(new, old)| !same(new, old)) {
            let (new_count, old_count) = (new.partial.count, old.partial.count);
            return Ok(Some(format!(
                "{} `{}`: {new_count} events, {old_count} published",
                new.day, new.event_type
            )));
        }
        (rest, from) = (tail, next);
    }
    Ok((!rest.is_empty()).then(|| "there are fewer groups in the events".into()))
}

fn same(new: &Group, old: &Group) -> bool {
    (new.day, &new.event_type) == (old.day, &old.event_type)
        && new.partial.same_figures(&old.partial)
}

/// The rows whose identity the batch does not hold.
async fn lost_rows(
    runner: &Runner,
    claimed: &Claimed<'_>,
    batch: &Batch,
) -> Result<RoaringBitmap, WorkError> {
    let mut lost = Lost::default();
    if batch.claims() {
        let records = identities(runner, claimed, batch).await?;
        let mut distinct = Distinct::new(records, runner.limits.claims_at_once, batch.id);
        loop {
            let claims = distinct.next(&mut lost)?;
            if claims.is_empty() {
                break;
            }
            for index in runner.store.not_held(batch.id, &claims).await? {
                lost.rows.insert(claims[index].row);
            }
        }
    }
    Ok(lost.rows)
}
