//! Daily metrics.

use serde::Serialize;

use super::instant;
use crate::{
    model::Instant,
    query::{MetricDay, Metrics},
    store::TypeFigure,
};

/// The metrics of a range of days.
#[derive(Debug, Serialize)]
pub(in crate::http) struct MetricsReply<'a> {
    /// Number of days in `data`.
    count: usize,
    data: Vec<DayReply<'a>>,
    totals: TotalsReply,
}

impl<'a> From<&'a Metrics> for MetricsReply<'a> {
    fn from(metrics: &'a Metrics) -> Self {
        let Metrics { days, totals } = metrics;
        Self {
            count: days.len(),
            data: days.iter().map(DayReply::from).collect(),
            totals: TotalsReply {
                processed_events: totals.events,
                unique_users: totals.users.estimate(),
                most_recent_event: totals.last.and_then(instant),
            },
        }
    }
}

#[derive(Debug, Serialize)]
struct DayReply<'a> {
    date: String,
    metrics: Vec<TypeReply<'a>>,
    /// Types left out of `metrics` so that the reply stays within its limit; the totals include them.
    #[serde(skip_serializing_if = "is_zero")]
    types_omitted: usize,
    total: u64,
    unique_users: u64,
    computed_at: Instant,
    stale: bool,
}

impl<'a> From<&'a MetricDay> for DayReply<'a> {
    fn from(day: &'a MetricDay) -> Self {
        let MetricDay {
            day,
            types,
            types_omitted,
            total,
            unique_users,
            computed_at,
            stale,
        } = day;
        Self {
            date: day.to_string(),
            metrics: types.iter().map(TypeReply::from).collect(),
            types_omitted: *types_omitted,
            total: *total,
            unique_users: *unique_users,
            computed_at: *computed_at,
            stale: *stale,
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

#[derive(Debug, Serialize)]
struct TypeReply<'a> {
    event_type: &'a str,
    count: u64,
    unique_users: u64,
}

impl<'a> From<&'a TypeFigure> for TypeReply<'a> {
    fn from(figure: &'a TypeFigure) -> Self {
        let TypeFigure {
            event_type,
            count,
            unique_users,
        } = figure;
        Self {
            event_type,
            count: *count,
            unique_users: *unique_users,
        }
    }
}

#[derive(Debug, Serialize)]
struct TotalsReply {
    processed_events: u64,
    unique_users: u64,
    most_recent_event: Option<Instant>,
}
