//! A store in front of a store: asks a gate before each verb, and can break one rule of the protocol.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use tallymill::{
    metric::{DayFigures, Group},
    model::{
        Batch, BatchChange, BatchId, BatchStatus, Columns, Day, IdentityKey, Instant, Job,
        JobChange, JobId, JobState, Receipt, Rejection,
    },
    store::{
        AuditEntry, BatchFilter, BatchStore, Changed, Claim, ClaimStore, DayState, EventScan,
        EventStore, EventWriter, Held, JobStore, MetricStore, Overlap, Projection, Result, Sealed,
        Store, StoredDay,
    },
};

/// Asked before each verb: may wait, may refuse.
#[async_trait]
pub(crate) trait Gate: Send + Sync {
    async fn pass(&self, verb: &'static str) -> Result<()>;
}

/// A rule of the protocol that is taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A stale run may publish.
    NoFence,
    /// Nobody writes to whom it lost.
    NoEdge,
    /// Owners are not looked at again after the edges are written.
    NoRecheck,
    /// What a batch that is gone holds is never taken over.
    NoTakeOver,
    /// Published days are not marked.
    NoMark,
    /// Days of the run before are forgotten at once.
    NoPrevDays,
    /// Partials are written over those that readers use.
    SharedPartials,
    /// An older rollup may replace a newer one.
    NoRollupGuard,
    /// A run that was overtaken by a wish settles as if it had met it.
    NoWanted,
    /// The sweep does not look at batches in processing.
    NoSweep,
    /// Losers of a batch that goes are not counted anew.
    NoRecount,
    /// An undo marks no days.
    NoUndoMark,
    /// A stale worker may settle its job.
    NoToken,
}

impl Mutant {
    pub(crate) const ALL: [Self; 13] = [
        Self::NoFence,
        Self::NoEdge,
        Self::NoRecheck,
        Self::NoTakeOver,
        Self::NoMark,
        Self::NoPrevDays,
        Self::SharedPartials,
        Self::NoRollupGuard,
        Self::NoWanted,
        Self::NoSweep,
        Self::NoRecount,
        Self::NoUndoMark,
        Self::NoToken,
    ];
}

/// One actor's way to the store.
pub(crate) struct Staged {
    inner: Arc<dyn Store>,
    gate: Arc<dyn Gate>,
    mutant: Option<Mutant>,
    edges_written: AtomicBool,
}

impl Staged {
    pub(crate) fn new(inner: Arc<dyn Store>, gate: Arc<dyn Gate>, mutant: Option<Mutant>) -> Self {
        Self {
            inner,
            gate,
            mutant,
            edges_written: AtomicBool::new(false),
        }
    }

