//! Accepts requests to process or delete a batch, and to retry or discard a dead job. A request succeeds once the store
//! has it; the nudge to the queue may fail without harm.

use std::sync::Arc;

use chrono::TimeDelta;

use super::{JobQueue, retry::retry_dead};
use crate::{
    clock::Clock,
    job::Dispatch,
    model::{
        BatchChange, BatchId, BatchStatus, IdempotencyEntry, IdempotencyKey, IdempotencyOutcome,
        Job, JobChange, JobId, JobKind, RetryRequest, TransitionRefused,
        idempotency::process_request_digest,
    },
    store::{Changed, Result, Store, StoreError},
};

/// Time after which a request under an idempotency key without an outcome is treated as lost. A request lasts
/// milliseconds, but the clocks of two processes may differ by seconds.
const REQUEST_TIMEOUT: TimeDelta = TimeDelta::seconds(15);

/// Accepts requests about batches and jobs, and queues the jobs.
#[derive(Clone)]
pub struct JobService {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    jobs: JobQueue,
}

/// The result of a request to delete a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionOutcome {
    /// The deletion is queued as this job.
    Queued(JobId),
    /// The batch is deleted, or its deletion is queued, already.
    AlreadyDeleted,
    /// There is no such batch, or it is still being received.
    Missing,
}

/// The result of a request under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyedOutcome {
    /// The request was made now, with this result.
    Made(Changed<JobId>),
    /// The same request was made before.
    Repeated(JobId),
    /// The same request is being made at this moment.
    Busy,
    /// The key belongs to another request.
    KeyReused,
}

