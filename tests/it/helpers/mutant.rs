//! Mutants: each removes one rule of the counting protocol. The store misleads the real engine, so that its effect is
//! that of an engine without the rule.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use tallymill::{
    metric::{Group, Partial},
    model::{
        Batch, BatchChange, BatchId, BatchStatus, Day, JobChange, JobId, JobState, Published,
        Receipt,
    },
    store::{BatchFilter, Changed, Overlap, Result, Sealed},
};

use super::intercepted_store::InterceptedStore;

/// A removed rule of the protocol.
///
/// Three rules have no mutant, since no history breaks without them:
/// - `prev_days`: the counted events of a batch only increase, so a later run has all days of an earlier one.
/// - The token of a job: the reconciler arms a job again that a stale worker settled. `store_contract` tests the rule.
/// - The fence of *begin*: a stale run that begins is a complete run, and of two runs the one that publishes last has
///   read every claim that it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A stale run may publish.
    NoFence,
    /// A stale run may fail the batch of a newer one.
    FailAnyway,
    /// Overlaps are not stored.
    NoOverlap,
    /// Owners are not read again after the overlaps are stored.
    NoRecheck,
    /// Owners are read again before the overlaps are stored.
    RecheckFirst,
    /// Claims of a deleted batch are never taken over.
    NoTakeOver,
    /// Published days are not marked.
    NoMark,
    /// The days of an abandoned batch are not marked.
    NoAbandonMark,
    /// Days are marked before the run is published.
    MarkFirst,
    /// A run is published before all its partials are written.
    EarlyPublish,
    /// Partials of all runs share one token.
    SharedPartials,
    /// An older rollup may replace a newer one.
    NoRollupGuard,
    /// A rollup reads `wanted` after the partials.
    LateWanted,
    /// A run completes its batch although a recount was requested during the run.
    NoWanted,
    /// The reconciler ignores queued and processing batches.
    NoBatchReconcile,
    /// The reconciler ignores deleting batches.
    NoDeletionReconcile,
    /// The reconciler ignores stale days.
    NoDayReconcile,
    /// The reconciler ignores the leases of jobs.
    NoLeaseReconcile,
    /// Losers of a deleted batch are not counted again.
    NoRecount,
    /// A deletion marks no days.
    NoDeletionMark,
    /// The batch becomes `deleted` before the first step of its deletion.
    BuryFirst,
    /// The removal of stale partials includes those of a run in progress.
    RemoveInFlight,
    /// The removal of stale partials includes published ones below the fence.
    RemovePublished,
    /// The removal of stale partials reads the fence and the published token separately.
    TwoReads,
    /// A new upload of a deleted file is a duplicate of the deleted batch.
    ContentRetained,
}

impl Mutant {
    /// The mutants that random histories catch. `SharedPartials` breaks only if a batch loses one of two rows of a
    /// group, and its worker is frozen while the owner is deleted. Random histories rarely reach that: a test in
    /// `engine` catches it.
    pub(crate) const ALL: [Self; 24] = [
        Self::NoFence,
        Self::FailAnyway,
        Self::NoOverlap,
        Self::NoRecheck,
        Self::RecheckFirst,
        Self::NoTakeOver,
        Self::NoMark,
        Self::NoAbandonMark,
        Self::MarkFirst,
        Self::EarlyPublish,
        Self::NoRollupGuard,
        Self::LateWanted,
        Self::NoWanted,
        Self::NoBatchReconcile,
        Self::NoDeletionReconcile,
        Self::NoDayReconcile,
        Self::NoLeaseReconcile,
        Self::NoRecount,
        Self::NoDeletionMark,
        Self::BuryFirst,
        Self::RemoveInFlight,
        Self::RemovePublished,
        Self::TwoReads,
        Self::ContentRetained,
    ];
}

/// What a store has observed of its actor, and the writes that it delays for a mutant.
#[derive(Default)]
pub(super) struct Memory {
    acquired_job: Mutex<Option<JobId>>,
    /// Whether the actor has stored the overlaps of the current pass over the events.
    overlaps_written: AtomicBool,
    days_marked: AtomicBool,
    late_marks: Mutex<Vec<Day>>,
    late_overlaps: Mutex<Vec<Overlap>>,
    late_partials: Mutex<Vec<Group>>,
}

impl InterceptedStore {
    fn acquired_job(&self) -> Option<JobId> {
        *self.memory.acquired_job.lock().expect("one thread")
    }

    /// Records the job whose lease the actor acquires.
    pub(super) fn remember(&self, id: JobId, change: &JobChange) {
        if matches!(change, JobChange::Acquire { .. }) {
            *self.memory.acquired_job.lock().expect("one thread") = Some(id);
        }
    }

