//! A job of the ledger, its states, and the one function that changes them.
//! The queue only carries a job's id; what is true of it stands here.

use serde::{Deserialize, Serialize};

use super::{Instant, JobId, Refused};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Due at `run_at`.
    Queued,
    /// Claimed under a lease.
    Running,
    /// Done, until it is armed again.
    Completed,
    /// Given up; an admin decides.
    Dead,
    /// No longer wanted.
    Cancelled,
    /// Given up by an admin.
    Discarded,
}

impl JobState {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Queued,
        Self::Running,
        Self::Completed,
        Self::Dead,
        Self::Cancelled,
        Self::Discarded,
    ];

    /// The name users see and the store keeps.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Dead => "dead",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// Whether nobody works on it or is about to.
    #[must_use]
    pub fn is_idle(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// Who works on a job, and how often it said so since it began. An observer that sees the count
/// stand still for a lease's length takes the worker for lost; no two clocks are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The worker, unique to one start of one process.
    pub owner: String,
    /// Grows with each sign of life.
    pub renewals: u64,
}

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Progress {
    /// The step, in the order of a run.
    pub phase: Phase,
    /// Rows (or days, or batches) done in this step.
    pub done: u64,
    /// Of how many.
    pub total: u64,
}

/// The steps that a run names while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Sorting identities.
    Sort,
    /// Claiming identities.
    Claim,
    /// Folding events into partials.
    Fold,
    /// Rolling up days.
    Rollup,
    /// Comparing batches with their events.
    Check,
    /// Removing what is no longer wanted.
    Remove,
}

/// One line of a job's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When.
    pub at: Instant,
    /// The state it came to.
    pub to: JobState,
    /// Failures so far.
    pub attempt: u32,
    /// The worker, or the admin's hand.
    pub worker: Option<String>,
    /// Why.
    pub reason: String,
}

/// One job of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Kind and subject.
    pub id: JobId,
    /// Where it is in its life.
    pub state: JobState,
    /// Failures since it was last armed.
    pub attempt: u32,
    /// Lapsed leases without progress between.
    pub crashes: u32,
    /// The farthest a run has come, to tell a crash that repeats from one that doesn't.
    pub farthest: Option<Progress>,
    /// Not before.
    pub run_at: Instant,
    /// Who works on it.
    pub lease: Option<Lease>,
    /// Grows by one at each claim, for ever: the fencing token of its writes.
    pub token: i64,
    /// How far the present run is.
    pub progress: Option<Progress>,
    /// The last failure.
    pub last_error: Option<String>,
    /// Whether it died of errors, so that another night may try again.
    pub died_of_error: bool,
    /// Nights it was brought back.
    pub nights: u32,
    /// When it was first armed.
    pub created_at: Instant,
    /// When it last changed state.
    pub changed_at: Instant,
    /// What happened, oldest first, at most [`Job::HISTORY`] lines.
    pub history: Vec<HistoryEntry>,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The work is done.
    Completed,
    /// More was asked for meanwhile.
    Again,
    /// Failed; another attempt later.
    Retry {
        /// Why.
        error: String,
        /// Not before.
        run_at: Instant,
    },
    /// Something that is not the job's fault is away; costs no attempt.
    Delay {
        /// What.
        reason: String,
        /// Not before.
        run_at: Instant,
    },
    /// Given up.
    Dead {
        /// Why.
        error: String,
        /// Whether it died of errors rather than crashes.
        of_error: bool,
    },
    /// Its subject no longer wants it.
    Cancelled,
    /// The worker stops; costs nothing.
    HandBack,
}

/// A change asked of a job. Each is one compare-and-set on one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobChange {
    /// There is work: queue it if nobody has it.
    Arm,
    /// A worker takes it.
    Claim {
        /// The worker.
        owner: String,
    },
    /// The worker lives.
    Renew {
        /// The claim's token.
        token: i64,
        /// How far it is.
        progress: Option<Progress>,
    },
    /// The run ended.
    Settle {
        /// The claim's token.
        token: i64,
        /// How.
        outcome: Outcome,
    },
    /// The lease stood still for too long.
    Lapse {
        /// The token that was seen.
        token: i64,
        /// The renewals that were seen.
        renewals: u64,
        /// Not before.
        run_at: Instant,
    },
    /// An admin wants another try.
    Retry,
    /// An admin gives it up.
    Discard,
    /// Another night's try of a job that died of errors.
    Revive {
        /// How many nights a dead job is tried again.
        nights: u32,
    },
}

impl JobChange {
    /// The change's name, for errors and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Arm => "arm",
            Self::Claim { .. } => "claim",
            Self::Renew { .. } => "renew",
            Self::Settle { .. } => "settle",
            Self::Lapse { .. } => "lapse",
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Revive { .. } => "revive",
        }
    }
}

impl Job {
    /// Lines of history kept; the oldest go first.
    pub const HISTORY: usize = 100;

    /// A job that has just been armed for the first time.
    #[must_use]
    pub fn armed(id: JobId, now: Instant) -> Self {
        let mut job = Self {
            id,
            state: JobState::Completed,
            attempt: 0,
            crashes: 0,
            farthest: None,
            run_at: now,
            lease: None,
            token: 0,
            progress: None,
            last_error: None,
            died_of_error: false,
            nights: 0,
            created_at: now,
            changed_at: now,
            history: Vec::new(),
        };
        job.requeue(now, now, "armed");
        job
    }

