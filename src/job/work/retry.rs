//! Queues dead jobs again.

use crate::{
    job::{JobContext, RunEnd, RunError, retry::retry_dead},
    model::{Job, JobKind, JobPhase, JobState, RetryRequest},
    store::{AuditEntry, Changed, StoreError},
};

/// Jobs read in one query.
const PAGE: usize = 200;

/// Retries each job of the request that was dead by its instant. A run that starts again leaves out those that died
/// since, so that a job which dies each time is retried once.
pub(super) async fn run(
    context: &JobContext<'_>,
    request: RetryRequest,
) -> Result<RunEnd, RunError> {
    let (mut retried, mut after) = (0_u64, None);
    let (mut looked_at, total) = (0, context.store.count_jobs(JobState::Dead).await?);
    loop {
        let page = context.store.jobs_in(JobState::Dead, after, PAGE).await?;
        for job in &page {
            if is_requested(job, request) {
                retried += u64::from(retry_one(context, job).await?);
            }
            looked_at += 1;
            context
                .progress
                .report(JobPhase::Retry, looked_at, total.max(looked_at));
        }
        if page.len() < PAGE {
            break;
        }
        after = page.last().map(|job| (job.changed_at, job.id));
    }
    record(context, request, retried).await;
    Ok(RunEnd::Completed)
}

fn is_requested(job: &Job, request: RetryRequest) -> bool {
    let kind = job.id.kind();
    job.changed_at.timestamp_millis() <= request.at_ms
        && request
            .kind
            .map_or(kind != JobKind::Retry, |wanted| kind == wanted)
}

/// Returns whether the job is queued again. One damaged document must not keep the others from being retried.
async fn retry_one(context: &JobContext<'_>, job: &Job) -> Result<bool, StoreError> {
    match retry_dead(context.store, context.clock, context.jobs, job.id).await {
        Err(error) if error.is_of_document() => {
            tracing::error!(job.id = %job.id, %error, "dead job {} could not be retried", job.id);
            Ok(false)
        }
        changed => Ok(matches!(changed?, Changed::Done(_))),
    }
}

/// Writes the outcome to the log and to the audit log. The retries are made, so a failure is only logged.
async fn record(context: &JobContext<'_>, request: RetryRequest, retried: u64) {
    let subject = request.kind.map_or("all", JobKind::as_str);
    tracing::info!(
        subject,
        retried,
        "retry of dead jobs ({subject}): {retried} retried"
    );
    let entry = AuditEntry {
        at: context.clock.now(),
        actor: format!("job retry:{request}"),
        action: "retry all".to_owned(),
        subject: subject.to_owned(),
        result: format!("{retried} retried"),
    };
    if let Err(error) = context.store.record_audit(&entry).await {
        tracing::error!(subject, %error, "outcome of a retry of dead jobs is not in the audit log, only in this log");
    }
}
