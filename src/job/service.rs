//! Accepts requests about jobs: process, delete, retry, discard. The ledger is changed first, then the caller answered;
//! the nudge to the queue may fail without harm.

use std::sync::Arc;

use chrono::TimeDelta;

use super::JobQueue;
use crate::{
    clock::Clock,
    job::Dispatch,
    model::{
        BatchChange, BatchId, BatchStatus, IdempotencyEntry, IdempotencyKey, IdempotencyOutcome,
        Job, JobChange, JobId, JobState, TransitionRefused, idempotency::process_request_digest,
    },
    store::{Changed, Result, Store},
};

/// Time after which a request under an idempotency key counts as dead. A request takes milliseconds, and the clocks of
/// two processes may differ by seconds.
const REQUEST_TIMEOUT: TimeDelta = TimeDelta::seconds(15);

/// The service for requests about jobs.
#[derive(Clone)]
pub struct JobService {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    jobs: JobQueue,
}

/// The result of a request to delete a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionRequest {
    /// The deletion is queued as this job.
    Queued(JobId),
    /// The batch is deleted, or its deletion is queued, already.
    AlreadyDeleted,
    /// There is no such batch, or it is still being received.
    Missing,
}

/// The result of a request under an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyedRequest {
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

    /// Requests the figures of a batch. While they are computed, or once they are, a repeated request changes nothing
    /// unless `force` is set.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is unavailable: nothing was requested.
    pub async fn process(&self, id: BatchId, force: bool) -> Result<Changed<JobId>> {
        let job = JobId::Process(id);
        loop {
            let refused = match self
                .store
                .change_batch(id, &BatchChange::Process { force })
                .await?
            {
                Changed::Done(_) => {
                    self.jobs.arm(job).await?;
                    return Ok(Changed::Done(job));
                }
                Changed::Missing => return Ok(Changed::Missing),
                Changed::Refused(refused) => refused,
            };
            match self.store.batch(id).await?.map(|b| b.status) {
                Some(BatchStatus::Queued | BatchStatus::Processing) => {
                    // The first request or the reconciler arms the job. Arming one that was settled meanwhile would
                    // run it again.
                    self.store.add_job(job, self.clock.now()).await?;
                    self.jobs.nudge(job).await;
                    return Ok(Changed::Done(job));
                }
                Some(BatchStatus::Completed) => return Ok(Changed::Done(job)),
                None | Some(BatchStatus::Receiving) => return Ok(Changed::Missing),
                Some(BatchStatus::Deleting | BatchStatus::Deleted) => {
                    return Ok(Changed::Refused(refused));
                }
                // The batch entered this state after it had refused the change.
                Some(BatchStatus::Uploaded | BatchStatus::Failed) => {}
            }
        }
    }

    /// Requests the figures of a batch under an idempotency key: once, however often the request is sent.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is unavailable: the same request may be sent again.
    pub async fn process_once(
        &self,
        key: IdempotencyKey,
        id: BatchId,
        force: bool,
    ) -> Result<KeyedRequest> {
        let now = self.clock.now();
        let request_digest = Some(process_request_digest(id, force));
        let mut entry = IdempotencyEntry {
            batch: id,
            request_digest,
            outcome: None,
            opened_at: now,
        };
        let mut force = force;
        if !self.store.add_idempotency_entry(key, &entry).await? {
            match self.store.idempotency_entry(key).await? {
                Some(before) if before.request_digest != request_digest => {
                    return Ok(KeyedRequest::KeyReused);
                }
                Some(before) if before.outcome.is_some() => {
                    return Ok(KeyedRequest::Repeated(JobId::Process(id)));
                }
                Some(before) if before.opened_at + REQUEST_TIMEOUT <= now => {}
                Some(_) | None => return Ok(KeyedRequest::Busy),
            }
            // The first sender died, perhaps after the batch was queued: a forced run is then not requested twice.
            let status = self.store.batch(id).await?.map(|batch| batch.status);
            let requested = [BatchStatus::Queued, BatchStatus::Processing];
            force &= !status.is_some_and(|status| requested.contains(&status));
        }
        let result = self.process(id, force).await?;
        if let Changed::Done(_) = result {
            entry.outcome = Some(IdempotencyOutcome::Requested);
            self.store
                .replace_idempotency_entry(key, id, &entry)
                .await?;
        } else {
            self.store.release_idempotency_key(key, id).await?;
        }
        Ok(KeyedRequest::Made(result))
    }

    /// Requests the deletion of a batch, which takes its events out of all figures.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is unavailable: nothing was requested.
    pub async fn delete(&self, id: BatchId) -> Result<DeletionRequest> {
        match self.store.change_batch(id, &BatchChange::Undo).await? {
            Changed::Done(_) => {
                let job = JobId::Undo(id);
                self.jobs.arm(job).await?;
                Ok(DeletionRequest::Queued(job))
            }
            Changed::Missing => Ok(DeletionRequest::Missing),
            Changed::Refused(TransitionRefused { state, .. })
                if state == BatchStatus::Receiving.as_str() =>
            {
                Ok(DeletionRequest::Missing)
            }
            Changed::Refused(_) => Ok(DeletionRequest::AlreadyDeleted),
        }
    }

    /// Queues a dead job again, with all its attempts.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is unavailable.
    pub async fn retry(&self, job: JobId) -> Result<Changed<Job>> {
        let state = self.store.job(job).await?.map(|j| j.state);
        // The batch first: a job that runs before its batch is queued again settles at once.
        if let (Some(JobState::Dead), JobId::Process(id)) = (state, job) {
            self.store.change_batch(id, &BatchChange::Revive).await?;
        }
        let changed = self
            .store
            .change_job(job, &JobChange::Retry, self.clock.now())
            .await?;
        if matches!(changed, Changed::Done(_)) {
            self.jobs.nudge(job).await;
        }
        Ok(changed)
    }

    /// Discards a dead job.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the ledger is unavailable.
    pub async fn discard(&self, job: JobId) -> Result<Changed<Job>> {
        // Without its job, a batch would be deleting or a day stale for ever.
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
