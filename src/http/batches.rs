//! Batches: list, look, process, undo.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Path, Query},
};
use serde::Deserialize;

use super::{
    Context, key,
    params::{deleted, id, no_batch, page_limit},
    problem::{Code, Problem},
    reply::{BatchDetailReply, BatchReply, DeletionReply, PageReply, ProcessReply, RECEIPT_ERRORS},
};
use crate::{
    job::{DeletionRequest, KeyedRequest},
    model::{Batch, BatchId, BatchStatus, JobId, Rejection},
    query,
    store::Changed,
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    status: Option<String>,
    parent: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(
    at: Data<Context>,
    query: Query<ListQuery>,
) -> Result<HttpResponse, Problem> {
    let status = query.status.as_deref().map(status_of).transpose()?;
    let parent = query.parent.as_deref().map(id).transpose()?;
    let limit = page_limit(query.limit)?;
    let cursor = query.cursor.as_deref();
    let page = query::batches(at.store.as_ref(), status, parent, limit, cursor).await?;
    Ok(HttpResponse::Ok().json(PageReply::new(&page, BatchReply::from)))
}

fn status_of(text: &str) -> Result<BatchStatus, Problem> {
    let visible = || {
        BatchStatus::ALL
            .into_iter()
            .filter(|s| *s != BatchStatus::Receiving)
    };
    visible()
        .find(|status| status.as_str() == text)
        .ok_or_else(|| {
            let names: Vec<_> = visible().map(BatchStatus::as_str).collect();
            Problem::new(
                Code::BadQuery,
                format!(
                    "`status` can't be `{text}`: it is one of {}",
                    names.join(", ")
                ),
            )
        })
}

pub(super) async fn show(at: Data<Context>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id: BatchId = id(&path)?;
    let detail = query::batch(at.store.as_ref(), id)
        .await?
        .ok_or_else(|| no_batch(id))?;
    let errors = first_errors(&at, &detail.batch).await?;
    Ok(HttpResponse::Ok().json(BatchDetailReply::new(&detail, &errors, &at.limits)))
}

/// The rejections that go with a receipt.
pub(super) async fn first_errors(at: &Context, batch: &Batch) -> Result<Vec<Rejection>, Problem> {
    if batch.status.is_void() {
        return Ok(Vec::new());
    }
    Ok(
        query::rejections(at.store.as_ref(), batch.id, RECEIPT_ERRORS, None)
            .await?
            .data,
    )
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProcessQuery {
    #[serde(default)]
    force: bool,
}

pub(super) async fn process(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
    query: Query<ProcessQuery>,
) -> Result<HttpResponse, Problem> {
    let id: BatchId = id(&path)?;
    let asked = match key::of(&at, &request, "POST /batches/{id}/process")? {
        Some(key) => at.jobs.process_once(key, id, query.force).await?,
        None => KeyedRequest::Made(at.jobs.process(id, query.force).await?),
    };
    match asked {
        KeyedRequest::Made(Changed::Done(job)) => Ok(asked_for(id, job)),
        KeyedRequest::Made(Changed::Missing) => Err(no_batch(id)),
        KeyedRequest::Made(Changed::Refused(_)) => Err(deleted(id)),
        KeyedRequest::Repeated(job) => Ok(key::replayed(asked_for(id, job))),
        KeyedRequest::Busy => Err(key::busy()),
        KeyedRequest::KeyReused => Err(key::reused()),
    }
}

fn asked_for(id: BatchId, job: JobId) -> HttpResponse {
    HttpResponse::Accepted().json(ProcessReply::new(id, job))
}

pub(super) async fn undo(at: Data<Context>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let id: BatchId = id(&path)?;
    match at.jobs.delete(id).await? {
        DeletionRequest::Queued(job_id) => Ok(HttpResponse::Accepted().json(DeletionReply {
            batch_id: id,
            status: BatchStatus::Deleting,
            job_id,
        })),
        DeletionRequest::AlreadyDeleted => Err(deleted(id)),
        DeletionRequest::Missing => Err(no_batch(id)),
    }
}
