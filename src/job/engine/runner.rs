//! Runs one job: acquires its lease, starts its body, renews the lease beside it, and **settles**: records the outcome
//! of the run in the ledger. Knows no kind of job.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::settlement;
use crate::{
    clock::Clock,
    job::{
        Dispatch, JobBodies, JobContext, JobLimits, JobQueue, ProgressReporter, RunEnd, RunError,
    },
    model::{Job, JobChange, JobId, RunOutcome},
    store::{Changed, Result, Store},
};

/// First wait before a settlement that the store refused is written again; doubled for each further try.
const FIRST_SETTLE_RETRY: Duration = Duration::from_millis(100);

/// What a worker did about a nudge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NudgeResult {
    /// Nothing: another worker has the job, it is not due, or it is settled. Nudges may be late or repeated.
    NotAcquired,
    /// Ran the job and settled it.
    Settled,
    /// Lost the lease during the run. The worker that has it now settles the job.
    LeaseLost,
}

/// Runs jobs under leases of one owner.
pub struct Runner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    jobs: JobQueue,
    bodies: Arc<dyn JobBodies>,
    limits: JobLimits,
    owner: String,
    stop: CancellationToken,
}

impl Runner {
    /// Returns a runner whose leases carry `owner`, which no other start of any process uses. `stop` makes it release
    /// the leases of its runs.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        dispatch: Arc<dyn Dispatch>,
        bodies: Arc<dyn JobBodies>,
        limits: JobLimits,
        owner: String,
        stop: CancellationToken,
    ) -> Self {
        let jobs = JobQueue::new(Arc::clone(&store), Arc::clone(&clock), dispatch);
        Self {
            store,
            clock,
            jobs,
            bodies,
            limits,
            owner,
            stop,
        }
    }

    /// Runs a job if it is due and nobody holds its lease.
    pub async fn run(&self, id: JobId) -> NudgeResult {
        if self.stop.is_cancelled() {
            return NudgeResult::NotAcquired;
        }
        let acquire = JobChange::Acquire {
            owner: self.owner.clone(),
        };
        match self.store.change_job(id, &acquire, self.clock.now()).await {
            Ok(Changed::Done(job)) => self.run_acquired(&job).await,
            Ok(Changed::Refused(_) | Changed::Missing) => NudgeResult::NotAcquired,
            Err(error) => {
                tracing::warn!(job.id = %id, %error, "job {id} could not be acquired, the reconciler will nudge it again");
                NudgeResult::NotAcquired
            }
        }
    }

    async fn run_acquired(&self, job: &Job) -> NudgeResult {
        let progress = ProgressReporter::default();
        let context = self.context(job, &progress);
        let body = AssertUnwindSafe(self.run_body(job, &context)).catch_unwind();
        let outcome = tokio::select! {
            biased;
            ended = body => {
                let ended = ended.unwrap_or_else(|panic| Err(settlement::panic_error(panic.as_ref())));
                settlement::outcome(job, ended, &self.limits, self.clock.now())
            }
            () = self.renew_until_lost(job, &progress) => return NudgeResult::LeaseLost,
            () = self.stop.cancelled() => RunOutcome::Released,
        };
        self.settle(job, &context, outcome).await
    }

    fn context<'a>(&'a self, job: &Job, progress: &'a ProgressReporter) -> JobContext<'a> {
        JobContext {
            store: self.store.as_ref(),
            clock: self.clock.as_ref(),
            jobs: &self.jobs,
            limits: &self.limits,
            token: job.token,
            progress,
        }
    }

    async fn run_body(
        &self,
        job: &Job,
        context: &JobContext<'_>,
    ) -> std::result::Result<RunEnd, RunError> {
        // A body that crashes its process each time would do so again.
        if job.crashes >= self.limits.crashes {
            return Ok(RunEnd::Abandoned);
        }
        self.bodies.run(job.id, context).await
    }

    /// Renews the lease three times within its length; returns once it is lost.
    async fn renew_until_lost(&self, job: &Job, progress: &ProgressReporter) {
        loop {
            self.clock.sleep(self.limits.lease / 3).await;
            let renew = JobChange::Renew {
                token: job.token,
                progress: progress.latest(),
            };
            match self
                .store
                .change_job(job.id, &renew, self.clock.now())
                .await
            {
                Ok(Changed::Done(_)) => {}
                Ok(Changed::Refused(_) | Changed::Missing) => {
                    log_lease_lost(job);
                    return;
                }
                // The lease may outlast the outage.
                Err(error) => {
                    tracing::warn!(job.id = %job.id, %error, "lease of job {} could not be renewed, will try again", job.id)
                }
            }
        }
    }

    /// Records the outcome of a run, trying again while the store is unavailable: a lease that is held a little longer
    /// does less harm than a crash counted for a run that had none.
    async fn settle(
        &self,
        job: &Job,
        context: &JobContext<'_>,
        outcome: RunOutcome,
    ) -> NudgeResult {
        log_outcome(job, &outcome);
        let mut wait = FIRST_SETTLE_RETRY;
        loop {
            match self.write_outcome(job, context, &outcome).await {
                Ok(Changed::Done(_)) => {
                    if outcome == RunOutcome::MoreRequested {
                        self.jobs.nudge(job.id).await;
                    }
                    return NudgeResult::Settled;
                }
                Ok(Changed::Refused(_) | Changed::Missing) => {
                    log_lease_lost(job);
                    return NudgeResult::LeaseLost;
                }
                Err(error) => {
                    tracing::warn!(job.id = %job.id, %error, "job {} could not be settled, will try again", job.id)
                }
            }
            tokio::select! {
                () = self.clock.sleep(wait) => {}
                () = self.stop.cancelled() => return NudgeResult::LeaseLost,
            }
            wait = (wait * 2).min(self.limits.lease / 3);
        }
    }

    async fn write_outcome(
        &self,
        job: &Job,
        context: &JobContext<'_>,
        outcome: &RunOutcome,
    ) -> Result<Changed<Job>> {
        if let RunOutcome::Dead { error, .. } = outcome {
            self.bodies.abandon(job.id, context, error).await?;
        }
        let settle = JobChange::Settle {
            token: job.token,
            outcome: outcome.clone(),
        };
        self.store
            .change_job(job.id, &settle, self.clock.now())
            .await
    }
}

/// The token of the lost lease refuses all further writes of the run.
fn log_lease_lost(job: &Job) {
    tracing::warn!(job.id = %job.id, token = job.token, "lease of job {} was lost to another worker, this run ends", job.id);
}

fn log_outcome(job: &Job, outcome: &RunOutcome) {
    let (id, attempt) = (job.id, job.attempt + 1);
    match outcome {
        RunOutcome::Completed => tracing::info!(job.id = %id, attempt, "job {id} completed"),
        RunOutcome::MoreRequested | RunOutcome::Cancelled | RunOutcome::Released => {
            tracing::info!(job.id = %id, ?outcome, "job {id} ended early")
        }
        RunOutcome::Retry { error, run_at } => {
            tracing::warn!(job.id = %id, attempt, error, %run_at, "job {id} failed, will run again")
        }
        RunOutcome::Delay { reason, run_at } => {
            tracing::warn!(job.id = %id, reason, %run_at, "job {id} was delayed, will run again")
        }
        RunOutcome::Dead { error, .. } => {
            tracing::error!(job.id = %id, attempt, error, "job {id} is dead, an admin can retry or discard it")
        }
    }
}
