//! The route of the daily metrics.

use actix_web::{
    HttpResponse,
    web::{Data, Query},
};
use serde::Deserialize;

use super::{
    Context,
    auth::Caller,
    held, places,
    problem::{Code, Problem},
    reply::MetricsReply,
};
use crate::{
    model::Day,
    query::{self, MetricFilter},
};

/// The query of [`show`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsQuery {
    date: Option<String>,
    from: Option<String>,
    to: Option<String>,
    event_type: Option<String>,
    interval: Option<String>,
}

/// `GET /metrics`: returns the counts and unique users of each day in a range, by event type.
pub(super) async fn show(
    context: Data<Context>,
    caller: Caller,
    query: Query<MetricsQuery>,
) -> Result<HttpResponse, Problem> {
    let filter = parse_filter(query.into_inner())?;
    let place = places::query(&context, &caller).await?;
    let metrics = query::metrics(context.store.as_ref(), &filter).await?;
    let reply = MetricsReply::from(&metrics);
    Ok(held::json(place, context.limits.stall, &reply))
}

fn parse_filter(query: MetricsQuery) -> Result<MetricFilter, Problem> {
    let MetricsQuery {
        date,
        from,
        to,
        event_type,
        interval,
    } = query;
    if let Some(other) = interval.filter(|interval| interval != "day") {
        let why = format!("`interval` can't be `{other}`: it is `day`");
        return Err(Problem::new(Code::BadQuery, why));
    }
    let event_type = event_type.map(|text| text.trim().to_owned());
    Ok(MetricFilter {
        date: parse_day("date", date)?,
        from: parse_day("from", from)?,
        to: parse_day("to", to)?,
        event_type: event_type.filter(|text| !text.is_empty()),
    })
}

/// Parses a day. An empty parameter is no filter: the page's form sends empty fields.
fn parse_day(name: &str, parameter: Option<String>) -> Result<Option<Day>, Problem> {
    let parse = |text: String| {
        text.parse()
            .map_err(|why| Problem::new(Code::BadQuery, format!("`{name}`: {why}")))
    };
    let parameter = parameter.filter(|text| !text.is_empty());
    parameter.map(parse).transpose()
}
