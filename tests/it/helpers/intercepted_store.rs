//! A store that calls an interceptor before each verb of the store behind it, and can break one rule of the protocol.

mod requests;

use std::sync::Arc;

use async_trait::async_trait;
use tallymill::{
    metric::{DayFigures, Group},
    model::{
        Batch, BatchChange, BatchId, BatchStatus, Columns, Day, IdentityKey, Instant, Job,
        JobChange, JobId, JobState, Receipt, Rejection, RunOutcome,
    },
    store::{
        AuditEntry, AuditStore, BatchFilter, BatchStore, Changed, Claim, ClaimStore, DayState,
        EventFile, EventFilter, EventPage, EventPosition, EventScan, EventStore, EventTimeFilter,
        EventWriter, ForeignClaim, JobStore, MetricStore, Overlap, Projection, RejectionStore,
        Result, Sealed, Store, StoredDay,
    },
};

use super::{
    interceptor::{Observation, VerbInterceptor},
    mutant::{Memory, Mutant},
};

/// The store as one actor sees it.
pub(crate) struct InterceptedStore {
    pub(super) inner: Arc<dyn Store>,
    pub(super) gate: Arc<dyn VerbInterceptor>,
    pub(super) mutant: Option<Mutant>,
    pub(super) memory: Memory,
}

impl InterceptedStore {
    pub(crate) fn new(
        inner: Arc<dyn Store>,
        gate: Arc<dyn VerbInterceptor>,
        mutant: Option<Mutant>,
    ) -> Self {
        Self {
            inner,
            gate,
            mutant,
            memory: Memory::default(),
        }
    }

    pub(super) fn broken(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    fn saw_batch(&self, change: &BatchChange, before: Option<&Batch>, now: &Changed<Batch>) {
        let processing = before.is_some_and(|b| b.status == BatchStatus::Processing);
        match (change, now) {
            (BatchChange::Undo, Changed::Done(_)) if processing => {
                self.gate.observed(Observation::UndoWhileProcessing);
            }
            (BatchChange::Publish(_), Changed::Refused(_)) => {
                self.gate.observed(Observation::PublishRefused)
            }
            (BatchChange::Recount, Changed::Done(_)) => self.gate.observed(Observation::Recount),
            (BatchChange::Begin { .. }, Changed::Done(batch))
                if batch
                    .published
                    .as_ref()
                    .is_some_and(|p| p.computed == batch.wanted) =>
            {
                self.gate.observed(Observation::Resumed);
            }
            _ => {}
        }
    }

    fn saw_job(&self, change: &JobChange, now: &Changed<Job>) {
        let seen = match (change, now) {
            (JobChange::Settle { .. }, Changed::Refused(_)) => Observation::SettleRefused,
            (JobChange::Expire { .. }, Changed::Done(_)) => Observation::Expire,
            (JobChange::Settle { outcome, .. }, Changed::Done(_)) => match outcome {
                RunOutcome::Retry { .. } => Observation::Retry,
                RunOutcome::Dead { .. } => Observation::Dead,
                RunOutcome::Released => Observation::Released,
                RunOutcome::Completed
                | RunOutcome::MoreRequested
                | RunOutcome::Delay { .. }
                | RunOutcome::Cancelled => return,
            },
            _ => return,
        };
        self.gate.observed(seen);
    }
}

#[async_trait]
impl BatchStore for InterceptedStore {
    async fn create_batch(&self, batch: &Batch) -> Result<()> {
        self.gate.before_verb("create_batch").await?;
        self.inner.create_batch(batch).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>> {
        self.gate.before_verb("batch").await?;
        let mut found = self.inner.batch(id).await?;
        if let Some(batch) = &mut found {
            self.mislead(batch).await?;
        }
        Ok(found)
    }

    async fn change_batch(&self, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>> {
        self.gate.before_verb("change_batch").await?;
        let before = match change {
            BatchChange::Undo => self.inner.batch(id).await?,
            _ => None,
        };
        let now = self.change_broken(id, change).await?;
        self.saw_batch(change, before.as_ref(), &now);
        Ok(now)
    }

    async fn seal(&self, id: BatchId, receipt: Receipt, content: [u8; 32]) -> Result<Sealed> {
        self.gate.before_verb("seal").await?;
        let sealed = self.seal_broken(id, receipt, content).await?;
        if matches!(sealed, Sealed::DuplicateOf(_)) {
            self.gate.observed(Observation::Reupload);
        }
        Ok(sealed)
    }

    async fn list_batches(&self, filter: &BatchFilter, limit: usize) -> Result<Vec<Batch>> {
        self.gate.before_verb("list_batches").await?;
        if self.hides(filter) {
            return Ok(Vec::new());
        }
        self.inner.list_batches(filter, limit).await
    }

    async fn batches_by_event_time(
        &self,
        filter: &EventTimeFilter,
        limit: usize,
    ) -> Result<Vec<(i64, BatchId)>> {
        self.gate.before_verb("batches_by_event_time").await?;
        self.inner.batches_by_event_time(filter, limit).await
    }

    async fn unchecked_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        self.gate.before_verb("unchecked_batches").await?;
        self.inner.unchecked_batches(before, limit).await
    }

    async fn unpurged_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        self.gate.before_verb("unpurged_batches").await?;
        self.inner.unpurged_batches(before, limit).await
    }

