//! Runs one job: claim, work under a lease that is renewed beside it, settle. What it came to is in the store.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::{backoff::delay, desk::Desk};
use crate::{
    clock::Clock,
    job::{Dispatch, Done, Limits, WorkError, work},
    model::{
        BatchChange, Job, JobChange, JobId, Outcome,
        job::{Phase, Progress},
    },
    store::{Changed, Result, Store, StoreError},
};

/// What a nudge came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// Another worker has it, it is not due, or it is settled: a nudge may be late or doubled.
    NotClaimed,
    /// It was worked on and settled.
    Settled,
    /// The lease was lost on the way; whoever has it now settles.
    Lost,
}

/// A place where jobs are run.
pub struct Runner {
    /// Where everything is.
    pub(crate) store: Arc<dyn Store>,
    /// Time.
    pub(crate) clock: Arc<dyn Clock>,
    /// The way to arm other jobs.
    pub(crate) desk: Desk,
    /// What bounds a run.
    pub(crate) limits: Limits,
    owner: String,
    stop: CancellationToken,
}

/// A claimed job under way, as its body sees it.
pub struct Claimed<'a> {
    /// The job's fencing token.
    pub token: i64,
    progress: &'a Mutex<Option<Progress>>,
}

impl Claimed<'_> {
    /// Says how far the run is; the next sign of life carries it.
    pub fn at(&self, phase: Phase, done: u64, total: u64) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(Progress { phase, done, total });
    }
}

