//! The rejected rows of a batch: as pages of JSON, or as one CSV file that can be corrected and uploaded again.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{Bytes, Data, Path, Query},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use serde::Deserialize;

use super::{
    Context,
    auth::Caller,
    held,
    params::{live_batch, page_limit},
    places,
    problem::{Code, Problem},
    range,
    reply::RejectionPageReply,
};
use crate::{
    export::ErrorsCsv,
    model::{Batch, BatchId, FaultCode, Receipt},
    query::{self, DEFAULT_PAGE, QueryError, RejectionFilter},
    store::{Store, StoreError},
};

/// Delimiters that an upload of the file detects. With any other, the file is written with commas.
const DETECTABLE_DELIMITERS: [char; 4] = [',', ';', '\t', '|'];

/// The query of [`list`] and [`download`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorsQuery {
    code: Option<String>,
    column: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
    #[serde(default)]
    counts: bool,
}

impl ErrorsQuery {
    fn filter(&self) -> Result<RejectionFilter, Problem> {
        let parse = |text: &str| {
            let code = FaultCode::ALL
                .into_iter()
                .find(|code| code.as_str() == text);
            code.ok_or_else(|| {
                let all: Vec<_> = FaultCode::ALL.iter().map(|code| code.as_str()).collect();
                let why = format!("`code` can't be `{text}`: it is one of {}", all.join(", "));
                Problem::new(Code::BadQuery, why)
            })
        };
        let set = |value: &Option<String>| value.clone().filter(|text| !text.is_empty());
        Ok(RejectionFilter {
            code: set(&self.code).as_deref().map(parse).transpose()?,
            column: set(&self.column),
        })
    }
}

/// `GET /batches/{id}/errors`: returns a page of rejections, or all as CSV if the client prefers that type.
pub(super) async fn list(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
    query: Query<ErrorsQuery>,
) -> Result<HttpResponse, Problem> {
    let batch = live_batch(context.store.as_ref(), &path).await?;
    let filter = query.filter()?;
    if prefers_csv(&request) {
        return csv_file(&context, &request, &caller, batch, filter).await;
    }
    let place = places::list(&context, &caller).await?;
    let (limit, cursor) = (page_limit(query.limit)?, query.cursor.as_deref());
    let (store, id) = (context.store.as_ref(), batch.id);
    let page = query::rejections(store, id, &filter, limit, cursor).await?;
    let counts = if query.counts {
        Some(query::count_rejections(store, id).await?)
    } else {
        None
    };
    // Deleted during the query, it would look like a batch without rejections.
    live_batch(store, &path).await?;
    let reply = RejectionPageReply::new(&page, batch.receipt.as_ref(), counts);
    Ok(held::json(place, context.limits.stall, &reply))
}

/// `GET /batches/{id}/errors.csv`: returns all rejections as CSV, or those of a fault.
pub(super) async fn download(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
    query: Query<ErrorsQuery>,
) -> Result<HttpResponse, Problem> {
    let batch = live_batch(context.store.as_ref(), &path).await?;
    csv_file(&context, &request, &caller, batch, query.filter()?).await
}

/// Whether CSV stands before JSON in the `Accept` header.
fn prefers_csv(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut types = accept
        .split(',')
        .map(|part| part.split(';').next().unwrap_or_default().trim());
    types.find(|kind| matches!(*kind, "text/csv" | "application/json")) == Some("text/csv")
}

async fn csv_file(
    context: &Context,
    request: &HttpRequest,
    caller: &Caller,
    batch: Batch,
    filter: RejectionFilter,
) -> Result<HttpResponse, Problem> {
    let place = places::download(context, caller)?;
    let mut reply = HttpResponse::Ok();
    reply.content_type("text/csv; charset=utf-8");
    let name = format!("attachment; filename=\"errors-{}.csv\"", batch.id);
    reply.insert_header((header::CONTENT_DISPOSITION, name));
    let Some(receipt) = batch.receipt else {
        return Ok(reply.finish());
    };
    reply.insert_header(("X-Errors-Failed", receipt.rows.failed.to_string()));
    reply.insert_header(("X-Errors-Kept", receipt.rejections_kept.to_string()));
    reply.insert_header((header::ACCEPT_RANGES, "bytes"));
    let chunks = || {
        csv_chunks(
            Arc::clone(&context.store),
            batch.id,
            &receipt,
            filter.clone(),
        )
    };
    if request.method() == Method::HEAD || range::is_requested(request) {
        // The file is made as it is sent, so its length is known once it was made.
        let add = |bytes, chunk: Bytes| async move { Ok(bytes + chunk.len() as u64) };
        let length = chunks().try_fold(0, add).await?;
        if request.method() == Method::HEAD {
            reply.no_chunking(length);
            return Ok(reply.streaming(stream::empty::<Result<Bytes, QueryError>>()));
        }
        if let Some(range) = range::of(request, length)? {
            range.describe(&mut reply);
            let part = range.cut(chunks());
            return Ok(reply.streaming(held::stream(place, context.limits.stall, part)));
        }
    }
    let chunks = chunks();
    Ok(reply.streaming(held::stream(place, context.limits.stall, chunks)))
}

/// Returns the header of the file, then its rows, a page of rejections at a time. Ends with an error if the batch was
/// deleted meanwhile: a part of the rows must not look like all of them.
fn csv_chunks(
    store: Arc<dyn Store>,
    id: BatchId,
    receipt: &Receipt,
    filter: RejectionFilter,
) -> impl Stream<Item = Result<Bytes, QueryError>> + use<> {
    let labels = &receipt.columns.labels;
    let delimiter = receipt.origin.file().map(|file| file.delimiter);
    let delimiter = delimiter.filter(|d| DETECTABLE_DELIMITERS.contains(d));
    let csv = ErrorsCsv::new(labels, delimiter.unwrap_or(','));
    let header = Bytes::from(csv.header(labels));
    let rest = RejectionPages {
        store,
        id,
        csv,
        filter,
        cursor: None,
        remaining: receipt.rejections_kept,
        is_last: false,
    };
    let pages = stream::try_unfold(rest, |mut rest| async move {
        Ok(rest.next().await?.map(|rows| (rows, rest)))
    });
    stream::iter([Ok(header)]).chain(pages)
}

/// The rejections of a batch that are still to be sent.
struct RejectionPages {
    store: Arc<dyn Store>,
    id: BatchId,
    csv: ErrorsCsv,
    /// Selects those that are written.
    filter: RejectionFilter,
    cursor: Option<String>,
    /// The rejections that the receipt promises, less those read.
    remaining: u64,
    is_last: bool,
}

impl RejectionPages {
    async fn next(&mut self) -> Result<Option<Bytes>, QueryError> {
        let id = self.id;
        if self.is_last {
            if self.remaining == 0 {
                return Ok(None);
            }
            tracing::warn!(batch.id = %id, remaining = self.remaining, "batch {id} was deleted while its rejections were sent, the download is aborted");
            let what = format!("{} rejections of batch {id}", self.remaining);
            return Err(StoreError::Missing { what }.into());
        }
        let (all, cursor) = (RejectionFilter::default(), self.cursor.as_deref());
        let page = query::rejections(self.store.as_ref(), id, &all, DEFAULT_PAGE, cursor).await?;
        self.remaining = self.remaining.saturating_sub(page.data.len() as u64);
        self.cursor = page.next.map(|cursor| cursor.to_string());
        self.is_last = self.cursor.is_none();
        let selected = page.data.iter().filter(|row| self.filter.matches(row));
        let rows: String = selected.map(|row| self.csv.row(row)).collect();
        Ok(Some(rows.into()))
    }
}
