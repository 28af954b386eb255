//! Routes for stored events: pages of JSON over one batch or all, and the Parquet file of one batch.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header},
    web::{Bytes, Data, Path, Query},
};
use futures_util::{TryStreamExt, stream};
use serde::Deserialize;

use super::{
    Context,
    auth::Caller,
    held,
    params::{id, live_batch, page_limit},
    places,
    problem::{Code, Problem},
    range,
    reply::EventListReply,
};
use crate::{
    model::BatchId,
    query::{self, EventQuery},
    store::{EventFile, StoreError},
};

/// Events in a page if the query has no `limit`.
const DEFAULT_PAGE: usize = 100;

/// The query of [`list`] and [`list_of_batch`].
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

/// `GET /events`: returns a page of the events of all batches, newest first.
pub(super) async fn list(
    context: Data<Context>,
    caller: Caller,
    query: Query<EventsQuery>,
) -> Result<HttpResponse, Problem> {
    let batch = query.batch_id.as_deref().filter(|text| !text.is_empty());
    let batch = batch.map(id).transpose()?;
    page_reply(&context, &caller, batch, query.into_inner()).await
}

/// `GET /batches/{id}/events`: returns a page of the events of one batch, newest first.
pub(super) async fn list_of_batch(
    context: Data<Context>,
    caller: Caller,
    path: Path<String>,
    query: Query<EventsQuery>,
) -> Result<HttpResponse, Problem> {
    if query.batch_id.is_some() {
        let why = "`batch_id` stands in the path: GET /events takes it as a parameter";
        return Err(Problem::new(Code::BadQuery, why));
    }
    let batch = live_batch(context.store.as_ref(), &path).await?.id;
    let reply = page_reply(&context, &caller, Some(batch), query.into_inner()).await?;
    // Deleted during the query, it would look like a batch without events.
    live_batch(context.store.as_ref(), &path).await?;
    Ok(reply)
}

async fn page_reply(
    context: &Context,
    caller: &Caller,
    batch: Option<BatchId>,
    query: EventsQuery,
) -> Result<HttpResponse, Problem> {
    let limit = page_limit(query.limit.or(Some(DEFAULT_PAGE)))?;
    let cursor = query.cursor.as_deref();
    let filter = EventQuery {
        batch,
        user_id: non_empty(query.user_id),
        event_type: non_empty(query.event_type),
        from: parse_bound("from", query.from)?,
        to: parse_bound("to", query.to)?,
    };
    let place = places::query(context, caller).await?;
    let (store, zone) = (context.store.as_ref(), context.limits.time_zone);
    let list = query::events(store, zone, &filter, (limit, cursor)).await?;
    let reply = EventListReply::from(&list);
    Ok(held::json(place, context.limits.stall, &reply))
}

/// Trims a parameter, since stored values are trimmed. An empty one is no filter: the page's form sends empty fields.
fn non_empty(parameter: Option<String>) -> Option<String> {
    let trimmed = parameter.map(|text| text.trim().to_owned());
    trimmed.filter(|text| !text.is_empty())
}

fn parse_bound(
    name: &str,
    parameter: Option<String>,
) -> Result<Option<query::RangeBound>, Problem> {
    let parse = |text: String| {
        text.parse()
            .map_err(|why| Problem::new(Code::BadQuery, format!("`{name}`: {why}")))
    };
    non_empty(parameter).map(parse).transpose()
}

/// `GET /batches/{id}/events.parquet`: returns all events of a batch as one file.
pub(super) async fn download(
    context: Data<Context>,
    request: HttpRequest,
    caller: Caller,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id = live_batch(context.store.as_ref(), &path).await?.id;
    let place = places::download(&context, &caller)?;
    let EventFile { length, chunks } = match context.store.event_file(id).await {
        Err(why @ StoreError::Missing { .. }) => {
            // The batch may have been deleted since it was read.
            live_batch(context.store.as_ref(), &path).await?;
            return Err(why.into());
        }
        file => file?,
    };
    let chunks = chunks.inspect_err(move |why| {
        tracing::error!(batch.id = %id, error = %why, "the event file of batch {id} ended early, its download is aborted");
    });
    let mut reply = HttpResponse::Ok();
    reply.content_type("application/vnd.apache.parquet");
    let name = format!("attachment; filename=\"{id}.parquet\"");
    reply.insert_header((header::CONTENT_DISPOSITION, name));
    if let Some(bytes) = length {
        reply.insert_header((header::ACCEPT_RANGES, "bytes"));
        if let Some(range) = range::of(&request, bytes)? {
            let part = range.cut(chunks);
            range.describe(&mut reply);
            return Ok(reply.streaming(held::stream(place, context.limits.stall, part)));
        }
        reply.no_chunking(bytes);
    }
    if request.method() == Method::HEAD {
        // The server would read the complete file only to discard it.
        return Ok(reply.streaming(stream::empty::<Result<Bytes, StoreError>>()));
    }
    Ok(reply.streaming(held::stream(place, context.limits.stall, chunks)))
}
