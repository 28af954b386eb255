//! Every transition of a job, as one pure function for all stores.

use super::{HistoryEntry, Job, JobChange, JobProgress, JobState, Lease, RunOutcome};
use crate::model::{Instant, TransitionRefused};

/// Longest reason in the history, in characters.
const REASON_CHARS: usize = 1_000;

impl Job {
    /// Returns the job after a change. `Arm` leaves a job unchanged that is queued or running.
    ///
    /// # Errors
    /// [`TransitionRefused`] names the change and the state that does not allow it.
    pub fn after(&self, change: &JobChange, now: Instant) -> Result<Self, TransitionRefused> {
        let mut next = self.clone();
        let refused = || TransitionRefused {
            change: change.name(),
            subject: format!("job {}", self.id),
            state: self.state.as_str().into(),
        };
        let is_current = |token: &i64| self.state == JobState::Running && self.token == *token;
        match change {
            JobChange::Arm => match self.state {
                JobState::Queued | JobState::Running => {}
                JobState::Completed
                | JobState::Dead
                | JobState::Cancelled
                | JobState::Discarded => {
                    next.nights = 0;
                    next.reset_and_requeue(now, "armed");
                }
            },
            JobChange::Acquire { owner }
                if self.state == JobState::Queued && self.run_at <= now =>
            {
                next.acquire(owner, now)
            }
            JobChange::Renew { token, progress } if is_current(token) => next.renew(*progress),
            JobChange::Settle { token, outcome } if is_current(token) => next.settle(outcome, now),
            JobChange::Expire {
                token,
                renewals,
                run_at,
            } if is_current(token)
                && self.lease.as_ref().is_some_and(|l| l.renewals == *renewals) =>
            {
                next.expire(*run_at, now);
            }
            JobChange::Retry if self.state == JobState::Dead => {
                next.nights = 0;
                next.reset_and_requeue(now, "retried by an admin");
            }
            JobChange::Discard if self.state == JobState::Dead => {
                next.enter(JobState::Discarded, now, "discarded by an admin")
            }
            JobChange::Withdraw if self.state == JobState::Dead => {
                next.enter(JobState::Cancelled, now, "its batch was deleted")
            }
            JobChange::Revive { most }
                if self.state == JobState::Dead && self.died_of_error && self.nights < *most =>
            {
                next.nights += 1;
                next.reset_and_requeue(now, "tried again by the nightly run");
            }
            JobChange::Acquire { .. }
            | JobChange::Renew { .. }
            | JobChange::Settle { .. }
            | JobChange::Expire { .. }
            | JobChange::Retry
            | JobChange::Discard
            | JobChange::Withdraw
            | JobChange::Revive { .. } => return Err(refused()),
        }
        Ok(next)
    }

    fn acquire(&mut self, owner: &str, now: Instant) {
        self.token += 1;
        self.lease = Some(Lease {
            owner: owner.into(),
            renewals: 0,
        });
        self.progress = None;
        self.enter(JobState::Running, now, "claimed");
    }

    fn renew(&mut self, progress: Option<JobProgress>) {
        if let Some(lease) = &mut self.lease {
            lease.renewals += 1;
        }
        self.progress = progress.or(self.progress);
    }

    fn settle(&mut self, outcome: &RunOutcome, now: Instant) {
        match outcome {
            RunOutcome::Completed => {
                self.reset_counts();
                self.nights = 0;
                self.enter(JobState::Completed, now, "completed");
            }
            RunOutcome::MoreRequested => {
                self.reset_counts();
                self.requeue(now, now, "asked for again meanwhile");
            }
            RunOutcome::Retry { error, run_at } => {
                self.attempt += 1;
                self.crashes = 0;
                self.delays = 0;
                self.last_error = Some(error.clone());
                self.requeue(*run_at, now, error);
            }
            RunOutcome::Delay {
                reason,
                run_at,
                is_blocked,
            } => {
                self.delays = if *is_blocked { self.delays + 1 } else { 0 };
                self.last_error = Some(reason.clone());
                self.requeue(*run_at, now, reason);
            }
            RunOutcome::Dead { error, of_error } => {
                self.attempt += u32::from(*of_error);
                self.died_of_error = *of_error;
                self.last_error = Some(error.clone());
                self.enter(JobState::Dead, now, error);
            }
            RunOutcome::Cancelled => self.enter(JobState::Cancelled, now, "no longer wanted"),
            RunOutcome::Released => self.requeue(now, now, "handed back by a worker that stops"),
        }
        self.lease = None;
    }

    fn expire(&mut self, run_at: Instant, now: Instant) {
        let is_farther = self.progress > self.farthest;
        self.crashes = if is_farther { 1 } else { self.crashes + 1 };
        self.farthest = self.farthest.max(self.progress);
        self.requeue(run_at, now, "the worker's lease ran out");
        self.lease = None;
    }

    fn reset_and_requeue(&mut self, now: Instant, reason: &str) {
        self.reset_counts();
        self.requeue(now, now, reason);
    }

    fn reset_counts(&mut self) {
        self.attempt = 0;
        self.crashes = 0;
        self.delays = 0;
        self.farthest = None;
        self.died_of_error = false;
        self.last_error = None;
    }

    pub(super) fn requeue(&mut self, run_at: Instant, now: Instant, reason: &str) {
        self.run_at = run_at;
        self.enter(JobState::Queued, now, reason);
    }

    fn enter(&mut self, state: JobState, now: Instant, reason: &str) {
        self.state = state;
        self.changed_at = now;
        let worker = self.lease.as_ref().map(|l| l.owner.clone());
        let reason = reason.chars().take(REASON_CHARS).collect();
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