impl JobService {
    /// Returns the service of a ledger.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, dispatch: Arc<dyn Dispatch>) -> Self {
        let jobs = JobQueue::new(Arc::clone(&store), Arc::clone(&clock), dispatch);
        Self { store, clock, jobs }
    }

    /// Requests that a batch is counted. Changes nothing if it is queued, being counted or counted, unless `force` is
    /// set.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger is unavailable: nothing was requested.
    pub async fn process(&self, id: BatchId, force: bool) -> Result<Changed<JobId>> {
        let job = JobId::Process(id);
        loop {
            let refused = match self
                .store
                .change_batch(id, &BatchChange::Process { force })
                .await?
            {
                Changed::Done(_) => {
                    self.arm_requested(job).await;
                    return Ok(Changed::Done(job));
                }
                Changed::Missing => return Ok(Changed::Missing),
                Changed::Refused(refused) => refused,
            };
            match self.store.batch(id).await?.map(|b| b.status) {
                Some(BatchStatus::Queued | BatchStatus::Processing) => {
                    // The first request or the reconciler arms the job. Arming a job that was settled meanwhile would
                    // run it again.
                    match self.store.add_job(job, self.clock.now()).await {
                        Ok(()) => self.jobs.nudge(job).await,
                        Err(error) => log_not_armed(job, &error),
                    }
                    return Ok(Changed::Done(job));
                }
                Some(BatchStatus::Completed) => return Ok(Changed::Done(job)),
                None | Some(BatchStatus::Receiving) => return Ok(Changed::Missing),
                Some(BatchStatus::Deleting | BatchStatus::Deleted) => {
                    return Ok(Changed::Refused(refused));
                }
                // The batch entered this status after the change was refused: try again.
                Some(BatchStatus::Uploaded | BatchStatus::Failed) => {}
            }
        }
    }

    /// Requests that a batch is counted, under an idempotency key: once, however often the request is sent.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger is unavailable: the same request may be sent again.
    pub async fn process_once(
        &self,
        key: IdempotencyKey,
        id: BatchId,
        mut force: bool,
    ) -> Result<KeyedOutcome> {
        let now = self.clock.now();
        let request_digest = Some(process_request_digest(id, force));
        let wanted = self.store.batch(id).await?.map(|batch| batch.wanted);
        let mut entry = IdempotencyEntry {
            batch: id,
            request_digest,
            outcome: None,
            wanted_before: wanted,
            opened_at: now,
        };
        if !self.store.add_idempotency_entry(key, &entry).await? {
            match self.store.idempotency_entry(key).await? {
                Some(earlier) if earlier.request_digest != request_digest => {
                    return Ok(KeyedOutcome::KeyReused);
                }
                Some(earlier) if earlier.outcome.is_some() => {
                    return Ok(KeyedOutcome::Repeated(JobId::Process(id)));
                }
                // Its sender died. If the figures were requested since, by it or by another, one run answers both.
                Some(earlier) if earlier.opened_at + REQUEST_TIMEOUT <= now => {
                    entry.wanted_before = earlier.wanted_before;
                    force &= earlier
                        .wanted_before
                        .is_none_or(|before| wanted <= Some(before));
                }
                Some(_) | None => return Ok(KeyedOutcome::Busy),
            }
        }
        let result = self.process(id, force).await?;
        if let Changed::Done(_) = result {
            self.record_request(key, entry).await;
        } else {
            self.store.release_idempotency_key(key, id).await?;
        }
        Ok(KeyedOutcome::Made(result))
    }

    /// Records that a request under a key was made. If this fails, a repeated request finds the counter of its batch
    /// changed.
    async fn record_request(&self, key: IdempotencyKey, mut entry: IdempotencyEntry) {
        entry.outcome = Some(IdempotencyOutcome::Requested);
        let batch = entry.batch;
        let recorded = self.store.replace_idempotency_entry(key, batch, &entry);
        if let Err(error) = recorded.await {
            tracing::warn!(batch.id = %batch, %error, "outcome of a request to process batch {batch} is not recorded under its key");
        }
    }

    /// Requests the deletion of a batch, which removes its events from all figures.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger is unavailable: nothing was requested.
    pub async fn delete(&self, id: BatchId) -> Result<DeletionOutcome> {
        match self.store.change_batch(id, &BatchChange::Undo).await? {
            Changed::Done(_) => {
                let job = JobId::Undo(id);
                self.arm_requested(job).await;
                Ok(DeletionOutcome::Queued(job))
            }
            Changed::Missing => Ok(DeletionOutcome::Missing),
            Changed::Refused(TransitionRefused { state, .. })
                if state == BatchStatus::Receiving.as_str() =>
            {
                Ok(DeletionOutcome::Missing)
            }
            Changed::Refused(_) => Ok(DeletionOutcome::AlreadyDeleted),
        }
    }

    /// Arms the job of a batch that was changed. The change is the promise to the caller: if arming fails, the
    /// reconciler does it.
    async fn arm_requested(&self, job: JobId) {
        if let Err(error) = self.jobs.arm(job).await {
            log_not_armed(job, &error);
        }
    }

    /// Queues a dead job again, with its full number of attempts.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger is unavailable: nothing was changed.
    pub async fn retry(&self, id: JobId) -> Result<Changed<Job>> {
        retry_dead(self.store.as_ref(), self.clock.as_ref(), &self.jobs, id).await
    }

    /// Requests that all dead jobs are queued again, or all of one kind: a job does it, since there may be thousands.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger is unavailable: nothing was requested.
    pub async fn retry_all(&self, kind: Option<JobKind>) -> Result<JobId> {
        let at_ms = self.clock.now().timestamp_millis();
        let job = JobId::Retry(RetryRequest { kind, at_ms });
        self.jobs.arm(job).await?;
        Ok(job)
    }

    /// Discards a dead job.
    ///
    /// # Errors
    /// [`StoreError`] if the ledger is unavailable.
    pub async fn discard(&self, job: JobId) -> Result<Changed<Job>> {
        // Without these jobs, a batch would be `deleting` or a day stale for ever.
        if let JobId::Undo(_) | JobId::Rollup(_) = job {
            let state = "one that has to be done: retry it".to_owned();
            let subject = format!("job {job}");
            return Ok(Changed::Refused(TransitionRefused {
                change: "discard",
                subject,
                state,
            }));
        }
        self.store
            .change_job(job, &JobChange::Discard, self.clock.now())
            .await
    }
}

pub(super) fn log_not_armed(job: JobId, error: &StoreError) {
    tracing::warn!(job.id = %job, %error, "job {job} is requested but not armed, the reconciler will arm it");
}
