//! Dead letters, under the names that clients of the former service read.

use serde::Serialize;

use crate::{
    model::{BatchId, JobId, job::HistoryEntry},
    query::{DeadJob, Page},
};

/// A page of the dead-letter queue.
#[derive(Debug, Serialize)]
pub(in crate::http) struct DeadLettersReply<'a> {
    queue: &'static str,
    /// Number of dead jobs in all pages.
    failed_count: u64,
    jobs: Vec<DeadLetterReply<'a>>,
    next_cursor: Option<String>,
}

impl<'a> DeadLettersReply<'a> {
    pub(in crate::http) fn new(queue: &'static str, count: u64, page: &'a Page<DeadJob>) -> Self {
        let Page { data, next } = page;
        Self {
            queue,
            failed_count: count,
            jobs: data.iter().map(DeadLetterReply::from).collect(),
            next_cursor: next.as_ref().map(ToString::to_string),
        }
    }
}

/// A dead job.
#[derive(Debug, Serialize)]
struct DeadLetterReply<'a> {
    id: JobId,
    kind: &'static str,
    data: DeadLetterData,
    #[serde(rename = "failedReason")]
    failed_reason: Option<&'a str>,
    attempts: u32,
    crashes: u32,
    /// Milliseconds since 1970 at which the job died.
    timestamp: i64,
    holds_events_of_others: u64,
    history: &'a [HistoryEntry],
}

#[derive(Debug, Serialize)]
struct DeadLetterData {
    #[serde(rename = "batchId")]
    batch_id: Option<BatchId>,
}

impl<'a> From<&'a DeadJob> for DeadLetterReply<'a> {
    fn from(dead: &'a DeadJob) -> Self {
        let DeadJob {
            job,
            blocked_events,
        } = dead;
        Self {
            id: job.id,
            kind: job.id.kind().as_str(),
            data: DeadLetterData {
                batch_id: job.id.batch(),
            },
            failed_reason: job.last_error.as_deref(),
            attempts: job.attempt,
            crashes: job.crashes,
            timestamp: job.changed_at.timestamp_millis(),
            holds_events_of_others: *blocked_events,
            history: &job.history,
        }
    }
}

/// The job that queues dead jobs again.
#[derive(Debug, Serialize)]
pub(in crate::http) struct RetryAllReply {
    message: String,
    job_id: JobId,
}

impl RetryAllReply {
    pub(in crate::http) fn new(job: JobId) -> Self {
        Self {
            message: format!("retries are queued; GET /jobs/{job} has their progress"),
            job_id: job,
        }
    }
}
