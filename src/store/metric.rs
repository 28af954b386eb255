//! Partials (the contribution of one run to one day and event type) and the daily figures folded from them.

use async_trait::async_trait;

use super::Result;
use crate::{
    metric::{DayFigures, Group, Partial},
    model::{BatchId, Day, Instant},
};

/// The two counters of a day; its figures are stale while `wanted` is greater than `computed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayState {
    /// Incremented each time a batch with events on the day is published or deleted.
    pub wanted: i64,
    /// The value of `wanted` that the stored figures answer.
    pub computed: i64,
}

/// The stored figures of a day.
#[derive(Debug, Clone)]
pub struct StoredDay {
    /// The day.
    pub day: Day,
    /// Whether newer figures are wanted.
    pub stale: bool,
    /// When the figures were computed.
    pub computed_at: Instant,
    /// The sum over all requested types.
    pub total: Partial,
    /// The figures by event type; only the requested type, if one was.
    pub types: Vec<TypeFigure>,
}

/// The figures of one event type on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeFigure {
    /// The event type.
    pub event_type: String,
    /// Number of events.
    pub count: u64,
    /// Number of different users, estimated if there are many.
    pub unique_users: u64,
}

/// Stores partials and days.
///
/// It has nine methods: partials are read only through the fold of their day, so two traits would split one rule.
#[async_trait]
pub trait MetricStore: Send + Sync {
    /// Stores partials of a run under its token; replaces those of the same day and type.
    async fn put_partials(&self, id: BatchId, token: i64, groups: &[Group]) -> Result<()>;
    /// Lists the partials of a run by day and type, after one of them.
    async fn partials(
        &self,
        id: BatchId,
        token: i64,
        after: Option<(Day, &str)>,
        limit: usize,
    ) -> Result<Vec<Group>>;
    /// Deletes some partials of a batch that are below its fence and not published. Returns whether more may remain.
    async fn drop_stale_partials(&self, id: BatchId) -> Result<bool>;
    /// Increments `wanted` of these days.
    async fn mark_days(&self, days: &[Day]) -> Result<()>;
    /// Returns the counters of a day.
    async fn day(&self, day: Day) -> Result<DayState>;
    /// Returns the sum of the published partials of a day.
    async fn fold_day(&self, day: Day) -> Result<DayFigures>;
    /// Replaces the figures of a day if their `computed` is lower. Returns whether it was.
    async fn replace_day(
        &self,
        day: Day,
        computed: i64,
        at: Instant,
        figures: &DayFigures,
    ) -> Result<bool>;
    /// Lists days with events in a range, of one type or of all, in order.
    async fn days(
        &self,
        from: Day,
        to: Day,
        event_type: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDay>>;
    /// Lists stale days in order, after one.
    async fn stale_days(&self, after: Option<Day>, limit: usize) -> Result<Vec<Day>>;
}