    fn broken(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    async fn publish_stale(&self, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>> {
        let (Some(batch), BatchChange::Publish(published)) = (self.inner.batch(id).await?, change)
        else {
            return self.inner.change_batch(id, change).await;
        };
        let stale = self.inner.partials(id, published.token).await?;
        let mut published = published.clone();
        published.token = batch.fence;
        if batch.status == BatchStatus::Processing {
            self.inner.put_partials(id, batch.fence, &stale).await?;
        }
        self.inner
            .change_batch(id, &BatchChange::Publish(published))
            .await
    }
}

#[async_trait]
impl BatchStore for Staged {
    async fn create_batch(&self, batch: &Batch) -> Result<()> {
        self.gate.pass("create_batch").await?;
        self.inner.create_batch(batch).await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>> {
        self.gate.pass("batch").await?;
        let mut found = self.inner.batch(id).await?;
        let looking_again = self.edges_written.load(Ordering::Relaxed);
        if let Some(batch) = &mut found
            && batch.status.is_void()
            && ((self.broken(Mutant::NoRecheck) && looking_again)
                || (self.broken(Mutant::NoTakeOver) && !looking_again))
        {
            batch.status = BatchStatus::Completed;
        }
        Ok(found)
    }

    async fn change_batch(&self, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>> {
        self.gate.pass("change_batch").await?;
        let mut change = change.clone();
        match (&mut change, self.mutant) {
            (BatchChange::Publish(_), Some(Mutant::NoFence)) => {
                return self.publish_stale(id, &change).await;
            }
            (BatchChange::Publish(published), Some(Mutant::NoPrevDays)) => {
                published.prev_days.clear()
            }
            (BatchChange::Finish { computed, .. }, Some(Mutant::NoWanted)) => {
                *computed = self.inner.batch(id).await?.map_or(0, |b| b.wanted);
            }
            (BatchChange::Recount, Some(Mutant::NoRecount)) => return Ok(Changed::Missing),
            _ => {}
        }
        self.inner.change_batch(id, &change).await
    }

    async fn seal(&self, id: BatchId, receipt: Receipt, content: [u8; 32]) -> Result<Sealed> {
        self.gate.pass("seal").await?;
        self.inner.seal(id, receipt, content).await
    }

    async fn list_batches(&self, filter: &BatchFilter, limit: usize) -> Result<Vec<Batch>> {
        self.gate.pass("list_batches").await?;
        if self.broken(Mutant::NoSweep) && filter.statuses == [BatchStatus::Processing] {
            return Ok(Vec::new());
        }
        self.inner.list_batches(filter, limit).await
    }

    async fn unchecked_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        self.gate.pass("unchecked_batches").await?;
        self.inner.unchecked_batches(before, limit).await
    }

    async fn unpurged_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        self.gate.pass("unpurged_batches").await?;
        self.inner.unpurged_batches(before, limit).await
    }
}

#[async_trait]
impl EventStore for Staged {
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>> {
        self.gate.pass("write_events").await?;
        self.inner.write_events(id, columns).await
    }

    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>> {
        self.gate.pass("scan_events").await?;
        self.edges_written.store(false, Ordering::Relaxed);
        self.inner.scan_events(id, projection).await
    }

    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
        self.gate.pass("append_rejections").await?;
        self.inner.append_rejections(id, rejections).await
    }

    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>> {
        self.gate.pass("rejections").await?;
        self.inner.rejections(id, after, limit).await
    }

    async fn drop_rejections(&self, id: BatchId) -> Result<bool> {
        self.gate.pass("drop_rejections").await?;
        self.inner.drop_rejections(id).await
    }

    async fn drop_events(&self, id: BatchId) -> Result<()> {
        self.gate.pass("drop_events").await?;
        self.inner.drop_events(id).await
    }
}

#[async_trait]
impl ClaimStore for Staged {
    async fn claim(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<Held>> {
        // One key at a time, so that others may step in between.
        let mut held = Vec::new();
        for (index, claim) in claims.iter().enumerate() {
            self.gate.pass("claim").await?;
            let of_one = self.inner.claim(id, &[*claim]).await?;
            held.extend(of_one.into_iter().map(|h| Held { index, ..h }));
        }
        Ok(held)
    }

    async fn take_over(&self, id: BatchId, from: BatchId, claims: &[Claim]) -> Result<Vec<Held>> {
        self.gate.pass("take_over").await?;
        self.inner.take_over(id, from, claims).await
    }

    async fn release(&self, id: BatchId, keys: &[IdentityKey]) -> Result<()> {
        for key in keys {
            self.gate.pass("release").await?;
            self.inner.release(id, &[*key]).await?;
        }
        Ok(())
    }

    async fn put_overlaps(&self, overlaps: &[Overlap]) -> Result<()> {
        self.gate.pass("put_overlaps").await?;
        self.edges_written.store(true, Ordering::Relaxed);
        if self.broken(Mutant::NoEdge) {
            return Ok(());
        }
        self.inner.put_overlaps(overlaps).await
    }

    async fn losses(
        &self,
        loser: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        self.gate.pass("losses").await?;
        self.inner.losses(loser, after, limit).await
    }

    async fn losers(
        &self,
        owner: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        self.gate.pass("losers").await?;
        self.inner.losers(owner, after, limit).await
    }

    async fn not_held(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<usize>> {
        self.gate.pass("not_held").await?;
        self.inner.not_held(id, claims).await
    }

    async fn drop_overlaps(&self, id: BatchId) -> Result<()> {
        self.gate.pass("drop_overlaps").await?;
        self.inner.drop_overlaps(id).await
    }
}

#[async_trait]
impl MetricStore for Staged {
    async fn put_partials(&self, id: BatchId, token: i64, groups: &[Group]) -> Result<()> {
        for group in groups {
            self.gate.pass("put_partials").await?;
            self.inner
                .put_partials(id, token, std::slice::from_ref(group))
                .await?;
            let readable = self.inner.batch(id).await?.and_then(|b| b.published);
            if let (true, Some(published)) = (self.broken(Mutant::SharedPartials), readable) {
                self.inner
                    .put_partials(id, published.token, std::slice::from_ref(group))
                    .await?;
            }
        }
        Ok(())
    }

    async fn partials(&self, id: BatchId, token: i64) -> Result<Vec<Group>> {
        self.gate.pass("partials").await?;
        self.inner.partials(id, token).await
    }

    async fn sweep_partials(&self, id: BatchId) -> Result<bool> {
        self.gate.pass("sweep_partials").await?;
        self.inner.sweep_partials(id).await
    }

    async fn mark_days(&self, days: &[Day]) -> Result<()> {
        let Some(first) = days.first() else {
            return Ok(());
        };
        let undo = self.gone_on(*first).await?;
        if self.broken(Mutant::NoMark) || (undo && self.broken(Mutant::NoUndoMark)) {
            return Ok(());
        }
        for day in days {
            self.gate.pass("mark_days").await?;
            self.inner.mark_days(&[*day]).await?;
        }
        Ok(())
    }

    async fn day(&self, day: Day) -> Result<DayState> {
        self.gate.pass("day").await?;
        self.inner.day(day).await
    }

    async fn fold_day(&self, day: Day) -> Result<DayFigures> {
        self.gate.pass("fold_day").await?;
        self.inner.fold_day(day).await
    }

    async fn replace_day(
        &self,
        day: Day,
        computed: i64,
        at: Instant,
        figures: &DayFigures,
    ) -> Result<bool> {
        self.gate.pass("replace_day").await?;
        let computed = match self.inner.day(day).await? {
            now if self.broken(Mutant::NoRollupGuard) && now.computed >= computed => {
                now.computed + 1
            }
            _ => computed,
        };
        self.inner.replace_day(day, computed, at, figures).await
    }

    async fn days(
        &self,
        from: Day,
        to: Day,
        event_type: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDay>> {
        self.gate.pass("days").await?;
        self.inner.days(from, to, event_type, limit).await
    }

    async fn stale_days(&self, after: Option<Day>, limit: usize) -> Result<Vec<Day>> {
        self.gate.pass("stale_days").await?;
        self.inner.stale_days(after, limit).await
    }
}

impl Staged {
    /// Whether some batch that touched a day is being taken away: then it is an undo that marks.
    async fn gone_on(&self, day: Day) -> Result<bool> {
        let filter = BatchFilter {
            statuses: vec![BatchStatus::Deleting],
            before: None,
        };
        Ok(self
            .inner
            .list_batches(&filter, 100)
            .await?
            .iter()
            .any(|b| b.undo_days.contains(&day)))
    }
}

#[async_trait]
impl JobStore for Staged {
    async fn arm(&self, id: JobId, now: Instant) -> Result<Job> {
        self.gate.pass("arm").await?;
        self.inner.arm(id, now).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.gate.pass("job").await?;
        self.inner.job(id).await
    }

    async fn change_job(
        &self,
        id: JobId,
        change: &JobChange,
        now: Instant,
    ) -> Result<Changed<Job>> {
        self.gate.pass("change_job").await?;
        let mut change = change.clone();
        if let (JobChange::Settle { token, .. }, true) = (&mut change, self.broken(Mutant::NoToken))
        {
            *token = self.inner.job(id).await?.map_or(0, |j| j.token);
        }
        self.inner.change_job(id, &change, now).await
    }

    async fn due_jobs(&self, now: Instant, limit: usize) -> Result<Vec<JobId>> {
        self.gate.pass("due_jobs").await?;
        self.inner.due_jobs(now, limit).await
    }

    async fn jobs_in(
        &self,
        state: JobState,
        after: Option<(Instant, JobId)>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        self.gate.pass("jobs_in").await?;
        self.inner.jobs_in(state, after, limit).await
    }

    async fn count_jobs(&self, state: JobState) -> Result<u64> {
        self.gate.pass("count_jobs").await?;
        self.inner.count_jobs(state).await
    }

    async fn prune_jobs(&self, before: Instant) -> Result<bool> {
        self.gate.pass("prune_jobs").await?;
        self.inner.prune_jobs(before).await
    }

    async fn record_audit(&self, entry: &AuditEntry) -> Result<()> {
        self.gate.pass("record_audit").await?;
        self.inner.record_audit(entry).await
    }
}
