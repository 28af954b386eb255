//! Daily metrics by date, range and event type.

use super::QueryError;
use crate::{
    metric::RangeTotals,
    model::{Day, Instant},
    store::{Store, StoredDay, TypeFigure},
};

/// Longest range of days.
const MAX_DAYS: usize = 3_700;
/// Most figures (one per day and type) in one answer. Of more, each day has those of its most frequent types.
const MAX_FIGURES: usize = 100_000;
/// Days read in one step: a month of many types fits in memory.
const PAGE_DAYS: usize = 31;
/// The first day that an event can fall on, in any time zone.
const FIRST: Day = Day(-1);
/// The last such day.
const LAST: Day = Day(84_011);

/// A filter that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricFault {
    /// Both `date` and a range are given.
    #[error("`date` can't stand beside `from` or `to`: give one day or a range")]
    DateAndRange,
    /// The range ends before it starts.
    #[error("`from` {from} is after `to` {to}: swap them")]
    Backwards {
        /// The first day.
        from: Day,
        /// The last day.
        to: Day,
    },
    /// The range is too long.
    #[error("the range holds more than {MAX_DAYS} days: ask for a shorter one")]
    TooLong,
}

/// Selects daily metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricFilter {
    /// Selects one day.
    pub date: Option<Day>,
    /// The first day, inclusive.
    pub from: Option<Day>,
    /// The last day, inclusive.
    pub to: Option<Day>,
    /// Selects one event type.
    pub event_type: Option<String>,
}

impl MetricFilter {
    /// Returns the first and last day, inclusive.
    fn range(&self) -> Result<(Day, Day), MetricFault> {
        match (self.date, self.from, self.to) {
            (Some(day), None, None) => Ok((day, day)),
            (Some(_), _, _) => Err(MetricFault::DateAndRange),
            (None, Some(from), Some(to)) if from > to => Err(MetricFault::Backwards { from, to }),
            (None, Some(from), Some(to))
                if i64::from(to.0) - i64::from(from.0) >= MAX_DAYS as i64 =>
            {
                Err(MetricFault::TooLong)
            }
            (None, from, to) => Ok((from.unwrap_or(FIRST), to.unwrap_or(LAST))),
        }
    }
}

/// The metrics of one day, over the matching events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricDay {
    /// The day.
    pub day: Day,
    /// The figures by event type, in order of name.
    pub types: Vec<TypeFigure>,
    /// Event types of the day that are not among them. The totals include their events.
    pub types_omitted: usize,
    /// Number of events.
    pub total: u64,
    /// Number of different users, estimated if there are many.
    pub unique_users: u64,
    /// When the metrics were computed.
    pub computed_at: Instant,
    /// Whether newer metrics are being computed.
    pub stale: bool,
}

/// The metrics of a range.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Days with matching events, in order.
    pub days: Vec<MetricDay>,
    /// The totals over these days.
    pub totals: RangeTotals,
}

/// Returns the metrics that match a filter.
///
/// # Errors
/// [`QueryError`] for a refused filter or an unavailable store.
pub async fn metrics(store: &dyn Store, filter: &MetricFilter) -> Result<Metrics, QueryError> {
    let (mut from, to) = filter.range()?;
    let mut metrics = Metrics::default();
    loop {
        let days = store
            .days(from, to, filter.event_type.as_deref(), PAGE_DAYS)
            .await?;
        let last = days.last().map(|d| d.day);
        let more = days.len() == PAGE_DAYS;
        for day in days {
            metrics.totals.add(&day.total);
            metrics.days.push(metric_day(day));
        }
        if metrics.days.len() > MAX_DAYS {
            return Err(MetricFault::TooLong.into());
        }
        omit_rare_types(&mut metrics.days, MAX_FIGURES);
        match last {
            Some(last) if more && last < to => from = Day(last.0 + 1),
            Some(_) | None => return Ok(metrics),
        }
    }
}

/// Leaves each day the same number of its most frequent types, if there are more than `most` figures in all.
fn omit_rare_types(days: &mut [MetricDay], most: usize) {
    let figures: usize = days.iter().map(|day| day.types.len()).sum();
    if figures <= most {
        return;
    }
    let share = most / days.len().max(1);
    for day in days.iter_mut().filter(|day| day.types.len() > share) {
        day.types_omitted += day.types.len() - share;
        day.types
            .sort_unstable_by(|a, b| (b.count, &a.event_type).cmp(&(a.count, &b.event_type)));
        day.types.truncate(share);
        day.types.shrink_to_fit();
        day.types
            .sort_unstable_by(|a, b| a.event_type.cmp(&b.event_type));
    }
}

fn metric_day(day: StoredDay) -> MetricDay {
    let StoredDay {
        day,
        stale,
        computed_at,
        total,
        types,
    } = day;
    MetricDay {
        day,
        types,
        types_omitted: 0,
        total: total.count,
        unique_users: total.users.estimate(),
        computed_at,
        stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(
        date: Option<i32>,
        from: Option<i32>,
        to: Option<i32>,
    ) -> Result<(Day, Day), MetricFault> {
        let day = |d: Option<i32>| d.map(Day);
        MetricFilter {
            date: day(date),
            from: day(from),
            to: day(to),
            event_type: None,
        }
        .range()
    }

    #[test]
    fn a_range_is_inclusive_and_open_at_missing_ends() {
        assert_eq!(filter(Some(5), None, None), Ok((Day(5), Day(5))));
        assert_eq!(filter(None, Some(5), None), Ok((Day(5), LAST)));
        assert_eq!(filter(None, None, Some(5)), Ok((FIRST, Day(5))));
        assert_eq!(filter(None, Some(1), Some(3_700)), Ok((Day(1), Day(3_700))));
    }

    #[test]
    fn contradictory_and_oversized_ranges_are_refused() {
        assert_eq!(
            filter(Some(5), Some(1), None),
            Err(MetricFault::DateAndRange)
        );
        assert_eq!(
            filter(None, Some(5), Some(4)),
            Err(MetricFault::Backwards {
                from: Day(5),
                to: Day(4)
            })
        );
        assert_eq!(
            filter(None, Some(1), Some(3_701)),
            Err(MetricFault::TooLong)
        );
    }

    #[test]
    fn days_with_too_many_types_keep_their_most_frequent_ones() {
        let day = |n: i32, types: u64| MetricDay {
            day: Day(n),
            types: (0..types)
                .map(|at| TypeFigure {
                    event_type: format!("t{at:03}"),
                    count: at + 1,
                    unique_users: 1,
                })
                .collect(),
            types_omitted: 0,
            total: 0,
            unique_users: 0,
            computed_at: Instant::default(),
            stale: false,
        };
        let mut days = vec![day(1, 100), day(2, 5), day(3, 100)];
        omit_rare_types(&mut days, 205);
        assert!(days.iter().all(|day| day.types_omitted == 0), "they fit");
        omit_rare_types(&mut days, 30);
        let left = |day: &MetricDay| (day.types.len(), day.types_omitted);
        assert_eq!(
            days.iter().map(left).collect::<Vec<_>>(),
            [(10, 90), (5, 0), (10, 90)]
        );
        let names: Vec<_> = days[0]
            .types
            .iter()
            .map(|t| t.event_type.as_str())
            .collect();
        assert_eq!((names[0], names[9]), ("t090", "t099"));
    }

    #[test]
    fn the_open_range_covers_every_valid_timestamp() {
        assert_eq!(LAST.to_string(), "2200-01-06");
        assert_eq!(FIRST.to_string(), "1969-12-31");
    }
}
