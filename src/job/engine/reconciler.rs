//! Makes the ledger agree with what batches and days require: arms missing jobs, takes back expired leases, nudges due
//! jobs. A lost nudge, a dead worker or a flushed queue costs a pass of delay and nothing else.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;

use super::backoff::delay;
use crate::{
    clock::Clock,
    job::{Dispatch, JobLimits, JobQueue, context::certain_time},
    model::{BatchChange, BatchId, BatchStatus, Day, Job, JobChange, JobId, JobState},
    store::{BatchFilter, Result, Store, StoreError},
};

/// Documents read in one query.
const PAGE: usize = 200;
/// Due jobs nudged in one pass. The others wait in the ledger, which keeps the queue short.
const NUDGES: usize = 1_000;
/// Difference of the clocks that is worth a log line.
const LOGGED_DIFFERENCE: TimeDelta = TimeDelta::minutes(1);
/// Time between two readings of the clocks.
const CLOCK_READING_INTERVAL: Duration = Duration::from_secs(60);
/// Leases observed; more than any pool has workers.
const OBSERVED_LEASES: usize = 10_000;

/// A lease as it was last seen to change, by the observer's own monotonic clock.
struct ObservedLease {
    token: i64,
    renewals: u64,
    since: Duration,
}

enum LeaseState {
    Expired,
    Live(ObservedLease),
}

/// The reconciler of one process. It compares what it reads with its previous pass, so passes must not overlap.
pub struct Reconciler {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    jobs: JobQueue,
    limits: JobLimits,
    /// Set if one process owns the store: a lease without this prefix is of an earlier start, and has expired.
    owner_prefix: Option<String>,
    job_leases: HashMap<JobId, ObservedLease>,
    upload_leases: HashMap<BatchId, ObservedLease>,
    /// The days that were stale at the previous pass.
    stale_days: HashSet<Day>,
    /// When the clocks were last read.
    clocks_read: Option<Duration>,
    /// Whether the clock of the machine was ahead of the store's time then.
    is_clock_ahead: bool,
}

