//! Batches: list, show, process, delete.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::{
    Context,
    access_log::RequestLog,
    auth::Caller,
    held, idempotency,
    params::{batch_missing, deleted, id, page_limit},
    places,
    problem::{Code, Problem},
    reply::{BatchDetailReply, BatchReply, DeletionReply, PageReply, ProcessReply, RECEIPT_ERRORS},
};
use crate::{
    job::{DeletionOutcome, KeyedOutcome},
    model::{Batch, BatchId, BatchStatus, JobId, Rejection},
    query::{self, RejectionFilter},
    store::Changed,
};

/// The query of [`list`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    parent: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// `GET /batches`: returns a page of batches, newest first.
pub(super) async fn list(
    context: Data<Context>,
    caller: Caller,
    query: Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let status = query.status.as_deref().map(parse_status).transpose()?;
    let parent = query.parent.as_deref().map(id).transpose()?;
    let limit = page_limit(query.limit)?;
    let cursor = query.cursor.as_deref();
    let place = places::list(&context, &caller).await?;
    let page = query::batches(context.store.as_ref(), status, parent, limit, cursor).await?;
    let reply = PageReply::new(&page, BatchReply::from);
    Ok(held::json(place, context.limits.stall, &reply))
}

/// Parses a status. Batches in `receiving` are not visible, so that name is refused.
fn parse_status(text: &str) -> Result<BatchStatus, Problem> {
    let all = BatchStatus::ALL.into_iter();
    let visible = all.filter(|status| *status != BatchStatus::Receiving);
    let status = visible.clone().find(|status| status.as_str() == text);
    status.ok_or_else(|| {
        let names: Vec<_> = visible.map(BatchStatus::as_str).collect();
        let names = names.join(", ");
        let why = format!("`status` can't be `{text}`: it is one of {names}");
        Problem::new(Code::BadQuery, why)
    })
}

/// `GET /batches/{id}`: returns the receipt of a batch with its first errors, job, days and overlaps.
pub(super) async fn show(
    context: Data<Context>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: BatchId = id(&path)?;
    let detail = query::batch(context.store.as_ref(), id).await?;
    let detail = detail.ok_or_else(|| batch_missing(id))?;
    let errors = receipt_errors(&context, &detail.batch).await?;
    let reply = BatchDetailReply::new(&detail, &errors, &context.limits);
    Ok(HttpResponse::Ok().json(reply))
}

/// Returns the rejections that the receipt of a batch lists.
pub(super) async fn receipt_errors(
    context: &Context,
    batch: &Batch,
) -> Result<Vec<Rejection>, Problem> {
    if batch.status.is_void() {
        return Ok(Vec::new());
    }
    let page = query::rejections(
        context.store.as_ref(),
        batch.id,
        &RejectionFilter::default(),
        RECEIPT_ERRORS,
        None,
    )
    .await?;
    Ok(page.data)
}

/// The query of [`process`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessQuery {
    #[serde(default)]
    force: bool,
}

/// `POST /batches/{id}/process`: requests that a batch is counted, and returns the job.
pub(super) async fn process(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
    query: Query<ProcessQuery>,
) -> Result<HttpResponse, Problem> {
    let (id, force): (BatchId, bool) = (id(&path)?, query.force);
    let log = RequestLog::begin(&context, &caller);
    let reply = request_count(&context, &request, &caller, id, force).await;
    log.batch("process", id, &reply);
    reply
}

/// The route of [`process`], part of its idempotency keys.
const PROCESS_ROUTE: &str = "POST /batches/{id}/process";

async fn request_count(
    context: &Context,
    request: &HttpRequest,
    caller: &Caller,
    id: BatchId,
    force: bool,
) -> Result<HttpResponse, Problem> {
    let outcome = match idempotency::key(context, request, caller, PROCESS_ROUTE).await? {
        Some(key) => context.jobs.process_once(key, id, force).await?,
        None => KeyedOutcome::Made(context.jobs.process(id, force).await?),
    };
    match outcome {
        KeyedOutcome::Made(Changed::Done(job)) => Ok(accepted(id, job)),
        KeyedOutcome::Made(Changed::Missing) => Err(batch_missing(id)),
        KeyedOutcome::Made(Changed::Refused(_)) => Err(deleted(id)),
        KeyedOutcome::Repeated(job) => Ok(idempotency::replayed(accepted(id, job))),
        KeyedOutcome::Busy => Err(idempotency::busy()),
        KeyedOutcome::KeyReused => Err(idempotency::reused()),
    }
}

fn accepted(id: BatchId, job: JobId) -> HttpResponse {
    HttpResponse::Accepted().json(ProcessReply::new(id, job))
}

/// `DELETE /batches/{id}`: requests the deletion of a batch, and returns the job.
pub(super) async fn delete(
    context: Data<Context>,
    caller: Caller,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: BatchId = id(&path)?;
    let log = RequestLog::begin(&context, &caller);
    let reply = request_deletion(&context, id).await;
    log.batch("delete", id, &reply);
    reply
}

async fn request_deletion(context: &Context, id: BatchId) -> Result<HttpResponse, Problem> {
    match context.jobs.delete(id).await? {
        DeletionOutcome::Queued(job_id) => Ok(HttpResponse::Accepted().json(DeletionReply {
            batch_id: id,
            status: BatchStatus::Deleting,
            job_id,
        })),
        DeletionOutcome::AlreadyDeleted => Err(deleted(id)),
        DeletionOutcome::Missing => Err(batch_missing(id)),
    }
}
