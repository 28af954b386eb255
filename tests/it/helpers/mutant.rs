//! The protocol with one rule taken out at a time, as a store that hides the missing rule from the engine.
//! Each mutant has the effect that the engine without the rule would have, no more.

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

use super::staged::Staged;

/// A rule of the protocol that is taken out.
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
    /// Nobody writes to whom it lost.
    NoEdge,
    /// Owners are not looked at again after the edges are written.
    NoRecheck,
    /// Owners are looked at again before the edges are written.
    RecheckFirst,
    /// What a batch that is gone holds is never taken over.
    NoTakeOver,
    /// Published days are not marked.
    NoMark,
    /// Days are marked before the run is published.
    MarkFirst,
    /// A run is published before all its partials are written.
    EarlyPublish,
    /// Partials are not kept apart by the run's token.
    SharedPartials,
    /// An older rollup may replace a newer one.
    NoRollupGuard,
    /// A rollup reads what is wanted after it has read the partials.
    LateWish,
    /// A run that was overtaken by a wish settles as if it had met it.
    NoWanted,
    /// The sweep does not look at queued and processing batches.
    NoSweep,
    /// The sweep does not look at batches that are being taken away.
    NoUndoSweep,
    /// The sweep does not look at stale days.
    NoDaySweep,
    /// The sweep does not look at leases.
    NoLeaseSweep,
    /// Losers of a batch that goes are not counted anew.
    NoRecount,
    /// An undo marks no days.
    NoUndoMark,
    /// An undo is done with the batch before it has begun.
    BuryFirst,
    /// Partials of a run under way are swept.
    SweepInFlight,
    /// Partials below the fence are swept though they are published.
    SweepPublished,
    /// The sweep of partials takes fence and published token from two reads.
    TwoReads,
    /// A file that was taken away still answers for its copies.
    ContentKept,
}

impl Mutant {
    /// Those that random histories catch. `SharedPartials` needs a batch that loses one of two rows of a group and
    /// stands still while the owner goes: too rare to wait for, so the engine's tests have that history.
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

/// What a mutant knows of the actor it misleads.
#[derive(Default)]
pub(super) struct Memory {
    working: Mutex<Option<JobId>>,
    edges_written: AtomicBool,
    marked: AtomicBool,
    late_overlaps: Mutex<Vec<Overlap>>,
    late_partials: Mutex<Vec<Group>>,
}

impl Staged {
    fn working(&self) -> Option<JobId> {
        *self.memory.working.lock().expect("one thread")
    }

    /// Remembers what the actor works on.
    pub(super) fn remember(&self, id: JobId, change: &JobChange) {
        if matches!(change, JobChange::Acquire { .. }) {
            *self.memory.working.lock().expect("one thread") = Some(id);
        }
    }

    /// Shows a batch that was just read as the engine would see it.
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
            self.gate.pass("change_batch").await?;
        }
        let change = BatchChange::Publish(published.clone());
        let changed = self.inner.change_batch(id, &change).await?;
        if mutant == Mutant::EarlyPublish && matches!(changed, Changed::Done(_)) {
            let late = std::mem::take(&mut *self.memory.late_partials.lock().expect("one thread"));
            for group in late {
                self.gate.pass("put_partials").await?;
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

    /// Takes everything out of a run's partials.
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
            let same = |b: &&Batch| {
                b.receipt
                    .as_ref()
                    .is_some_and(|r| r.sha256 == receipt.sha256)
            };
            if let Some(first) = all.iter().rfind(same) {
                return Ok(Sealed::DuplicateOf(first.id));
            }
        }
        self.inner.seal(id, receipt, content).await
    }

    /// A new pass over the events has begun: what was to be written before is written now.
    pub(super) async fn begin_pass(&self) -> Result<()> {
        self.memory.edges_written.store(false, Ordering::Relaxed);
        let late = std::mem::take(&mut *self.memory.late_overlaps.lock().expect("one thread"));
        if !late.is_empty() {
            self.gate.pass("put_overlaps").await?;
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
            self.gate.pass("drop_stale_partials").await?;
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

    /// The wish that a rollup says it answers.
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
