//! The scheduled verification (kind `reprocess`): folds published batches again in memory, compares the result with what
//! is published, and requests a recount where they differ. Writes no figures itself.

use std::collections::BTreeSet;

use roaring::RoaringBitmap;

use super::{
    claim::{DistinctClaims, sort_identities},
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
/// Partials read in one query: at most 4 KiB of sketch each.
const PARTIALS_PAGE: usize = 1_000;
/// Verifications that revive a job which died of errors.
const REVIVALS: u32 = 3;

/// What one verification found.
#[derive(Default)]
struct Findings {
    checked: u64,
    different: u64,
    unreadable: u64,
}

/// Runs one verification within its time budget. Batches that were not reached are first at the next one. A batch that
/// can't be read is a finding, and the others are still verified.
pub(super) async fn run(context: &JobContext<'_>, slot: Slot) -> Result<RunEnd, RunError> {
    let until = context.clock.elapsed() + context.limits.reprocess_budget;
    revive_dead_jobs(context).await?;
    // A slot ahead of the clock (which was set back) would select the same batches for ever.
    let since = Instant::from_timestamp(slot.0, 0)
        .unwrap_or_default()
        .min(context.clock.now());
    let mut findings = Findings::default();
    // Batches whose documents can't be changed, and so would be selected again and again.
    let mut unmarked = BTreeSet::new();
    loop {
        let limit = PAGE + unmarked.len();
        let mut page = context.store.unchecked_batches(since, limit).await?;
        page.retain(|id| !unmarked.contains(id));
        for id in &page {
            if context.clock.elapsed() >= until {
                findings.log("verification stopped at REPROCESS_BUDGET_SECONDS, the next one begins with the other batches");
                return Ok(RunEnd::Completed);
            }
            if !check_batch(context, *id, &mut findings).await? {
                unmarked.insert(*id);
            }
            let checked = findings.checked;
            context.progress.report(JobPhase::Check, checked, checked);
        }
        if page.is_empty() {
            findings.log("verification is complete");
            return Ok(RunEnd::Completed);
        }
    }
}

impl Findings {
    fn log(&self, end: &str) {
        let Self {
            checked,
            different,
            unreadable,
        } = self;
        tracing::info!(
            checked,
            different,
            unreadable,
            "{end}: {checked} batches checked, {different} different, {unreadable} unreadable"
        );
    }
}

async fn revive_dead_jobs(context: &JobContext<'_>) -> Result<(), RunError> {
    let mut after = None;
    loop {
        let page = context.store.jobs_in(JobState::Dead, after, PAGE).await?;
        for job in &page {
            match revive(context, job).await {
                // One damaged document must not keep the others from being revived.
                Err(RunError::Store(error)) if error.is_of_document() => {
                    tracing::error!(job.id = %job.id, %error, "dead job {} could not be revived", job.id);
                }
                revived => revived?,
            }
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

/// Verifies one batch and records that it did. Returns false if the batch could not be marked.
async fn check_batch(
    context: &JobContext<'_>,
    id: BatchId,
    findings: &mut Findings,
) -> Result<bool, RunError> {
    findings.checked += 1;
    let done = async {
        compare(context, id, findings).await?;
        // A run that lost its lease may have written partials after the last removal for this batch.
        while context.store.drop_stale_partials(id).await? {}
        let checked = BatchChange::Checked {
            at: context.clock.now(),
        };
        context.store.change_batch(id, &checked).await?;
        Ok(())
    };
    match done.await {
        Ok(()) => Ok(true),
        // The store is away, or the disk is full: no batch can be verified now.
        Err(
            error @ (RunError::Store(StoreError::Unavailable { .. } | StoreError::Blocked { .. })
            | RunError::Sort(_)),
        ) => Err(error),
        Err(error) => {
            findings.unreadable += 1;
            tracing::error!(batch.id = %id, %error, "batch {id} could not be verified, its published figures stay");
            Ok(false)
        }
    }
}

/// Compares the published figures of a batch with its events, and requests a recount if they differ. Damaged or missing
/// events are noticed by that recount too: it publishes nothing, and its job is a dead letter.
async fn compare(
    context: &JobContext<'_>,
    id: BatchId,
    findings: &mut Findings,
) -> Result<(), RunError> {
    let Some(batch) = completed(context, id).await? else {
        return Ok(());
    };
    let Some(published) = &batch.published else {
        return Ok(());
    };
    let difference = match difference(context, &batch, published).await {
        Err(RunError::Store(error @ (StoreError::Missing { .. } | StoreError::Corrupt { .. }))) => {
            findings.unreadable += 1;
            Some(error.to_string())
        }
        other => {
            let difference = other?;
            findings.different += u64::from(difference.is_some());
            difference
        }
    };
    // A batch that was published again meanwhile was compared with the wrong partials.
    let is_unchanged = completed(context, id).await?.is_some_and(|now| {
        now.published
            .as_ref()
            .is_some_and(|p| p.token == published.token)
    });
    match difference {
        Some(difference) if is_unchanged => request_recount(context, id, &difference).await,
        Some(_) | None => Ok(()),
    }
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
    let lost = lost_rows(context, batch).await?;
    let mut stored = PublishedPartials::new(context, batch.id, published.token);
    let mut from = Some(Day(i32::MIN));
    while let Some(start) = from {
        let pass = fold_pass(context, batch, &lost, start).await?;
        for new in &pass.groups {
            let Some(old) = stored.next().await? else {
                return Ok(Some("there are more groups in the events".into()));
            };
            if !is_same(new, &old) {
                let (new_count, old_count) = (new.partial.count, old.partial.count);
                return Ok(Some(format!(
                    "{} `{}`: {new_count} events, {old_count} published",
                    new.day, new.event_type
                )));
            }
        }
        from = pass.next;
    }
    let rest = stored.next().await?;
    Ok(rest.map(|_| "there are fewer groups in the events".into()))
}

/// Reads the published partials of a batch in order, a page at a time.
struct PublishedPartials<'a> {
    context: &'a JobContext<'a>,
    batch: BatchId,
    token: i64,
    page: std::vec::IntoIter<Group>,
    /// The last group of the page, if it is full.
    after: Option<(Day, String)>,
    is_last: bool,
}

impl<'a> PublishedPartials<'a> {
    fn new(context: &'a JobContext<'a>, batch: BatchId, token: i64) -> Self {
        Self {
            context,
            batch,
            token,
            page: Vec::new().into_iter(),
            after: None,
            is_last: false,
        }
    }

    async fn next(&mut self) -> Result<Option<Group>, RunError> {
        if let Some(group) = self.page.next() {
            return Ok(Some(group));
        }
        if self.is_last {
            return Ok(None);
        }
        let after = self.after.as_ref();
        let after = after.map(|(day, event_type)| (*day, event_type.as_str()));
        let page = self
            .context
            .store
            .partials(self.batch, self.token, after, PARTIALS_PAGE)
            .await?;
        self.is_last = page.len() < PARTIALS_PAGE;
        self.after = page.last().map(|last| (last.day, last.event_type.clone()));
        self.page = page.into_iter();
        Ok(self.page.next())
    }
}

fn is_same(new: &Group, old: &Group) -> bool {
    (new.day, &new.event_type) == (old.day, &old.event_type)
        && new.partial.same_figures(&old.partial)
}

/// Returns the rows whose identity the batch does not hold.
async fn lost_rows(context: &JobContext<'_>, batch: &Batch) -> Result<RoaringBitmap, RunError> {
    let mut lost = RoaringBitmap::new();
    if batch.claims() {
        let records = sort_identities(context, batch).await?;
        let mut distinct = DistinctClaims::new(records, context.limits.claims_at_once);
        loop {
            let page;
            (page, distinct) = distinct.next_page().await?;
            if page.claims.is_empty() {
                break;
            }
            for index in context.store.unowned_claims(batch.id, &page.claims).await? {
                lost.insert(page.claims[index].row);
            }
            lost.extend(page.repeats.iter().map(|repeat| repeat.row));
        }
    }
    Ok(lost)
}
