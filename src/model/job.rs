//! A job of the ledger and its states. All transitions are in `transition`.
//! The queue carries only the id of a job; the ledger is the truth.

mod transition;

use serde::{Deserialize, Serialize};

use super::{Instant, JobId};

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits; due at `run_at`.
    Queued,
    /// A worker runs it under a lease.
    Running,
    /// Done, until it is armed again.
    Completed,
    /// Failed for good, until an admin retries or discards it.
    Dead,
    /// Its subject no longer needs it.
    Cancelled,
    /// Discarded by an admin.
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

    /// Returns the name in replies and in the store.
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

    /// Returns whether the job is neither queued nor running.
    #[must_use]
    pub fn is_idle(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// The lease of a running job. An observer that sees `renewals` unchanged for a lease's length, by its own clock, treats
/// the worker as lost; the clocks of two machines are never compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The worker; unique to one start of one process.
    pub owner: String,
    /// Incremented by each renewal, from 0 for each run.
    pub renewals: u64,
}

/// The progress of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct JobProgress {
    /// The phase; phases are ordered as in a run.
    pub phase: JobPhase,
    /// Rows, days or batches done in this phase.
    pub done: u64,
    /// Rows, days or batches of this phase in all.
    pub total: u64,
}

/// The phases of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
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
    /// Removing deleted or expired data.
    Remove,
    /// Queueing dead jobs again.
    Retry,
}

/// One entry of a job's history: a change of its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// The time of the change.
    pub at: Instant,
    /// The new state.
    pub to: JobState,
    /// Failures up to the change.
    pub attempt: u32,
    /// The worker that held the lease.
    pub worker: Option<String>,
    /// The reason of the change.
    pub reason: String,
}

/// One job of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The kind and the subject.
    pub id: JobId,
    /// The state.
    pub state: JobState,
    /// Failures since the job was last armed.
    pub attempt: u32,
    /// Expired leases in a row, without progress between.
    pub crashes: u32,
    /// Delays in a row because the disk refused.
    #[serde(default)]
    pub delays: u32,
    /// The farthest progress of any run; a crash beyond it is not counted as a repeated one.
    pub farthest: Option<JobProgress>,
    /// The time from which the job is due.
    pub run_at: Instant,
    /// The lease; set while the job runs.
    pub lease: Option<Lease>,
    /// The fencing token of the run's writes. Incremented each time the lease is acquired, never reset.
    pub token: i64,
    /// The progress of the present run.
    pub progress: Option<JobProgress>,
    /// The reason of the last failure or delay.
    pub last_error: Option<String>,
    /// Whether the job is dead because of errors, so that scheduled verifications revive it.
    pub died_of_error: bool,
    /// Scheduled verifications that revived the job since it last completed.
    pub nights: u32,
    /// The time at which the job was first armed.
    pub created_at: Instant,
    /// The time of the last change of state.
    pub changed_at: Instant,
    /// The changes of state, oldest first; at most [`Job::HISTORY`] entries.
    pub history: Vec<HistoryEntry>,
}

/// The outcome of a run, as the ledger records it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutcome {
    /// The work is done.
    Completed,
    /// More work was requested during the run.
    MoreRequested,
    /// The run failed; another attempt follows.
    Retry {
        /// The error.
        error: String,
        /// The time of the next attempt.
        run_at: Instant,
    },
    /// A resource was unavailable; the run does not count as an attempt.
    Delay {
        /// The reason.
        reason: String,
        /// The time of the next run.
        run_at: Instant,
        /// Whether the disk refused, which no wait mends.
        is_blocked: bool,
    },
    /// The job failed for good.
    Dead {
        /// The error.
        error: String,
        /// Whether errors, rather than crashes, were the cause.
        of_error: bool,
    },
    /// The subject no longer needs the job.
    Cancelled,
    /// The worker stops and releases the lease; the run does not count as an attempt.
    Released,
}

/// A requested change of a job. Each is one compare-and-set on one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobChange {
    /// Queues the job unless it is queued or running.
    Arm,
    /// A worker acquires the lease.
    Acquire {
        /// The worker.
        owner: String,
    },
    /// The worker renews the lease.
    Renew {
        /// The token of the run.
        token: i64,
        /// The progress of the run, if it changed.
        progress: Option<JobProgress>,
    },
    /// Records the outcome of a run.
    Settle {
        /// The token of the run.
        token: i64,
        /// The outcome.
        outcome: RunOutcome,
    },
    /// The lease was not renewed in time.
    Expire {
        /// The token that the observer read.
        token: i64,
        /// The renewals that the observer read.
        renewals: u64,
        /// The time of the next run.
        run_at: Instant,
    },
    /// An admin retries a dead job.
    Retry,
    /// An admin discards a dead job.
    Discard,
    /// The subject of a dead job was deleted.
    Withdraw,
    /// The scheduled verification retries a job that died of errors.
    Revive {
        /// The number of verifications that retry a dead job.
        most: u32,
    },
}

impl JobChange {
    /// Returns the name of the change, for errors and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Arm => "arm",
            Self::Acquire { .. } => "acquire",
            Self::Renew { .. } => "renew",
            Self::Settle { .. } => "settle",
            Self::Expire { .. } => "expire",
            Self::Retry => "retry",
            Self::Discard => "discard",
            Self::Withdraw => "withdraw",
            Self::Revive { .. } => "revive",
        }
    }
}

impl Job {
    /// The length of the history; the oldest entries are removed.
    pub const HISTORY: usize = 100;

    /// Returns a job that is armed for the first time.
    #[must_use]
    pub fn armed(id: JobId, now: Instant) -> Self {
        let mut job = Self {
            id,
            state: JobState::Completed,
            attempt: 0,
            crashes: 0,
            delays: 0,
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
}

#[cfg(test)]
mod tests;
