//! Events: of one batch or of all, in pages, and those of a batch as a file.

use std::sync::Arc;

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{Bytes, Data, Path, Query},
};
use futures_util::{TryStreamExt, stream};
use serde::Deserialize;
use tokio::sync::Semaphore;

use super::{
    Context,
    params::{id, live_batch, page_limit},
    problem::{Code, Problem},
    reply::{EventReply, PageReply},
};
use crate::{
    model::BatchId,
    query::{self, EventQuery},
    store::{EventFile, StoreError},
};

/// A page where none is asked for.
const DEFAULT_PAGE: usize = 100;
/// Pages of events looked for at once; further requests wait.
const LOOKS: usize = 4;
/// Files sent at once; further requests are sent away.
const FILES: usize = 16;

/// How much may be asked of events at once: each may take megabytes.
pub struct EventPlaces {
    looks: Semaphore,
    files: Arc<Semaphore>,
}

impl Default for EventPlaces {
    fn default() -> Self {
        Self {
            looks: Semaphore::new(LOOKS),
            files: Arc::new(Semaphore::new(FILES)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    batch_id: Option<String>,
    user_id: Option<String>,
    event_type: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(super) async fn list(
    at: Data<Context>,
    query: Query<EventsQuery>,
) -> Result<HttpResponse, Problem> {
    let batch = query.batch_id.as_deref().filter(|text| !text.is_empty());
    let batch = batch.map(id).transpose()?;
    page(&at, batch, query.into_inner()).await
}

pub(super) async fn of_batch(
    at: Data<Context>,
    path: Path<String>,
    query: Query<EventsQuery>,
) -> Result<HttpResponse, Problem> {
    if query.batch_id.is_some() {
        let why = "`batch_id` stands in the path: GET /events takes it as a parameter";
        return Err(Problem::new(Code::BadQuery, why));
    }
    let batch = live_batch(at.store.as_ref(), &path).await?.id;
    page(&at, Some(batch), query.into_inner()).await
}

async fn page(
    at: &Context,
    batch: Option<BatchId>,
    asked: EventsQuery,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(asked.limit.or(Some(DEFAULT_PAGE)))?;
    let query = EventQuery {
        batch,
        user_id: text(asked.user_id),
        event_type: text(asked.event_type),
        from: edge("from", asked.from)?,
        to: edge("to", asked.to)?,
    };
    let _place = at.events.looks.acquire().await;
    let zone = at.limits.time_zone;
    let page = (limit, asked.cursor.as_deref());
    let page = query::events(at.store.as_ref(), zone, &query, page).await?;
    Ok(HttpResponse::Ok().json(PageReply::new(&page, EventReply::from)))
}

/// A page's empty field is no filter; stored values have no space around them.
fn text(given: Option<String>) -> Option<String> {
    given.map(|t| t.trim().to_owned()).filter(|t| !t.is_empty())
}

fn edge(name: &str, given: Option<String>) -> Result<Option<query::RangeBound>, Problem> {
    let parse = |text: String| {
        text.parse()
            .map_err(|why| Problem::new(Code::BadQuery, format!("`{name}`: {why}")))
    };
    text(given).map(parse).transpose()
}

pub(super) async fn file(
    at: Data<Context>,
    request: HttpRequest,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = live_batch(at.store.as_ref(), &path).await?.id;
    let place = Arc::clone(&at.events.files).try_acquire_owned();
    let place = place.map_err(|_| {
        let why = format!("{FILES} event files are being sent already: try again in a few seconds");
        Problem::new(Code::Unavailable, why)
    })?;
    let EventFile { length, chunks } = match at.store.event_file(id).await {
        Err(why @ StoreError::Missing { .. }) => {
            // It may have been deleted since.
            live_batch(at.store.as_ref(), &path).await?;
            return Err(why.into());
        }
        found => found?,
    };
    let chunks = chunks.inspect_err(move |why| {
        let _held_to_the_end = &place;
        tracing::error!(batch.id = %id, error = %why, "the event file of batch {id} was cut short");
    });
    let mut reply = HttpResponse::Ok();
    reply.content_type("application/vnd.apache.parquet");
    reply.insert_header((
        header::CONTENT_DISPOSITION,
        format!("attachment; filename=\"{id}.parquet\""),
    ));
    if let Some(bytes) = length {
        reply.no_chunking(bytes);
    }
    if request.method() == Method::HEAD {
        // Else the file would be read to its end for nothing.
        return Ok(reply.streaming(stream::empty::<Result<Bytes, StoreError>>()));
    }
    Ok(reply.streaming(chunks))
}
