//! The dead-letter queue, behind a bearer token; every act is recorded.

use actix_web::{
    FromRequest, HttpRequest, HttpResponse,
    dev::Payload,
    http::header,
    web::{Data, Path, Query},
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::future::{Ready, ready};
use subtle::ConstantTimeEq;

use super::{
    Context,
    jobs::no_job,
    params::{PageQuery, id},
    problem::{Code, Problem},
    reply::{DeadLettersReply, JobReply, RetryAllReply},
};
use crate::{
    model::{Job, JobId, JobKind, JobState},
    query,
    store::{AuditEntry, Changed, StoreError},
};

/// The one queue there is.
const QUEUE: &str = "event-processing";
/// Jobs retried at once by «retry all» before the next are read.
const PAGE: usize = 200;

/// The admin token, kept as its hash: comparing hashes takes the same time whatever was sent.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Of a token in clear.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    fn is(&self, token: &[u8]) -> bool {
        let sent: [u8; 32] = Sha256::digest(token).into();
        self.0.ct_eq(&sent).into()
    }
}

/// Proof that the request carries the token.
pub(super) struct Admin {
    actor: String,
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(admit(request))
    }
}

fn admit(request: &HttpRequest) -> Result<Admin, Problem> {
    let context = request
        .app_data::<Data<Context>>()
        .expect("the server is built with it");
    let Some(token) = &context.admin_token else {
        return Err(Problem::new(
            Code::AdminDisabled,
            "the admin routes are off since no token is set: set ADMIN_TOKEN and start again",
        ));
    };
    let sent = request
        .headers()
        .get(header::AUTHORIZATION)
        .map(|value| value.as_bytes());
    match sent.and_then(bearer) {
        Some(sent) if token.is(sent) => {
            let actor = request
                .peer_addr()
                .map_or_else(|| "unknown".into(), |at| at.ip().to_string());
            Ok(Admin { actor })
        }
        Some(_) | None => Err(Problem::new(
            Code::Unauthorized,
            "send `Authorization: Bearer <ADMIN_TOKEN>`",
        )),
    }
}

/// The token of a header; the scheme is case-insensitive (RFC 9110, 11.1).
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

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

pub(super) async fn list(
    _: Admin,
    at: Data<Context>,
    path: Path<String>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    check_queue(&path)?;
    let (count, page) =
        query::dead_jobs(at.store.as_ref(), page.limit()?, page.cursor.as_deref()).await?;
    Ok(HttpResponse::Ok().json(DeadLettersReply::new(QUEUE, count, &page)))
}

/// What an admin may do about one dead job.
#[derive(Clone, Copy)]
enum Act {
    Retry,
    Discard,
}

impl Act {
    fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Discard => "discard",
        }
    }
}

pub(super) async fn retry(
    admin: Admin,
    at: Data<Context>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    act(&admin, &at, &path, Act::Retry).await
}

pub(super) async fn discard(
    admin: Admin,
    at: Data<Context>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, Problem> {
    act(&admin, &at, &path, Act::Discard).await
}

/// On record before and after, so that an act whose outcome is lost leaves a trace.
async fn act(
    admin: &Admin,
    at: &Context,
    (queue, job): &(String, String),
    act: Act,
) -> Result<HttpResponse, Problem> {
    check_queue(queue)?;
    let id: JobId = id(job)?;
    record(admin, at, act.name(), job, "asked".into()).await?;
    let changed = match act {
        Act::Retry => at.jobs.retry(id).await?,
        Act::Discard => at.jobs.discard(id).await?,
    };
    settle(admin, at, act.name(), id, changed).await
}

async fn settle(
    admin: &Admin,
    at: &Context,
    action: &str,
    id: JobId,
    changed: Changed<Job>,
) -> Result<HttpResponse, Problem> {
    let result = match &changed {
        Changed::Done(job) => job.state.as_str().to_owned(),
        Changed::Refused(why) => why.to_string(),
        Changed::Missing => "no such job".into(),
    };
    record(admin, at, action, &id.to_string(), result).await?;
    match changed {
        Changed::Done(job) => Ok(HttpResponse::Ok().json(JobReply::new(&job, &at.limits))),
        Changed::Refused(why) => Err(Problem::new(Code::JobNotDead, why.to_string())),
        Changed::Missing => Err(no_job(id)),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RetryQuery {
    kind: Option<String>,
}

pub(super) async fn retry_all(
    admin: Admin,
    at: Data<Context>,
    path: Path<String>,
    query: Query<RetryQuery>,
) -> Result<HttpResponse, Problem> {
    check_queue(&path)?;
    let kind = query.kind.as_deref().map(kind_of).transpose()?;
    let subject = kind.map_or("all", JobKind::as_str);
    record(&admin, &at, "retry all", subject, "asked".into()).await?;
    let mut retried = 0;
    let mut after = None;
    loop {
        let page = at.store.jobs_in(JobState::Dead, after, PAGE).await?;
        for job in page
            .iter()
            .filter(|job| kind.is_none_or(|kind| job.id.kind() == kind))
        {
            retried += u64::from(matches!(at.jobs.retry(job.id).await?, Changed::Done(_)));
        }
        after = page.last().map(|job| (job.changed_at, job.id));
        if page.len() < PAGE {
            break;
        }
    }
    record(
        &admin,
        &at,
        "retry all",
        subject,
        format!("{retried} retried"),
    )
    .await?;
    Ok(HttpResponse::Ok().json(RetryAllReply { retried }))
}

fn kind_of(text: &str) -> Result<JobKind, Problem> {
    JobKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| {
            let names: Vec<_> = JobKind::ALL.iter().map(|k| k.as_str()).collect();
            Problem::new(
                Code::BadQuery,
                format!(
                    "`kind` can't be `{text}`: it is one of {}",
                    names.join(", ")
                ),
            )
        })
}

/// Before an act, so that none goes unrecorded, and after it, with what came of it.
async fn record(
    admin: &Admin,
    at: &Context,
    action: &str,
    subject: &str,
    result: String,
) -> Result<(), StoreError> {
    tracing::info!(
        actor = admin.actor,
        action,
        subject,
        result,
        "an admin acted"
    );
    let (actor, action, subject) = (admin.actor.clone(), action.to_owned(), subject.to_owned());
    at.store
        .record_audit(&AuditEntry {
            at: at.clock.now(),
            actor,
            action,
            subject,
            result,
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_opens() {
        let token = AdminToken::new("s3cret");
        assert!(token.is(b"s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret", "s3crets"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
    }
}
