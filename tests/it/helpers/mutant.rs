//! Removes one rule of the protocol at a time, in a store that misleads the engine. Each mutant has exactly the effect
//! of an engine without the rule.

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
/// Three rules have no mutant. `prev_days`: what a batch counts only ever grows, so the days of a run are among
/// those of the next; the rule guards against a bug that is not there. The job's token: a job settled by a stale
/// worker is armed again by the sweep; the store's contract has it. The fence of *begin*: a stale run that begins
/// is a whole run, and whichever publishes last has seen every claim that it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A stale run may publish.
    NoFence,
    /// A stale run may fail the batch of a newer one.
    FailAnyway,
    /// Overlaps are not stored.
    NoEdge,
    /// Owners are not read again after the overlaps are stored.
    NoRecheck,
    /// Owners are read again before the overlaps are stored.
    RecheckFirst,
    /// Claims of a deleted batch are never taken over.
    NoTakeOver,
    /// Published days are not marked.
    NoMark,
    /// Days are marked before the run is published.
    MarkFirst,
    /// A run is published before all its partials are written.
    EarlyPublish,
    /// Partials of all runs share one token.
    SharedPartials,
    /// An older rollup may replace a newer one.
    NoRollupGuard,
    /// A rollup reads `wanted` after the partials.
    LateWish,
    /// A run settles as completed although more was requested meanwhile.
    NoWanted,
    /// The reconciler ignores queued and processing batches.
    NoSweep,
    /// The reconciler ignores deleting batches.
    NoUndoSweep,
    /// The reconciler ignores stale days.
    NoDaySweep,
    /// The reconciler ignores leases.
    NoLeaseSweep,
    /// Losers of a deleted batch are not counted again.
    NoRecount,
    /// A deletion marks no days.
    NoUndoMark,
    /// A deletion buries the batch before it has begun.
    BuryFirst,
    /// Partials of a running run are removed.
    SweepInFlight,
    /// Published partials below the fence are removed.
    SweepPublished,
    /// Removal of stale partials takes fence and published token from two reads.
    TwoReads,
    /// A deleted file still counts as the original of its copies.
    ContentKept,
}

impl Mutant {
    /// Those that random histories catch. `SharedPartials` needs a batch that loses one of two rows of a group and
    /// is frozen while the owner is deleted: too rare for random histories, so the tests of the engine have it.
    pub(crate) const ALL: [Self; 23] = [
        Self::NoFence,
        Self::FailAnyway,
        Self::NoEdge,
        Self::NoRecheck,
        Self::RecheckFirst,
        Self::NoTakeOver,
        Self::NoMark,
        Self::MarkFirst,
        Self::EarlyPublish,
        Self::NoRollupGuard,
        Self::LateWish,
        Self::NoWanted,
        Self::NoSweep,
        Self::NoUndoSweep,
        Self::NoDaySweep,
        Self::NoLeaseSweep,
        Self::NoRecount,
        Self::NoUndoMark,
        Self::BuryFirst,
        Self::SweepInFlight,
        Self::SweepPublished,
        Self::TwoReads,
        Self::ContentKept,
    ];
}

/// What a mutant knows of the actor that it misleads.
#[derive(Default)]
pub(super) struct Memory {
    working: Mutex<Option<JobId>>,
    edges_written: AtomicBool,
    marked: AtomicBool,
    late_overlaps: Mutex<Vec<Overlap>>,
    late_partials: Mutex<Vec<Group>>,
}

impl InterceptedStore {
    fn working(&self) -> Option<JobId> {
        *self.memory.working.lock().expect("one thread")
    }

    /// Records the job of the actor.
    pub(super) fn remember(&self, id: JobId, change: &JobChange) {
        if matches!(change, JobChange::Acquire { .. }) {
            *self.memory.working.lock().expect("one thread") = Some(id);
        }
    }