    async fn prune_tombstones(&self, before: Instant) -> Result<bool> {
        self.inner.prune_tombstones(before).await
    }
}

#[async_trait]
impl EventStore for InterceptedStore {
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>> {
        self.gate.before_verb("write_events").await?;
        self.inner.write_events(id, columns).await
    }

    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>> {
        self.gate.before_verb("scan_events").await?;
        self.begin_pass().await?;
        self.inner.scan_events(id, projection).await
    }

    async fn find_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<EventPage> {
        self.gate.before_verb("find_events").await?;
        self.inner.find_events(id, filter, after, limit).await
    }

    async fn event_file(&self, id: BatchId) -> Result<EventFile> {
        self.gate.before_verb("event_file").await?;
        self.inner.event_file(id).await
    }

    async fn drop_events(&self, id: BatchId) -> Result<()> {
        self.gate.before_verb("drop_events").await?;
        self.inner.drop_events(id).await
    }
}

#[async_trait]
impl RejectionStore for InterceptedStore {
    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
        self.gate.before_verb("append_rejections").await?;
        self.inner.append_rejections(id, rejections).await
    }

    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>> {
        self.gate.before_verb("rejections").await?;
        self.inner.rejections(id, after, limit).await
    }

    async fn drop_rejections(&self, id: BatchId) -> Result<bool> {
        self.gate.before_verb("drop_rejections").await?;
        self.inner.drop_rejections(id).await
    }
}