    /// The job after a change, or why it can't be: every transition there is.
    /// `Arm` of a job that is queued or running leaves it as it is.
    ///
    /// # Errors
    /// [`Refused`] names the change and the state that does not allow it.
    pub fn after(&self, change: &JobChange, now: Instant) -> Result<Self, Refused> {
        let mut next = self.clone();
        let refused = || Refused {
            change: change.name(),
            subject: format!("job {}", self.id),
            state: self.state.as_str().into(),
        };
        let mine = |token: &i64| self.state == JobState::Running && self.token == *token;
        match change {
            JobChange::Arm => match self.state {
                JobState::Queued | JobState::Running => {}
                JobState::Completed
                | JobState::Dead
                | JobState::Cancelled
                | JobState::Discarded => {
                    next.nights = 0;
                    next.fresh(now, "armed");
                }
            },
            JobChange::Claim { owner } if self.state == JobState::Queued && self.run_at <= now => {
                next.claim(owner, now)
            }
            JobChange::Renew { token, progress } if mine(token) => next.renew(*progress),
            JobChange::Settle { token, outcome } if mine(token) => next.settle(outcome, now),
            JobChange::Lapse {
                token,
                renewals,
                run_at,
            } if mine(token) && self.lease.as_ref().is_some_and(|l| l.renewals == *renewals) => {
                next.lapse(*run_at, now);
            }
            JobChange::Retry if self.state == JobState::Dead => {
                next.nights = 0;
                next.fresh(now, "retried by an admin");
            }
            JobChange::Discard if self.state == JobState::Dead => {
                next.enter(JobState::Discarded, now, "discarded by an admin")
            }
            JobChange::Revive { nights }
                if self.state == JobState::Dead && self.died_of_error && self.nights < *nights =>
            {
                next.nights += 1;
                next.fresh(now, "tried again by the nightly run");
            }
            JobChange::Claim { .. }
            | JobChange::Renew { .. }
            | JobChange::Settle { .. }
            | JobChange::Lapse { .. }
            | JobChange::Retry
            | JobChange::Discard
            | JobChange::Revive { .. } => return Err(refused()),
        }
        Ok(next)
    }

    fn claim(&mut self, owner: &str, now: Instant) {
        self.token += 1;
        self.lease = Some(Lease {
            owner: owner.into(),
            renewals: 0,
        });
        self.progress = None;
        self.enter(JobState::Running, now, "claimed");
    }

    fn renew(&mut self, progress: Option<Progress>) {
        if let Some(lease) = &mut self.lease {
            lease.renewals += 1;
        }
        self.progress = progress.or(self.progress);
    }

    fn settle(&mut self, outcome: &Outcome, now: Instant) {
        match outcome {
            Outcome::Completed => {
                self.fresh_counts();
                self.nights = 0;
                self.enter(JobState::Completed, now, "completed");
            }
            Outcome::Again => {
                self.fresh_counts();
                self.requeue(now, now, "asked for again meanwhile");
            }
            Outcome::Retry { error, run_at } => {
                self.attempt += 1;
                self.crashes = 0;
                self.last_error = Some(error.clone());
                self.requeue(*run_at, now, error);
            }
            Outcome::Delay { reason, run_at } => {
                self.last_error = Some(reason.clone());
                self.requeue(*run_at, now, reason);
            }
            Outcome::Dead { error, of_error } => {
                self.attempt += u32::from(*of_error);
                self.died_of_error = *of_error;
                self.last_error = Some(error.clone());
                self.enter(JobState::Dead, now, error);
            }
            Outcome::Cancelled => self.enter(JobState::Cancelled, now, "no longer wanted"),
            Outcome::HandBack => self.requeue(now, now, "handed back by a worker that stops"),
        }
        self.lease = None;
    }

    fn lapse(&mut self, run_at: Instant, now: Instant) {
        let farther = self.progress > self.farthest;
        self.crashes = if farther { 1 } else { self.crashes + 1 };
        self.farthest = self.farthest.max(self.progress);
        self.requeue(run_at, now, "the worker's lease ran out");
        self.lease = None;
    }

    fn fresh(&mut self, now: Instant, reason: &str) {
        self.fresh_counts();
        self.requeue(now, now, reason);
    }

    fn fresh_counts(&mut self) {
        self.attempt = 0;
        self.crashes = 0;
        self.farthest = None;
        self.died_of_error = false;
        self.last_error = None;
    }

    fn requeue(&mut self, run_at: Instant, now: Instant, reason: &str) {
        self.run_at = run_at;
        self.enter(JobState::Queued, now, reason);
    }

    fn enter(&mut self, state: JobState, now: Instant, reason: &str) {
        self.state = state;
        self.changed_at = now;
        let worker = self.lease.as_ref().map(|l| l.owner.clone());
        let reason = reason.chars().take(1_000).collect();
        self.history.push(HistoryEntry {
            at: now,
            to: state,
            attempt: self.attempt,
            worker,
            reason,
        });
        if self.history.len() > Self::HISTORY {
            self.history.remove(0);
        }
    }
}

#[cfg(test)]
mod tests;
