//! What people ask of jobs: process, undo, retry, discard. Ledger first, reply second, queue last.

use std::sync::Arc;

use chrono::TimeDelta;

use crate::{
    clock::Clock,
    job::Dispatch,
    model::{
        BatchChange, BatchId, BatchStatus, Job, JobChange, JobId, JobState, KeyEntry, KeyOutcome,
        Refused, RequestKey, key::wish_content,
    },
    store::{Changed, Result, Store},
};

/// Takes wishes.
#[derive(Clone)]
pub struct Desk {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    dispatch: Arc<dyn Dispatch>,
}

/// What became of an undo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// It is being taken away.
    Started(JobId),
    /// It has been taken away, or is being so, already.
    Gone,
    /// There is none, or it is still being received.
    Missing,
}

/// How long a wish with a key may be on its way: it takes milliseconds, and clocks may differ by seconds.
const ON_ITS_WAY: TimeDelta = TimeDelta::seconds(15);

/// What became of a wish that carries a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keyed {
    /// It was asked for now, and this came of it.
    Asked(Changed<JobId>),
    /// It had been asked for before.
    Before(JobId),
    /// It is being asked for at this moment.
    Busy,
    /// The key stands for something else.
    Reused,
}

impl Desk {
    /// A desk at this ledger.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, dispatch: Arc<dyn Dispatch>) -> Self {
        Self {
            store,
            clock,
            dispatch,
        }
    }

    /// Asks for a batch's figures. Asked again while they are under way or there, it changes nothing unless forced.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is away: then nothing was asked.
    pub async fn process(&self, id: BatchId, force: bool) -> Result<Changed<JobId>> {
        let job = JobId::Process(id);
        loop {
            let refused = match self
                .store
                .change_batch(id, &BatchChange::Process { force })
                .await?
            {
                Changed::Done(_) => {
                    self.arm(job).await?;
                    return Ok(Changed::Done(job));
                }
                Changed::Missing => return Ok(Changed::Missing),
                Changed::Refused(refused) => refused,
            };
            match self.store.batch(id).await?.map(|b| b.status) {
                Some(BatchStatus::Queued | BatchStatus::Processing) => {
                    // Whoever asked first has armed it, is about to, or the sweep will. Arming one that has been settled
                    // meanwhile would run it once more.
                    self.store.add_job(job, self.clock.now()).await?;
                    self.nudge(job).await;
                    return Ok(Changed::Done(job));
                }
                Some(BatchStatus::Completed) => return Ok(Changed::Done(job)),
                None | Some(BatchStatus::Receiving) => return Ok(Changed::Missing),
                Some(BatchStatus::Deleting | BatchStatus::Deleted) => {
                    return Ok(Changed::Refused(refused));
                }
                // It came to this state after it had refused: ask again.
                Some(BatchStatus::Uploaded | BatchStatus::Failed) => {}
            }
        }
    }

    /// The same for a wish that carries a key: it is made once, however often it is sent.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is away: then the same may be sent again a little later.
    pub async fn process_once(&self, key: RequestKey, id: BatchId, force: bool) -> Result<Keyed> {
        let now = self.clock.now();
        let content = Some(wish_content(id, force));
        let mut entry = KeyEntry {
            batch: id,
            content,
            outcome: None,
            opened_at: now,
        };
        let mut force = force;
        if !self.store.open_key(key, &entry).await? {
            match self.store.key(key).await? {
                Some(before) if before.content != content => return Ok(Keyed::Reused),
                Some(before) if before.outcome.is_some() => {
                    return Ok(Keyed::Before(JobId::Process(id)));
                }
                Some(before) if before.opened_at + ON_ITS_WAY <= now => {}
                Some(_) | None => return Ok(Keyed::Busy),
            }
            // Who asked before died, perhaps after the wish was made: then it is not made twice.
            let status = self.store.batch(id).await?.map(|batch| batch.status);
            let wished = [BatchStatus::Queued, BatchStatus::Processing];
            force &= !status.is_some_and(|status| wished.contains(&status));
        }
        let asked = self.process(id, force).await?;
        if let Changed::Done(_) = asked {
            entry.outcome = Some(KeyOutcome::Asked);
            self.store.change_key(key, id, &entry).await?;
        } else {
            self.store.drop_key(key, id).await?;
        }
        Ok(Keyed::Asked(asked))
    }

    /// Takes a batch back.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is away: then nothing was asked.
    pub async fn undo(&self, id: BatchId) -> Result<Undone> {
        match self.store.change_batch(id, &BatchChange::Undo).await? {
            Changed::Done(_) => {
                let job = JobId::Undo(id);
                self.arm(job).await?;
                Ok(Undone::Started(job))
            }
            Changed::Missing => Ok(Undone::Missing),
            Changed::Refused(Refused { state, .. }) if state == BatchStatus::Receiving.as_str() => {
                Ok(Undone::Missing)
            }
            Changed::Refused(_) => Ok(Undone::Gone),
        }
    }

    /// Gives a dead job another try.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is away.
    pub async fn retry(&self, job: JobId) -> Result<Changed<Job>> {
        let state = self.store.job(job).await?.map(|j| j.state);
        // The batch first: a job that runs before its batch is queued again would settle at once.
        if let (Some(JobState::Dead), JobId::Process(id)) = (state, job) {
            self.store.change_batch(id, &BatchChange::Revive).await?;
        }
        let changed = self
            .store
            .change_job(job, &JobChange::Retry, self.clock.now())
            .await?;
        if matches!(changed, Changed::Done(_)) {
            self.nudge(job).await;
        }
        Ok(changed)
    }

    /// Gives a dead job up.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is away.
    pub async fn discard(&self, job: JobId) -> Result<Changed<Job>> {
        // Given up, a batch would be deleting or a day stale for ever.
        if let JobId::Undo(_) | JobId::Rollup(_) = job {
            let state = "one that has to be done: retry it".to_owned();
            let subject = format!("job {job}");
            return Ok(Changed::Refused(Refused {
                change: "discard",
                subject,
                state,
            }));
        }
        self.store
            .change_job(job, &JobChange::Discard, self.clock.now())
            .await
    }

    /// Arms a scheduled job unless its slot was armed before, by whomever.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is away.
    pub async fn arm_slot(&self, job: JobId) -> Result<()> {
        if self.store.job(job).await?.is_none() {
            self.arm(job).await?;
        }
        Ok(())
    }

    pub(crate) async fn arm(&self, job: JobId) -> Result<()> {
        self.store.arm(job, self.clock.now()).await?;
        self.nudge(job).await;
        Ok(())
    }

    pub(crate) async fn nudge(&self, job: JobId) {
        if let Err(why) = self.dispatch.nudge(job).await {
            // The queue says in the log that it is away, once; every due job would say it at every sweep.
            tracing::debug!(job.id = %job, "{why}: the sweep will try again");
        }
    }
}
