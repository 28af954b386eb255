//! The dead-letter queue. Each request needs the admin token, and each action is recorded in the audit log.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::{
    Context,
    access_log::RequestLog,
    auth::Admin,
    jobs::job_missing,
    params::{PageQuery, id},
    problem::{Code, Problem},
    reply::{DeadLettersReply, JobReply, RetryAllReply},
};
use crate::{
    model::{Job, JobId, JobKind},
    query,
    store::{AuditEntry, Changed, StoreError},
};

/// The name of the only queue.
const QUEUE: &str = "event-processing";

fn check_queue(queue: &str) -> Result<(), Problem> {
    if queue == QUEUE {
        return Ok(());
    }
    let shown: String = queue.chars().take(80).collect();
    Err(Problem::new(
        Code::QueueMissing,
        format!("there is no queue `{shown}`: the queue is `{QUEUE}`"),
    ))
}

/// `GET /admin/queues/{queue}/dlq`: returns a page of dead jobs.
pub(super) async fn list(
    _: Admin,
    context: Data<Context>,
    path: Path<String>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    check_queue(&path)?;
    let (limit, cursor) = (page.limit()?, page.cursor.as_deref());
    let (count, page) = query::dead_jobs(context.store.as_ref(), limit, cursor).await?;
    Ok(HttpResponse::Ok().json(DeadLettersReply::new(QUEUE, count, &page)))
}

/// An action on one dead job.
#[derive(Clone, Copy)]
enum Action {
    Retry,
    Discard,
}

impl Action {
    /// The name in the audit log.
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }
}

/// `POST /admin/queues/{queue}/dlq/{id}/retry`: queues a dead job again.
pub(super) async fn retry(
    admin: Admin,
    context: Data<Context>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    run(&admin, &context, &path, Action::Retry).await
}

/// `POST /admin/queues/{queue}/dlq/{id}/discard`: discards a dead job.
pub(super) async fn discard(
    admin: Admin,
    context: Data<Context>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    run(&admin, &context, &path, Action::Discard).await
}

/// Runs an action. The audit log has an entry before and after it, so that an action whose outcome is lost leaves a
/// trace.
async fn run(
    admin: &Admin,
    context: &Context,
    (queue, job): &(String, String),
    action: Action,
) -> Result<HttpResponse, Problem> {
    check_queue(queue)?;
    let id: JobId = id(job)?;
    let log = RequestLog::begin(context, &admin.0);
    audit(admin, context, action.name(), job, "asked").await?;
    let changed = match action {
        Action::Retry => context.jobs.retry(id).await?,
        Action::Discard => context.jobs.discard(id).await?,
    };
    let result = outcome(&changed);
    log.admin(action.name(), &id.to_string(), &result);
    audit_outcome(admin, context, action.name(), &id.to_string(), &result).await;
    match changed {
        Changed::Done(job) => Ok(HttpResponse::Ok().json(JobReply::new(&job, &context.limits))),
        Changed::Refused(why) => Err(Problem::new(Code::JobNotDead, why.to_string())),
        Changed::Missing => Err(job_missing(id)),
    }
}

/// Returns the result of an action as the audit log stores it.
fn outcome(changed: &Changed<Job>) -> String {
    match changed {
        Changed::Done(job) => job.state.as_str().to_owned(),
        Changed::Refused(why) => why.to_string(),
        Changed::Missing => "no such job".into(),
    }
}

/// The query of [`retry_all`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryQuery {
    kind: Option<String>,
}

/// `POST /admin/queues/{queue}/dlq/retry`: requests that all dead jobs are queued again, or all of one kind.
pub(super) async fn retry_all(
    admin: Admin,
    context: Data<Context>,
    path: Path<String>,
    query: Query<RetryQuery>,
) -> Result<HttpResponse, Problem> {
    check_queue(&path)?;
    let kind = query.kind.as_deref().map(parse_kind).transpose()?;
    let subject = kind.map_or("all", JobKind::as_str);
    let log = RequestLog::begin(&context, &admin.0);
    audit(&admin, &context, "retry all", subject, "asked").await?;
    let job = context.jobs.retry_all(kind).await?;
    let result = format!("queued as {job}");
    log.admin("retry all", subject, &result);
    audit_outcome(&admin, &context, "retry all", subject, &result).await;
    Ok(HttpResponse::Accepted().json(RetryAllReply::new(job)))
}

fn parse_kind(text: &str) -> Result<JobKind, Problem> {
    JobKind::from_name(text).ok_or_else(|| {
        let names: Vec<_> = JobKind::ALL.iter().map(|kind| kind.as_str()).collect();
        let names = names.join(", ");
        let why = format!("`kind` can't be `{text}`: it is one of {names}");
        Problem::new(Code::BadQuery, why)
    })
}

/// Appends the outcome of an action to the audit log. The action is made, so a failure is only logged: the log has the
/// outcome, and the audit log the entry from before the action.
async fn audit_outcome(
    admin: &Admin,
    context: &Context,
    action: &str,
    subject: &str,
    result: &str,
) {
    if let Err(error) = audit(admin, context, action, subject, result).await {
        tracing::error!(action, subject, %error, "outcome of an admin action is not in the audit log, only in this log");
    }
}

/// Appends an entry to the audit log.
async fn audit(
    admin: &Admin,
    context: &Context,
    action: &str,
    subject: &str,
    result: &str,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: context.clock.now(),
        actor: admin.actor(),
        action: action.to_owned(),
        subject: subject.to_owned(),
        result: result.to_owned(),
    };
    context.store.record_audit(&entry).await
}