    /// Changes a batch that was just read to what the mutated engine would see.
    pub(super) async fn mislead(&self, batch: &mut Batch) -> Result<()> {
        let again = self.memory.edges_written.load(Ordering::Relaxed);
        let hidden = match self.mutant {
            Some(Mutant::NoRecheck) => again,
            Some(Mutant::NoTakeOver) => !again,
            _ => false,
        };
        let job = self.working();
        let owner = matches!(job, Some(JobId::Process(mine)) if mine != batch.id);
        if hidden && owner && batch.status.is_void() {
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
            self.memory.marked.store(true, Ordering::Relaxed);
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

    /// What readers find of the batch becomes what the stale run wrote (nothing, if that is swept). A newer run
    /// that is yet to publish would put it right, so before that there is nothing to do.
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
        let answered =
            |p: &&Published| batch.status != BatchStatus::Processing || p.token == batch.fence;
        if let Some(readable) = batch.published.as_ref().filter(answered) {
            let groups = self.inner.partials(id, stale.token).await?;
            self.empty(id, readable.token).await?;
            self.inner.put_partials(id, readable.token, &groups).await?;
        }
        Ok(Changed::Done(batch))
    }

    /// Empties the partials of a run.
    async fn empty(&self, id: BatchId, token: i64) -> Result<()> {
        let mut groups = self.inner.partials(id, token).await?;
        for group in &mut groups {
            group.partial = Partial::default();
        }
        self.inner.put_partials(id, token, &groups).await
    }

    pub(super) fn hides(&self, filter: &BatchFilter) -> bool {
        let hidden: &[BatchStatus] = match self.mutant {
            Some(Mutant::NoSweep) => &[BatchStatus::Queued, BatchStatus::Processing],
            Some(Mutant::NoUndoSweep) => &[BatchStatus::Deleting],
            _ => &[],
        };
        matches!(filter.statuses.as_slice(), [only] if hidden.contains(only))
    }

    pub(super) fn hides_jobs(&self, state: JobState) -> bool {
        self.broken(Mutant::NoLeaseSweep) && state == JobState::Running
    }

    pub(super) fn hides_days(&self) -> bool {
        self.broken(Mutant::NoDaySweep)
    }

    pub(super) async fn seal_broken(
        &self,
        id: BatchId,
        receipt: Receipt,
        content: [u8; 32],
    ) -> Result<Sealed> {
        if self.broken(Mutant::ContentKept) {
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

    /// Writes what was delayed until the next pass over the events.
    pub(super) async fn begin_pass(&self) -> Result<()> {
        self.memory.edges_written.store(false, Ordering::Relaxed);
        let late = std::mem::take(&mut *self.memory.late_overlaps.lock().expect("one thread"));
        if !late.is_empty() {
            self.gate.before_verb("put_overlaps").await?;
            self.inner.put_overlaps(&late).await?;
        }
        Ok(())
    }

    pub(super) async fn put_overlaps_broken(&self, overlaps: &[Overlap]) -> Result<()> {
        self.memory.edges_written.store(true, Ordering::Relaxed);
        match self.mutant {
            Some(Mutant::NoEdge) => Ok(()),
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

    pub(super) async fn sweep_partials_broken(&self, id: BatchId) -> Result<bool> {
        let before = self.inner.batch(id).await?.and_then(|b| b.published);
        if self.broken(Mutant::TwoReads) {
            self.gate.before_verb("drop_stale_partials").await?;
        }
        if let Some(batch) = self.inner.batch(id).await?
            && !batch.status.is_void()
        {
            let published = batch.published.map(|p| p.token);
            let below = published.filter(|token| *token < batch.fence);
            let swept = match self.mutant {
                Some(Mutant::SweepInFlight) => Some(batch.fence).filter(|f| published != Some(*f)),
                Some(Mutant::SweepPublished) => below,
                Some(Mutant::TwoReads) => below.filter(|t| before.is_none_or(|p| p.token != *t)),
                _ => None,
            };
            if let Some(token) = swept {
                self.empty(id, token).await?;
            }
        }
        self.inner.drop_stale_partials(id).await
    }

    pub(super) fn marks_nothing(&self) -> bool {
        let undo = matches!(self.working(), Some(JobId::Undo(_)));
        match self.mutant {
            Some(Mutant::NoMark) => !undo,
            Some(Mutant::NoUndoMark) => undo,
            Some(Mutant::MarkFirst) => self.memory.marked.load(Ordering::Relaxed),
            _ => false,
        }
    }

    /// Returns the value of `wanted` that a rollup claims to answer.
    pub(super) async fn answered(&self, day: Day, computed: i64) -> Result<i64> {
        let now = self.inner.day(day).await?;
        Ok(match self.mutant {
            Some(Mutant::LateWish) => now.wanted,
            Some(Mutant::NoRollupGuard) if now.computed >= computed => {
                // Both counters grow by one, so that the day is as stale as before.
                self.inner.mark_days(&[day]).await?;
                now.computed + 1
            }
            _ => computed,
        })
    }
}