#[async_trait]
impl ClaimStore for InterceptedStore {
    async fn claim(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<ForeignClaim>> {
        // One key at a time, so that others may step in between.
        let mut held = Vec::new();
        for (index, claim) in claims.iter().enumerate() {
            self.gate.before_verb("claim").await?;
            let of_one = self.inner.claim(id, &[*claim]).await?;
            if of_one.iter().any(|h| h.owner != id) {
                self.gate.observed(Observation::LostClaim);
            }
            held.extend(of_one.into_iter().map(|h| ForeignClaim { index, ..h }));
        }
        Ok(held)
    }

    async fn take_over(
        &self,
        id: BatchId,
        from: BatchId,
        claims: &[Claim],
    ) -> Result<Vec<ForeignClaim>> {
        self.gate.before_verb("take_over").await?;
        let held = self.inner.take_over(id, from, claims).await?;
        if held.len() < claims.len() {
            self.gate.observed(Observation::TakeOver);
        }
        Ok(held)
    }

    async fn release(&self, id: BatchId, keys: &[IdentityKey]) -> Result<()> {
        for key in keys {
            self.gate.before_verb("release").await?;
            self.inner.release(id, &[*key]).await?;
        }
        Ok(())
    }

    async fn put_overlaps(&self, overlaps: &[Overlap]) -> Result<()> {
        self.gate.before_verb("put_overlaps").await?;
        self.put_overlaps_broken(overlaps).await
    }

    async fn overlaps_of_loser(
        &self,
        loser: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        self.gate.before_verb("overlaps_of_loser").await?;
        self.inner.overlaps_of_loser(loser, after, limit).await
    }

    async fn overlaps_of_owner(
        &self,
        owner: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        self.gate.before_verb("overlaps_of_owner").await?;
        self.inner.overlaps_of_owner(owner, after, limit).await
    }

    async fn unowned_claims(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<usize>> {
        self.gate.before_verb("unowned_claims").await?;
        self.inner.unowned_claims(id, claims).await
    }

    async fn drop_overlaps(&self, id: BatchId) -> Result<()> {
        self.gate.before_verb("drop_overlaps").await?;
        self.inner.drop_overlaps(id).await
    }
}

#[async_trait]
impl MetricStore for InterceptedStore {
    async fn put_partials(&self, id: BatchId, token: i64, groups: &[Group]) -> Result<()> {
        for group in groups {
            self.gate.before_verb("put_partials").await?;
            self.put_partial_broken(id, token, group).await?;
        }
        Ok(())
    }

    async fn partials(
        &self,
        id: BatchId,
        token: i64,
        after: Option<(Day, &str)>,
        limit: usize,
    ) -> Result<Vec<Group>> {
        self.gate.before_verb("partials").await?;
        self.inner.partials(id, token, after, limit).await
    }

    async fn drop_stale_partials(&self, id: BatchId) -> Result<bool> {
        self.gate.before_verb("drop_stale_partials").await?;
        self.drop_stale_partials_broken(id).await
    }

    async fn mark_days(&self, days: &[Day]) -> Result<()> {
        if self.marks_nothing() || self.delays_marks(days) {
            return Ok(());
        }
        for day in days {
            self.gate.before_verb("mark_days").await?;
            self.inner.mark_days(&[*day]).await?;
        }
        Ok(())
    }

    async fn day(&self, day: Day) -> Result<DayState> {
        self.gate.before_verb("day").await?;
        self.mark_late_days().await?;
        self.inner.day(day).await
    }

    async fn fold_day(&self, day: Day) -> Result<DayFigures> {
        self.gate.before_verb("fold_day").await?;
        self.inner.fold_day(day).await
    }

    async fn replace_day(
        &self,
        day: Day,
        computed: i64,
        at: Instant,
        figures: &DayFigures,
    ) -> Result<bool> {
        self.gate.before_verb("replace_day").await?;
        let computed = self.answered(day, computed).await?;
        self.inner.replace_day(day, computed, at, figures).await
    }

    async fn days(
        &self,
        from: Day,
        to: Day,
        event_type: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDay>> {
        self.gate.before_verb("days").await?;
        self.inner.days(from, to, event_type, limit).await
    }

    async fn stale_days(&self, after: Option<Day>, limit: usize) -> Result<Vec<Day>> {
        self.gate.before_verb("stale_days").await?;
        if self.hides_days() {
            return Ok(Vec::new());
        }
        self.inner.stale_days(after, limit).await
    }
}

#[async_trait]
impl JobStore for InterceptedStore {
    async fn add_job(&self, id: JobId, now: Instant) -> Result<()> {
        self.gate.before_verb("add_job").await?;
        self.inner.add_job(id, now).await
    }

    async fn arm(&self, id: JobId, now: Instant) -> Result<Job> {
        self.gate.before_verb("arm").await?;
        self.inner.arm(id, now).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.gate.before_verb("job").await?;
        self.inner.job(id).await
    }

    async fn change_job(
        &self,
        id: JobId,
        change: &JobChange,
        now: Instant,
    ) -> Result<Changed<Job>> {
        self.gate.before_verb("change_job").await?;
        let changed = self.inner.change_job(id, change, now).await?;
        self.remember(id, change);
        self.saw_job(change, &changed);
        Ok(changed)
    }

    async fn due_jobs(&self, now: Instant, limit: usize) -> Result<Vec<JobId>> {
        self.gate.before_verb("due_jobs").await?;
        self.inner.due_jobs(now, limit).await
    }

    async fn jobs_in(
        &self,
        state: JobState,
        after: Option<(Instant, JobId)>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        self.gate.before_verb("jobs_in").await?;
        if self.hides_jobs(state) {
            return Ok(Vec::new());
        }
        self.inner.jobs_in(state, after, limit).await
    }

    async fn count_jobs(&self, state: JobState) -> Result<u64> {
        self.gate.before_verb("count_jobs").await?;
        self.inner.count_jobs(state).await
    }

    async fn prune_jobs(&self, before: Instant) -> Result<bool> {
        self.gate.before_verb("prune_jobs").await?;
        self.inner.prune_jobs(before).await
    }
}

#[async_trait]
impl AuditStore for InterceptedStore {
    async fn record_audit(&self, entry: &AuditEntry) -> Result<()> {
        self.gate.before_verb("record_audit").await?;
        self.inner.record_audit(entry).await
    }

    async fn prune_audit(&self, before: Instant) -> Result<bool> {
        self.inner.prune_audit(before).await
    }
}