impl Reconciler {
    /// Returns a reconciler that has observed nothing yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        dispatch: Arc<dyn Dispatch>,
        limits: JobLimits,
        owner_prefix: Option<String>,
    ) -> Self {
        let jobs = JobQueue::new(Arc::clone(&store), Arc::clone(&clock), dispatch);
        Self {
            store,
            clock,
            jobs,
            limits,
            owner_prefix,
            job_leases: HashMap::new(),
            upload_leases: HashMap::new(),
            stale_days: HashSet::new(),
            clocks_read: None,
            is_clock_ahead: false,
        }
    }

    /// Runs one pass. A step that fails does not keep the others from running, nor one document the rest of its step.
    ///
    /// # Errors
    /// The first [`StoreError`]; the next pass does the rest.
    pub async fn pass(&mut self) -> Result<()> {
        let mut first = Ok(());
        keep_first(&mut first, self.read_clocks().await)?;
        keep_first(&mut first, self.requeue_expired_jobs().await)?;
        keep_first(&mut first, self.abandon_expired_uploads().await)?;
        keep_first(&mut first, self.arm_batches().await)?;
        keep_first(&mut first, self.arm_stale_days().await)?;
        keep_first(&mut first, self.nudge_due_jobs().await)?;
        first
    }

    /// Advances the certain time of the store, and logs when the clock of the machine gets ahead of it.
    async fn read_clocks(&mut self) -> Result<()> {
        let now = self.clock.elapsed();
        if self
            .clocks_read
            .is_none_or(|last| now - last >= CLOCK_READING_INTERVAL)
        {
            let certain = certain_time(&*self.store, &*self.clock).await?;
            let ahead = self.clock.now() - certain;
            let is_ahead = ahead > LOGGED_DIFFERENCE;
            if is_ahead && !self.is_clock_ahead {
                let seconds = ahead.num_seconds();
                tracing::warn!(
                    seconds,
                    "the clock of this machine is {seconds} s ahead of the store's time: nothing expires by it before the service has run for a day; correct the clock, or wait if the service was stopped for that long"
                );
            }
            self.is_clock_ahead = is_ahead;
            self.clocks_read = Some(now);
        }
        Ok(())
    }

    async fn nudge_due_jobs(&self) -> Result<()> {
        for id in self.store.due_jobs(self.clock.now(), NUDGES).await? {
            self.jobs.nudge(id).await;
        }
        Ok(())
    }

    async fn requeue_expired_jobs(&mut self) -> Result<()> {
        let running = self
            .store
            .jobs_in(JobState::Running, None, OBSERVED_LEASES)
            .await?;
        let mut live = HashMap::new();
        for job in &running {
            let Some(lease) = &job.lease else { continue };
            let before = self.job_leases.remove(&job.id);
            match self.observe(before, &lease.owner, job.token, lease.renewals) {
                LeaseState::Expired => {
                    let requeued = self.requeue_expired_job(job, lease.renewals).await;
                    skip_document(job.id, requeued)?;
                }
                LeaseState::Live(lease) => drop(live.insert(job.id, lease)),
            }
        }
        self.job_leases = live;
        Ok(())
    }

    async fn requeue_expired_job(&self, job: &Job, renewals: u64) -> Result<()> {
        tracing::warn!(job.id = %job.id, token = job.token, crashes = job.crashes + 1, "lease of job {} expired, the job is queued again", job.id);
        let now = self.clock.now();
        // The first expiry is mostly a restart, which needs no wait.
        let run_at = if job.crashes == 0 {
            now
        } else {
            now + delay(self.limits.backoff, job.crashes, job.token.cast_unsigned())
        };
        let expire = JobChange::Expire {
            token: job.token,
            renewals,
            run_at,
        };
        self.store
            .change_job(job.id, &expire, self.clock.now())
            .await
            .map(drop)
    }

    async fn abandon_expired_uploads(&mut self) -> Result<()> {
        let mut live = HashMap::new();
        for (id, (owner, renewals)) in self.batches_in(BatchStatus::Receiving).await? {
            let before = self.upload_leases.remove(&id);
            match self.observe(before, &owner, 0, renewals) {
                LeaseState::Expired => {
                    let abandoned = self.abandon_upload(id, renewals).await;
                    skip_document(id, abandoned)?;
                }
                LeaseState::Live(lease) => drop(live.insert(id, lease)),
            }
        }
        self.upload_leases = live;
        Ok(())
    }

    /// Abandons an upload and removes its rows. Cleanup removes later what a delayed writer still adds.
    async fn abandon_upload(&self, id: BatchId, renewals: u64) -> Result<()> {
        let abandon = BatchChange::Abandon {
            at: self.clock.now(),
            renewals: Some(renewals),
        };
        if self
            .store
            .change_batch(id, &abandon)
            .await?
            .done()
            .is_some()
        {
            tracing::warn!(batch.id = %id, "upload {id} was never finished, its rows are removed");
            while self.store.drop_rejections(id).await? {}
            self.store.drop_events(id).await?;
        }
        Ok(())
    }

    /// Compares a lease with the previous pass. A lease expires once its counter has not grown for the lease's length on
    /// this process's own clock, so clocks of two machines are never compared.
    fn observe(
        &self,
        before: Option<ObservedLease>,
        owner: &str,
        token: i64,
        renewals: u64,
    ) -> LeaseState {
        if self
            .owner_prefix
            .as_ref()
            .is_some_and(|prefix| !owner.starts_with(prefix))
        {
            return LeaseState::Expired;
        }
        let now = self.clock.elapsed();
        match before {
            Some(lease) if (lease.token, lease.renewals) == (token, renewals) => {
                if now.saturating_sub(lease.since) >= self.limits.lease {
                    LeaseState::Expired
                } else {
                    LeaseState::Live(lease)
                }
            }
            Some(_) | None => LeaseState::Live(ObservedLease {
                token,
                renewals,
                since: now,
            }),
        }
    }

    async fn arm_batches(&self) -> Result<()> {
        for status in [BatchStatus::Queued, BatchStatus::Processing] {
            for (id, _) in self.batches_in(status).await? {
                let job = JobId::Process(id);
                skip_document(job, self.arm_if_idle(job).await)?;
            }
        }
        for (id, _) in self.batches_in(BatchStatus::Deleting).await? {
            let job = JobId::Undo(id);
            skip_document(job, self.arm_unless_dead(job).await)?;
        }
        Ok(())
    }

    async fn arm_if_idle(&self, job: JobId) -> Result<()> {
        let state = self.store.job(job).await?.map(|j| j.state);
        if state.is_none_or(JobState::is_idle) {
            self.jobs.arm(job).await?;
        }
        Ok(())
    }

    /// Arms the rollup of each day that was stale at the previous pass too: the run that marks a day also rolls it up.
    async fn arm_stale_days(&mut self) -> Result<()> {
        let mut stale = HashSet::new();
        let mut after = None;
        loop {
            let page = self.store.stale_days(after, PAGE).await?;
            after = page.last().copied();
            for day in &page {
                if self.stale_days.contains(day) {
                    let job = JobId::Rollup(*day);
                    skip_document(job, self.arm_unless_dead(job).await)?;
                }
            }
            let is_last = page.len() < PAGE;
            stale.extend(page);
            if is_last {
                self.stale_days = stale;
                return Ok(());
            }
        }
    }

    /// Leaves a dead job to an admin or to the scheduled verification.
    async fn arm_unless_dead(&self, job: JobId) -> Result<()> {
        let state = self.store.job(job).await?.map(|j| j.state);
        match state {
            None | Some(JobState::Completed | JobState::Cancelled) => self.jobs.arm(job).await,
            Some(JobState::Queued | JobState::Running | JobState::Dead | JobState::Discarded) => {
                Ok(())
            }
        }
    }

    /// Returns the ids and upload leases of the batches in a status. Holds one page of documents at a time.
    async fn batches_in(&self, status: BatchStatus) -> Result<Vec<(BatchId, (String, u64))>> {
        let mut filter = BatchFilter {
            statuses: vec![status],
            parent: None,
            before: None,
        };
        let mut all = Vec::new();
        loop {
            let page = self.store.list_batches(&filter, PAGE).await?;
            let has_more = page.len() == PAGE && all.len() < OBSERVED_LEASES;
            filter.before = page.last().map(|b| b.id);
            all.extend(page.into_iter().map(|b| (b.id, b.upload_lease)));
            if !has_more {
                return Ok(all);
            }
        }
    }
}

/// Records the first error of the steps. Returns that of a store that does not answer: the other steps would wait for it too.
fn keep_first(first: &mut Result<()>, done: Result<()>) -> Result<()> {
    match done {
        Err(error @ StoreError::Unavailable { .. }) => Err(error),
        done => {
            if first.is_ok() {
                *first = done;
            }
            Ok(())
        }
    }
}

/// Continues a step after the error of one document. If the store itself is away, the others would fail too.
fn skip_document(subject: impl std::fmt::Display, result: Result<()>) -> Result<()> {
    match result {
        Err(
            error @ (StoreError::Corrupt { .. }
            | StoreError::Missing { .. }
            | StoreError::Failed { .. }),
        ) => {
            tracing::error!(%subject, %error, "{subject} could not be reconciled, the pass goes on with the others");
            Ok(())
        }
        Ok(())
        | Err(StoreError::Unavailable { .. } | StoreError::Blocked { .. } | StoreError::Setup(_)) => {
            result
        }
    }
}