    /// Changes a batch that was just read to what an engine without the rule would act on.
    pub(super) async fn mislead(&self, batch: &mut Batch) -> Result<()> {
        let is_second_read = self.memory.overlaps_written.load(Ordering::Relaxed);
        let hides_void = match self.mutant {
            Some(Mutant::NoRecheck) => is_second_read,
            Some(Mutant::NoTakeOver) => !is_second_read,
            _ => false,
        };
        let job = self.acquired_job();
        let is_owner = matches!(job, Some(JobId::Process(mine)) if mine != batch.id);
        if hides_void && is_owner && batch.status.is_void() {
            batch.status = BatchStatus::Completed;
        }
        if self.broken(Mutant::BuryFirst) && job == Some(JobId::Undo(batch.id)) {
            let bury = BatchChange::Bury {
                at: batch.created_at,
            };
            self.inner.change_batch(batch.id, &bury).await?;
        }
        Ok(())
    }

    pub(super) async fn change_broken(
        &self,
        id: BatchId,
        change: &BatchChange,
    ) -> Result<Changed<Batch>> {
        let mut change = change.clone();
        match (&mut change, self.mutant) {
            (BatchChange::Publish(published), Some(mutant)) => {
                return self.publish_broken(id, published, mutant).await;
            }
            (BatchChange::Finish { computed, .. }, Some(Mutant::NoWanted)) => {
                *computed = self.inner.batch(id).await?.map_or(0, |b| b.wanted);
            }
            (BatchChange::Fail { token, .. }, Some(Mutant::FailAnyway)) => {
                *token = self.inner.batch(id).await?.map_or(0, |b| b.fence);
            }
            (BatchChange::Recount, Some(Mutant::NoRecount)) => return Ok(Changed::Missing),
            _ => {}
        }
        self.inner.change_batch(id, &change).await
    }

    async fn publish_broken(
        &self,
        id: BatchId,
        published: &Published,
        mutant: Mutant,
    ) -> Result<Changed<Batch>> {
        if mutant == Mutant::MarkFirst {
            self.inner.mark_days(&published.touched()).await?;
            self.memory.days_marked.store(true, Ordering::Relaxed);
            self.gate.before_verb("change_batch").await?;
        }
        let change = BatchChange::Publish(published.clone());
        let changed = self.inner.change_batch(id, &change).await?;
        if mutant == Mutant::EarlyPublish && matches!(changed, Changed::Done(_)) {
            let late = std::mem::take(&mut *self.memory.late_partials.lock().expect("one thread"));
            for group in late {
                self.gate.before_verb("put_partials").await?;
                self.inner
                    .put_partials(id, published.token, &[group])
                    .await?;
            }
        }
        match changed {
            Changed::Refused(_) if mutant == Mutant::NoFence => {
                self.publish_stale(id, published).await
            }
            other => Ok(other),
        }
    }

    /// Replaces the published partials of the batch by those of the stale run (none if they were removed). Does nothing
    /// while a newer run is still to publish, since that run would correct the figures.
    async fn publish_stale(&self, id: BatchId, stale: &Published) -> Result<Changed<Batch>> {
        let Some(batch) = self.inner.batch(id).await? else {
            return Ok(Changed::Missing);
        };
        if batch.status.is_void() {
            return self
                .inner
                .change_batch(id, &BatchChange::Publish(stale.clone()))
                .await;
        }
        let is_newest =
            |p: &&Published| batch.status != BatchStatus::Processing || p.token == batch.fence;
        if let Some(newest) = batch.published.as_ref().filter(is_newest) {
            let groups = self.inner.partials(id, stale.token, None, 1_000).await?;
            self.empty_partials(id, newest.token).await?;
            self.inner.put_partials(id, newest.token, &groups).await?;
        }
        Ok(Changed::Done(batch))
    }

    /// Replaces the partials of a run by empty ones.
    async fn empty_partials(&self, id: BatchId, token: i64) -> Result<()> {
        let mut groups = self.inner.partials(id, token, None, 1_000).await?;
        for group in &mut groups {
            group.partial = Partial::default();
        }
        self.inner.put_partials(id, token, &groups).await
    }

    /// Returns whether the reconciler finds no batches with this filter.
    pub(super) fn hides(&self, filter: &BatchFilter) -> bool {
        let hidden: &[BatchStatus] = match self.mutant {
            Some(Mutant::NoBatchReconcile) => &[BatchStatus::Queued, BatchStatus::Processing],
            Some(Mutant::NoDeletionReconcile) => &[BatchStatus::Deleting],
            _ => &[],
        };
        matches!(filter.statuses.as_slice(), [only] if hidden.contains(only))
    }

    /// Returns whether the reconciler finds no jobs in a state.
    pub(super) fn hides_jobs(&self, state: JobState) -> bool {
        self.broken(Mutant::NoLeaseReconcile) && state == JobState::Running
    }

    /// Returns whether the reconciler finds no stale days.
    pub(super) fn hides_days(&self) -> bool {
        self.broken(Mutant::NoDayReconcile)
    }