impl Runner {
    /// A runner whose leases carry `owner`, which no other start of any process uses. `stop` makes it
    /// hand its jobs back.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        dispatch: Arc<dyn Dispatch>,
        limits: Limits,
        owner: String,
        stop: CancellationToken,
    ) -> Self {
        let desk = Desk::new(Arc::clone(&store), Arc::clone(&clock), dispatch);
        Self {
            store,
            clock,
            desk,
            limits,
            owner,
            stop,
        }
    }

    /// Looks at a job, and works on it if it is due and free.
    pub async fn run(&self, id: JobId) -> Ran {
        if self.stop.is_cancelled() {
            return Ran::NotClaimed;
        }
        let claim = JobChange::Claim {
            owner: self.owner.clone(),
        };
        match self.store.change_job(id, &claim, self.clock.now()).await {
            Ok(Changed::Done(job)) => self.work(&job).await,
            Ok(Changed::Refused(_) | Changed::Missing) => Ran::NotClaimed,
            Err(why) => {
                tracing::warn!(job.id = %id, error = %why, "can't claim job {id}: the sweep will try again");
                Ran::NotClaimed
            }
        }
    }

    async fn work(&self, job: &Job) -> Ran {
        let progress = Mutex::new(None);
        let claimed = Claimed {
            token: job.token,
            progress: &progress,
        };
        let body = AssertUnwindSafe(self.body(job, &claimed)).catch_unwind();
        let outcome = tokio::select! {
            biased;
            done = body => self.outcome(job, done.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))),
            () = self.keep_alive(job, &progress) => return Ran::Lost,
            () = self.stop.cancelled() => Outcome::HandBack,
        };
        self.settle(job, outcome).await
    }

    async fn body(&self, job: &Job, claimed: &Claimed<'_>) -> std::result::Result<Done, WorkError> {
        if job.crashes >= self.limits.crashes {
            // A job whose runs only ever crash is not run again.
            return Ok(Done::GivenUp);
        }
        match job.id {
            JobId::Process(id) => work::process::run(self, claimed, id).await,
            JobId::Undo(id) => work::undo::run(self, claimed, id).await,
            JobId::Rollup(day) => work::rollup::run(self, day).await,
            JobId::Reprocess(slot) => work::reprocess::run(self, claimed, slot).await,
            JobId::Cleanup(_) => work::cleanup::run(self, claimed).await,
        }
    }

    /// Renews the lease; returns when it is lost.
    async fn keep_alive(&self, job: &Job, progress: &Mutex<Option<Progress>>) {
        loop {
            self.clock.sleep(self.limits.lease / 3).await;
            let progress = *progress.lock().unwrap_or_else(PoisonError::into_inner);
            let renew = JobChange::Renew {
                token: job.token,
                progress,
            };
            match self
                .store
                .change_job(job.id, &renew, self.clock.now())
                .await
            {
                Ok(Changed::Done(_)) => {}
                Ok(Changed::Refused(_) | Changed::Missing) => {
                    lost(job);
                    return;
                }
                // The store is away; the lease may outlast it.
                Err(why) => {
                    tracing::warn!(job.id = %job.id, error = %why, "can't renew the lease of job {}", job.id)
                }
            }
        }
    }

    fn outcome(&self, job: &Job, done: std::result::Result<Done, WorkError>) -> Outcome {
        let later = |failures| self.clock.now() + delay(self.limits.backoff, failures, seed(job));
        match done {
            Ok(Done::Completed) => Outcome::Completed,
            Ok(Done::Again) => Outcome::Again,
            Ok(Done::Cancelled) | Err(WorkError::Superseded) => Outcome::Cancelled,
            Ok(Done::GivenUp) if job.crashes >= self.limits.crashes => Outcome::Dead {
                error: format!("its worker was lost {} times without progress", job.crashes),
                of_error: false,
            },
            Ok(Done::GivenUp) => Outcome::Dead {
                error: job
                    .last_error
                    .clone()
                    .unwrap_or_else(|| "its batch had been given up".into()),
                of_error: true,
            },
            Err(why @ (WorkError::Store(StoreError::Unavailable { .. }) | WorkError::Sort(_))) => {
                Outcome::Delay {
                    reason: chain(&why),
                    run_at: later(0),
                }
            }
            Err(
                why @ WorkError::Store(
                    StoreError::Corrupt { .. } | StoreError::Missing { .. } | StoreError::Setup(_),
                ),
            ) => Outcome::Dead {
                error: chain(&why),
                of_error: true,
            },
            Err(
                why @ (WorkError::Store(StoreError::Failed { .. }) | WorkError::Inconsistent(_)),
            ) => {
                if job.attempt + 1 >= self.limits.attempts {
                    Outcome::Dead {
                        error: chain(&why),
                        of_error: true,
                    }
                } else {
                    Outcome::Retry {
                        error: chain(&why),
                        run_at: later(job.attempt),
                    }
                }
            }
        }
    }

    /// Writes what a run came to: the batch first, the job last.
    async fn settle(&self, job: &Job, outcome: Outcome) -> Ran {
        log(job, &outcome);
        let again = outcome == Outcome::Again;
        let mut wait = Duration::from_millis(100);
        loop {
            match self.write_outcome(job, &outcome).await {
                Ok(Changed::Done(_)) if again => {
                    self.desk.nudge(job.id).await;
                    return Ran::Settled;
                }
                Ok(Changed::Done(_)) => return Ran::Settled,
                Ok(Changed::Refused(_) | Changed::Missing) => {
                    lost(job);
                    return Ran::Lost;
                }
                // Keeping the lease a little longer is better than a crash that was none.
                Err(why) => {
                    tracing::warn!(job.id = %job.id, error = %why, "can't settle job {} yet", job.id)
                }
            }
            tokio::select! {
                () = self.clock.sleep(wait) => {}
                () = self.stop.cancelled() => return Ran::Lost,
            }
            wait = (wait * 2).min(self.limits.lease / 3);
        }
    }

    async fn write_outcome(&self, job: &Job, outcome: &Outcome) -> Result<Changed<Job>> {
        if let (Outcome::Dead { error, .. }, JobId::Process(id)) = (outcome, job.id) {
            // A run that failed before it began has no fence to fail under.
            self.store
                .change_batch(id, &BatchChange::Begin { token: job.token })
                .await?;
            let fail = BatchChange::Fail {
                token: job.token,
                reason: error.clone(),
            };
            self.store.change_batch(id, &fail).await?;
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

/// What this run still writes is refused, by its token.
fn lost(job: &Job) {
    tracing::warn!(job.id = %job.id, token = job.token, "job {} was taken over: its lease had lapsed", job.id);
}

fn log(job: &Job, outcome: &Outcome) {
    let (id, attempt) = (job.id, job.attempt + 1);
    match outcome {
        Outcome::Completed => tracing::info!(job.id = %id, attempt, "job {id} completed"),
        Outcome::Again | Outcome::Cancelled | Outcome::HandBack => {
            tracing::info!(job.id = %id, ?outcome, "job {id} ended early")
        }
        Outcome::Retry { error, run_at } => {
            tracing::warn!(job.id = %id, attempt, error, %run_at, "job {id} failed, will be tried again")
        }
        Outcome::Delay { reason, run_at } => {
            tracing::warn!(job.id = %id, reason, %run_at, "job {id} has to wait")
        }
        Outcome::Dead { error, .. } => {
            tracing::error!(job.id = %id, attempt, error, "job {id} is given up")
        }
    }
}

/// The same claim waits the same, other claims wait otherwise.
fn seed(job: &Job) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(job.id.to_string().as_bytes(), job.token.cast_unsigned())
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> WorkError {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    WorkError::Inconsistent(format!(
        "the run panicked: {}",
        text.unwrap_or("no message")
    ))
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(why) = cause {
        text = format!("{text}: {why}");
        cause = why.source();
    }
    text
}
