//! Daily figures.

use actix_web::{
    HttpResponse,
    web::{Data, Query},
};
use serde::Deserialize;

use super::{
    Context,
    problem::{Code, Problem},
    reply::MetricsReply,
};
use crate::{
    model::Day,
    query::{self, MetricFilter},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsQuery {
    date: Option<String>,
    from: Option<String>,
    to: Option<String>,
    event_type: Option<String>,
    interval: Option<String>,
}

pub(super) async fn show(
    at: Data<Context>,
    query: Query<MetricsQuery>,
) -> Result<HttpResponse, Problem> {
    let found = query::metrics(at.store.as_ref(), &filter(query.into_inner())?).await?;
    Ok(HttpResponse::Ok().json(MetricsReply::from(&found)))
}

fn filter(query: MetricsQuery) -> Result<MetricFilter, Problem> {
    let MetricsQuery {
        date,
        from,
        to,
        event_type,
        interval,
    } = query;
    if let Some(other) = interval.filter(|i| i != "day") {
        return Err(Problem::new(
            Code::BadQuery,
            format!("`interval` can't be `{other}`: it is `day`"),
        ));
    }
    Ok(MetricFilter {
        date: day("date", date)?,
        from: day("from", from)?,
        to: day("to", to)?,
        event_type: event_type
            .map(|t| t.trim().to_owned())
            .filter(|t| !t.is_empty()),
    })
}

/// A page's empty field is no date.
fn day(name: &str, text: Option<String>) -> Result<Option<Day>, Problem> {
    let parse = |text: String| {
        text.parse()
            .map_err(|why| Problem::new(Code::BadQuery, format!("`{name}`: {why}")))
    };
    text.filter(|t| !t.is_empty()).map(parse).transpose()
}
