//! Rows that were rejected: in pages, or all of them as a CSV file that can be mended and sent again.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{Bytes, Data, Path, Query},
};
use futures_util::{Stream, StreamExt, TryStreamExt, stream};

use super::{
    Context,
    params::{PageQuery, live_batch},
    problem::Problem,
    reply::RejectionPageReply,
};
use crate::{
    export::ErrorsCsv,
    model::{Batch, BatchId, Receipt},
    query::{self, MAX_PAGE, QueryError},
    store::Store,
};

/// Delimiters that are found again without being stated.
const FOUND_AGAIN: [char; 4] = [',', ';', '\t', '|'];

pub(super) async fn show(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
    query: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let batch = live_batch(at.store.as_ref(), &path).await?;
    if wants_csv(&request) {
        return file(&at, &request, batch).await;
    }
    let limit = query.limit()?;
    let page =
        query::rejections(at.store.as_ref(), batch.id, limit, query.cursor.as_deref()).await?;
    let reply = RejectionPageReply::new(&page, batch.receipt.as_ref());
    Ok(HttpResponse::Ok().json(reply))
}

pub(super) async fn csv(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let batch = live_batch(at.store.as_ref(), &path).await?;
    file(&at, &request, batch).await
}

/// Whether the client would rather have CSV than JSON.
fn wants_csv(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let accept = accept
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut types = accept
        .split(',')
        .map(|part| part.split(';').next().unwrap_or_default().trim());
    types.find(|kind| matches!(*kind, "text/csv" | "application/json")) == Some("text/csv")
}

async fn file(at: &Context, request: &HttpRequest, batch: Batch) -> Result<HttpResponse, Problem> {
    let mut reply = HttpResponse::Ok();
    reply.content_type("text/csv; charset=utf-8");
    let name = format!("attachment; filename=\"errors-{}.csv\"", batch.id);
    reply.insert_header((header::CONTENT_DISPOSITION, name));
    let Some(receipt) = batch.receipt else {
        return Ok(reply.finish());
    };
    reply.insert_header(("X-Errors-Failed", receipt.rows.failed.to_string()));
    reply.insert_header(("X-Errors-Kept", receipt.rejections_kept.to_string()));
    let rows = rows(Arc::clone(&at.store), batch.id, &receipt);
    if request.method() == Method::HEAD {
        let add = |bytes, piece: Bytes| async move { Ok(bytes + piece.len() as u64) };
        reply.no_chunking(rows.try_fold(0, add).await?);
        return Ok(reply.streaming(stream::empty::<Result<Bytes, QueryError>>()));
    }
    Ok(reply.streaming(rows))
}

/// The file, a page of rows at a time.
fn rows(
    store: Arc<dyn Store>,
    id: BatchId,
    receipt: &Receipt,
) -> impl Stream<Item = Result<Bytes, QueryError>> + use<> {
    let labels = &receipt.columns.labels;
    let delimiter = Some(receipt.delimiter).filter(|d| FOUND_AGAIN.contains(d));
    let form = ErrorsCsv::new(labels, delimiter.unwrap_or(','));
    let head = Bytes::from(form.header(labels));
    let pages = stream::try_unfold(Some(None), move |after: Option<Option<String>>| {
        let (store, form) = (Arc::clone(&store), form.clone());
        async move {
            let Some(after) = after else {
                return Ok(None);
            };
            let page = query::rejections(store.as_ref(), id, MAX_PAGE, after.as_deref()).await?;
            let text: String = page
                .data
                .iter()
                .map(|rejection| form.row(rejection))
                .collect();
            let next = page.next.map(|cursor| Some(cursor.to_string()));
            Ok(Some((Bytes::from(text), next)))
        }
    });
    stream::iter([Ok(head)]).chain(pages)
}
