//! Parses paths and queries into typed values. A value that does not parse is a problem that names it.

use std::str::FromStr;

use actix_web::{
    HttpRequest,
    error::{PathError, QueryPayloadError},
    web::{PathConfig, QueryConfig},
};
use serde::Deserialize;

use super::problem::{Code, Problem};
use crate::{
    model::{Batch, BatchId},
    query::{self, DEFAULT_PAGE, MAX_PAGE},
    store::Store,
};

/// Replies to an unknown or malformed query parameter with a problem.
pub(super) fn query_config() -> QueryConfig {
    let problem = |why: QueryPayloadError, _: &HttpRequest| {
        Problem::new(Code::BadQuery, why.to_string()).into()
    };
    QueryConfig::default().error_handler(problem)
}

/// Replies to a malformed path with a problem.
pub(super) fn path_config() -> PathConfig {
    let problem =
        |why: PathError, _: &HttpRequest| Problem::new(Code::BadId, why.to_string()).into();
    PathConfig::default().error_handler(problem)
}

/// The query of a list without filters.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    limit: Option<usize>,
    pub(super) cursor: Option<String>,
}

impl PageQuery {
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        page_limit(self.limit)
    }
}

/// Checks the length of a page.
pub(super) fn page_limit(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(DEFAULT_PAGE) {
        limit @ 1..=MAX_PAGE => Ok(limit),
        other => Err(Problem::new(
            Code::BadQuery,
            format!("`limit` can't be {other}: it is 1 to {MAX_PAGE}"),
        )),
    }
}

/// Parses an id or a name in a path.
pub(super) fn id<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|why: T::Err| Problem::new(Code::BadId, why.to_string()))
}

/// Returns the batch of an id in a path. A deleted batch is a problem.
pub(super) async fn live_batch(store: &dyn Store, text: &str) -> Result<Batch, Problem> {
    let id: BatchId = id(text)?;
    let batch = query::visible(store, id).await?;
    let batch = batch.ok_or_else(|| batch_missing(id))?;
    if batch.status.is_void() {
        Err(deleted(id))
    } else {
        Ok(batch)
    }
}

pub(super) fn batch_missing(id: BatchId) -> Problem {
    Problem::new(
        Code::BatchMissing,
        format!("there is no batch {id}, or it is still being received"),
    )
}

pub(super) fn deleted(id: BatchId) -> Problem {
    Problem::new(
        Code::BatchDeleted,
        format!("batch {id} was deleted; GET /batches/{id} shows what is left of it"),
    )
}