    pub(super) async fn seal_broken(
        &self,
        id: BatchId,
        receipt: Receipt,
        content: [u8; 32],
    ) -> Result<Sealed> {
        if self.broken(Mutant::ContentRetained) {
            let all = self
                .inner
                .list_batches(&BatchFilter::default(), 100)
                .await?;
            let digest = |receipt: &Receipt| receipt.origin.file().map(|file| file.sha256.clone());
            let same = |b: &&Batch| {
                b.receipt
                    .as_ref()
                    .is_some_and(|r| digest(r) == digest(&receipt))
            };
            if let Some(first) = all.iter().rfind(same) {
                return Ok(Sealed::DuplicateOf(first.id));
            }
        }
        self.inner.seal(id, receipt, content).await
    }

    /// Stores the overlaps that were delayed until the next pass over the events.
    pub(super) async fn begin_pass(&self) -> Result<()> {
        self.memory.overlaps_written.store(false, Ordering::Relaxed);
        let late = std::mem::take(&mut *self.memory.late_overlaps.lock().expect("one thread"));
        if !late.is_empty() {
            self.gate.before_verb("put_overlaps").await?;
            self.inner.put_overlaps(&late).await?;
        }
        Ok(())
    }

    pub(super) async fn put_overlaps_broken(&self, overlaps: &[Overlap]) -> Result<()> {
        self.memory.overlaps_written.store(true, Ordering::Relaxed);
        match self.mutant {
            Some(Mutant::NoOverlap) => Ok(()),
            Some(Mutant::RecheckFirst) => {
                *self.memory.late_overlaps.lock().expect("one thread") = overlaps.to_vec();
                Ok(())
            }
            _ => self.inner.put_overlaps(overlaps).await,
        }
    }

    pub(super) async fn put_partial_broken(
        &self,
        id: BatchId,
        token: i64,
        group: &Group,
    ) -> Result<()> {
        if self.broken(Mutant::EarlyPublish) {
            let mut late = self.memory.late_partials.lock().expect("one thread");
            late.push(group.clone());
            return Ok(());
        }
        let group = std::slice::from_ref(group);
        self.inner.put_partials(id, token, group).await?;
        if let (true, Some(batch)) = (
            self.broken(Mutant::SharedPartials),
            self.inner.batch(id).await?,
        ) {
            let shared = batch.published.map_or(batch.fence, |p| p.token);
            self.inner.put_partials(id, shared, group).await?;
        }
        Ok(())
    }

    pub(super) async fn drop_stale_partials_broken(&self, id: BatchId) -> Result<bool> {
        let before = self.inner.batch(id).await?.and_then(|b| b.published);
        if self.broken(Mutant::TwoReads) {
            self.gate.before_verb("drop_stale_partials").await?;
        }
        if let Some(batch) = self.inner.batch(id).await?
            && !batch.status.is_void()
        {
            let published = batch.published.map(|p| p.token);
            let below = published.filter(|token| *token < batch.fence);
            let removed = match self.mutant {
                Some(Mutant::RemoveInFlight) => Some(batch.fence).filter(|f| published != Some(*f)),
                Some(Mutant::RemovePublished) => below,
                Some(Mutant::TwoReads) => below.filter(|t| before.is_none_or(|p| p.token != *t)),
                _ => None,
            };
            if let Some(token) = removed {
                self.empty_partials(id, token).await?;
            }
        }
        self.inner.drop_stale_partials(id).await
    }

    /// Returns whether the actor's marks of days are dropped.
    pub(super) fn marks_nothing(&self) -> bool {
        let is_deletion = matches!(self.acquired_job(), Some(JobId::Undo(_)));
        match self.mutant {
            Some(Mutant::NoMark) => !is_deletion,
            Some(Mutant::NoDeletionMark) => is_deletion,
            Some(Mutant::MarkFirst) => self.memory.days_marked.load(Ordering::Relaxed),
            _ => false,
        }
    }

    /// Delays marks to the rollup that follows. None follows in a job that is abandoned. Returns whether it did.
    pub(super) fn delays_marks(&self, days: &[Day]) -> bool {
        let delays = self.broken(Mutant::NoAbandonMark)
            && matches!(self.acquired_job(), Some(JobId::Process(_)));
        if delays {
            *self.memory.late_marks.lock().expect("one thread") = days.to_vec();
        }
        delays
    }

    /// Makes the delayed marks.
    pub(super) async fn mark_late_days(&self) -> Result<()> {
        let late = std::mem::take(&mut *self.memory.late_marks.lock().expect("one thread"));
        if late.is_empty() {
            return Ok(());
        }
        self.inner.mark_days(&late).await
    }

    /// Returns the value of `computed` that the rollup of an engine without the rule would store.
    pub(super) async fn answered(&self, day: Day, computed: i64) -> Result<i64> {
        let now = self.inner.day(day).await?;
        Ok(match self.mutant {
            Some(Mutant::LateWanted) => now.wanted,
            Some(Mutant::NoRollupGuard) if now.computed >= computed => {
                // Both counters are incremented, so that the day is as stale as before.
                self.inner.mark_days(&[day]).await?;
                now.computed + 1
            }
            _ => computed,
        })
    }
}
