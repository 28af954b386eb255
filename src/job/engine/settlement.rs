//! Decides what the ledger records about a run that has ended. Reads and writes nothing.

use std::{any::Any, time::Duration};

use super::backoff::delay;
use crate::{
    job::{JobLimits, RunEnd, RunError},
    model::{Instant, Job, RunOutcome, with_causes},
    store::{self, StoreError},
};

/// Delays in a row because the disk refuses: with a base of 5 s, about a quarter of an hour.
const MAX_DELAYS: u32 = 8;
/// Longest of these delays.
const MAX_DELAY: Duration = Duration::from_secs(300);
/// What an operator can do about damaged or missing data.
const DAMAGE_REMEDY: &str =
    "restore it from a backup and retry the job, or delete the batch and upload its file again";

/// Returns the outcome of a run of `job` that ended at `now`.
pub(super) fn outcome(
    job: &Job,
    ended: Result<RunEnd, RunError>,
    limits: &JobLimits,
    now: Instant,
) -> RunOutcome {
    match ended {
        Ok(end) => outcome_of_end(job, end, limits),
        Err(error) => outcome_of_error(job, &error, limits, now),
    }
}

fn outcome_of_end(job: &Job, end: RunEnd, limits: &JobLimits) -> RunOutcome {
    match end {
        RunEnd::Completed => RunOutcome::Completed,
        RunEnd::MoreRequested => RunOutcome::MoreRequested,
        RunEnd::Cancelled => RunOutcome::Cancelled,
        RunEnd::Abandoned if job.crashes >= limits.crashes => RunOutcome::Dead {
            error: format!("its worker was lost {} times without progress", job.crashes),
            of_error: false,
        },
        RunEnd::Abandoned => RunOutcome::Dead {
            error: job
                .last_error
                .clone()
                .unwrap_or_else(|| "its batch had been given up".into()),
            of_error: true,
        },
    }
}

fn outcome_of_error(job: &Job, error: &RunError, limits: &JobLimits, now: Instant) -> RunOutcome {
    let later = |failures| now + delay(limits.backoff, failures, backoff_seed(job));
    let dead = |error| RunOutcome::Dead {
        error,
        of_error: true,
    };
    match error {
        RunError::Superseded => RunOutcome::Cancelled,
        RunError::Store(StoreError::Blocked { .. }) => blocked(job, error, limits, now),
        RunError::Sort(why) if store::needs_operator(why) => blocked(job, error, limits, now),
        RunError::Store(StoreError::Unavailable { .. }) | RunError::Sort(_) => RunOutcome::Delay {
            reason: with_causes(error),
            run_at: later(0),
            is_blocked: false,
        },
        // Another attempt would read the same.
        RunError::Store(StoreError::Corrupt { .. } | StoreError::Missing { .. }) => {
            dead(format!("{}; {DAMAGE_REMEDY}", with_causes(error)))
        }
        RunError::Store(StoreError::Setup(_)) => dead(with_causes(error)),
        RunError::Store(StoreError::Failed { .. }) | RunError::Inconsistent(_)
            if job.attempt + 1 >= limits.attempts =>
        {
            dead(with_causes(error))
        }
        RunError::Store(StoreError::Failed { .. }) | RunError::Inconsistent(_) => {
            RunOutcome::Retry {
                error: with_causes(error),
                run_at: later(job.attempt),
            }
        }
    }
}

/// Returns the outcome of a run that the disk refused: no wait mends that, but an operator may at any time. The waits grow,
/// and end with a dead letter.
fn blocked(job: &Job, error: &RunError, limits: &JobLimits, now: Instant) -> RunOutcome {
    let reason = with_causes(error);
    if job.delays >= MAX_DELAYS {
        let delays = job.delays;
        return RunOutcome::Dead {
            error: format!(
                "{reason}; the disk still refused after {delays} delays: mend it, then retry the job"
            ),
            of_error: true,
        };
    }
    let wait = delay(limits.backoff, job.delays, backoff_seed(job)).min(MAX_DELAY);
    RunOutcome::Delay {
        reason,
        run_at: now + wait,
        is_blocked: true,
    }
}

/// Converts the panic of a body to an error of its run.
pub(super) fn panic_error(panic: &(dyn Any + Send)) -> RunError {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied());
    RunError::Inconsistent(format!(
        "the run panicked: {}",
        text.unwrap_or("no message")
    ))
}

/// Equal for equal runs, so that a replayed test waits the same; different for the runs of different jobs.
fn backoff_seed(job: &Job) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(job.id.to_string().as_bytes(), job.token.cast_unsigned())
}
