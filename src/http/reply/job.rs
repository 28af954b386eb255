//! Jobs.

use serde::Serialize;

use crate::{
    http::Limits,
    model::{BatchId, Instant, Job, JobId, JobProgress, JobState, job::HistoryEntry},
};

/// A job of the ledger.
#[derive(Debug, Serialize)]
pub(in crate::http) struct JobReply<'a> {
    id: JobId,
    kind: &'static str,
    batch_id: Option<BatchId>,
    state: JobState,
    attempt: u32,
    max_attempts: u32,
    crashes: u32,
    max_crashes: u32,
    run_at: Instant,
    progress: Option<JobProgress>,
    worker: Option<&'a str>,
    last_error: Option<&'a str>,
    created_at: Instant,
    changed_at: Instant,
    history: &'a [HistoryEntry],
}

impl<'a> JobReply<'a> {
    pub(in crate::http) fn new(job: &'a Job, limits: &Limits) -> Self {
        let Job {
            id,
            state,
            attempt,
            crashes,
            delays: _,
            farthest: _,
            run_at,
            lease,
            token: _,
            progress,
            last_error,
            died_of_error: _,
            nights: _,
            created_at,
            changed_at,
            history,
        } = job;
        // The ledger counts finished attempts; the reply also counts the one that is due or running.
        let attempt = attempt + u32::from(!state.is_idle());
        Self {
            id: *id,
            kind: id.kind().as_str(),
            batch_id: id.batch(),
            state: *state,
            attempt: attempt.min(limits.attempts),
            max_attempts: limits.attempts,
            crashes: *crashes,
            max_crashes: limits.crashes,
            run_at: *run_at,
            progress: progress.filter(|_| !state.is_idle()),
            worker: lease.as_ref().map(|lease| lease.owner.as_str()),
            last_error: last_error.as_deref(),
            created_at: *created_at,
            changed_at: *changed_at,
            history,
        }
    }
}
