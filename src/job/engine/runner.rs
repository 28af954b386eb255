//! Runs one job: acquires its lease, starts its body, renews the lease beside it, and **settles**: records the outcome
//! of the run in the ledger. Knows no kind of job.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{
    renewal::{LeaseLost, Renewal, log_lease_lost},
    settlement,
};
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
    renews_inline: bool,
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
            renews_inline: false,
        }
    }

    /// Renews leases on the task of the run, for a simulation that polls it by hand.
    #[must_use]
    pub fn renewing_inline(mut self) -> Self {
        self.renews_inline = true;
        self
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
            Err(error) if error.is_known_outage() => NudgeResult::NotAcquired,
            Err(error) => {
                tracing::warn!(job.id = %id, %error, "job {id} could not be acquired, the reconciler will nudge it again");
                NudgeResult::NotAcquired
            }
        }
    }

    /// Returns whether a job is short. A store that does not answer makes none short: the main lane has them all.
    pub async fn is_short(&self, id: JobId) -> bool {
        self.bodies
            .is_short(id, &*self.store)
            .await
            .unwrap_or(false)
    }

    async fn run_acquired(&self, job: &Job) -> NudgeResult {
        let begun = self.clock.elapsed();
        let progress = Arc::new(ProgressReporter::default());
        let context = self.context(job, &progress);
        let body = AssertUnwindSafe(self.run_body(job, &context)).catch_unwind();
        let lease_lost = self.renew(job, &progress);
        // The body last: it may use up the budget of the task, after which the others would not be polled.
        let outcome = tokio::select! {
            biased;
            () = lease_lost => return NudgeResult::LeaseLost,
            () = self.stop.cancelled() => RunOutcome::Released,
            ended = body => {
                let ended = ended.unwrap_or_else(|panic| Err(settlement::panic_error(panic.as_ref())));
                settlement::outcome(job, ended, &self.limits, self.clock.now())
            }
        };
        self.settle(job, &context, outcome, begun).await
    }

    /// Starts to renew the lease of a run, three times within its length.
    fn renew(&self, job: &Job, progress: &Arc<ProgressReporter>) -> LeaseLost {
        let renewal = Renewal {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            job: job.clone(),
            progress: Arc::clone(progress),
            period: self.limits.lease / 3,
        };
        if self.renews_inline {
            renewal.inline()
        } else {
            renewal.spawn()
        }
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

    /// Records the outcome of a run, trying again while the store is unavailable: a lease that is held a little longer
    /// does less harm than a crash counted for a run that had none.
    async fn settle(
        &self,
        job: &Job,
        context: &JobContext<'_>,
        outcome: RunOutcome,
        begun: Duration,
    ) -> NudgeResult {
        let mut wait = FIRST_SETTLE_RETRY;
        loop {
            match self.write_outcome(job, context, &outcome).await {
                Ok(Some(written)) => {
                    let took = self.clock.elapsed().saturating_sub(begun);
                    log_outcome(job, &written, took, context.progress.rows());
                    match written {
                        RunOutcome::MoreRequested => self.jobs.nudge(job.id).await,
                        RunOutcome::Retry { run_at, .. } | RunOutcome::Delay { run_at, .. } => {
                            self.jobs.nudge_at(job.id, run_at);
                        }
                        RunOutcome::Completed
                        | RunOutcome::Dead { .. }
                        | RunOutcome::Cancelled
                        | RunOutcome::Released => {}
                    }
                    return NudgeResult::Settled;
                }
                Ok(None) => {
                    log_lease_lost(job);
                    return NudgeResult::LeaseLost;
                }
                Err(error) if error.is_known_outage() => {
                    tracing::debug!(job.id = %job.id, %error, "job {} could not be settled, will try again", job.id)
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

    /// Abandons a job, unless nothing is left to do for it; then returns its outcome.
    async fn abandon(
        &self,
        job: &Job,
        context: &JobContext<'_>,
        reason: &str,
    ) -> Result<Option<RunOutcome>> {
        match self.bodies.end_without_run(job.id, context).await? {
            Some(RunEnd::Completed) => Ok(Some(RunOutcome::Completed)),
            Some(RunEnd::Cancelled) => Ok(Some(RunOutcome::Cancelled)),
            None | Some(RunEnd::Abandoned | RunEnd::MoreRequested) => {
                self.bodies.abandon(job.id, context, reason).await?;
                Ok(None)
            }
        }
    }

    /// Writes the outcome; returns what was written, or none if the lease was lost. A dead job is abandoned first, and
    /// only if something is left to do for it.
    async fn write_outcome(
        &self,
        job: &Job,
        context: &JobContext<'_>,
        outcome: &RunOutcome,
    ) -> Result<Option<RunOutcome>> {
        let outcome = match outcome {
            RunOutcome::Dead { error, .. } => match self.abandon(job, context, error).await {
                Ok(Some(end)) => end,
                Ok(None) => outcome.clone(),
                // The document of its subject is damaged: the job is a dead letter that nothing else shows.
                Err(why) if why.is_of_document() => {
                    tracing::error!(job.id = %job.id, error = %why, "subject of job {} could not be read, the job is dead", job.id);
                    outcome.clone()
                }
                Err(why) => return Err(why),
            },
            other => other.clone(),
        };
        let settle = JobChange::Settle {
            token: job.token,
            outcome: outcome.clone(),
        };
        let settled = self
            .store
            .change_job(job.id, &settle, self.clock.now())
            .await?;
        Ok(settled.done().map(|_| outcome))
    }
}

/// Logs the end of a run, how long it took, and how many rows it had.
fn log_outcome(job: &Job, outcome: &RunOutcome, took: Duration, rows: Option<u64>) {
    let (id, attempt) = (job.id, job.attempt + 1);
    let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        RunOutcome::Completed => {
            tracing::info!(job.id = %id, attempt, ms, rows, "job {id} completed")
        }
        RunOutcome::MoreRequested | RunOutcome::Cancelled | RunOutcome::Released => {
            tracing::info!(job.id = %id, ms, rows, ?outcome, "job {id} ended early")
        }
        RunOutcome::Retry { error, run_at } => {
            tracing::warn!(job.id = %id, attempt, ms, rows, error, %run_at, "job {id} failed, will run again")
        }
        RunOutcome::Delay { reason, run_at, .. } => {
            tracing::warn!(job.id = %id, ms, rows, reason, %run_at, "job {id} was delayed, will run again")
        }
        RunOutcome::Dead { error, .. } => {
            tracing::error!(job.id = %id, attempt, ms, rows, error, "job {id} is dead, an admin can retry or discard it")
        }
    }
}
