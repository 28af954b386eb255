//! Daily figures by date, range and event type.

use super::QueryError;
use crate::{
    metric::RangeTotals,
    model::{Day, Instant},
    store::{Store, StoredDay, TypeFigure},
};

/// Longest range of days.
const MAX_DAYS: usize = 3_700;
/// Most figures (one a day and type) in one answer.
const MAX_FIGURES: usize = 100_000;
/// Days read at once: a month of many types stays small.
const DAYS_AT_ONCE: usize = 31;
/// The first and last day that an event can fall on, in any zone.
const FIRST: Day = Day(-1);
const LAST: Day = Day(84_011);

/// A filter that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricFault {
    /// `date` beside a range.
    #[error("`date` can't stand beside `from` or `to`: give one day or a range")]
    DateAndRange,
    /// The range is backwards.
    #[error("`from` {from} is after `to` {to}: swap them")]
    Backwards {
        /// The first day.
        from: Day,
        /// The last day.
        to: Day,
    },
    /// Too many types on too many days.
    #[error(
        "that is more than {MAX_FIGURES} figures: ask for a shorter range, or for one `event_type`"
    )]
    TooMany,
    /// The range is too long.
    #[error("the range holds more than {MAX_DAYS} days: ask for a shorter one")]
    TooLong,
}

/// Which figures.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricFilter {
    /// One day.
    pub date: Option<Day>,
    /// The first day, inclusive.
    pub from: Option<Day>,
    /// The last day, inclusive.
    pub to: Option<Day>,
    /// One event type.
    pub event_type: Option<String>,
}

impl MetricFilter {
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

/// One day's figures, of what matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricDay {
    /// The day.
    pub day: Day,
    /// By event type, in order of name.
    pub types: Vec<TypeFigure>,
    /// Events.
    pub total: u64,
    /// Different users.
    pub unique_users: u64,
    /// When it was computed.
    pub computed_at: Instant,
    /// Whether newer figures are on their way.
    pub stale: bool,
}

/// Figures of a range.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    /// Days with events that match, in order.
    pub days: Vec<MetricDay>,
    /// Over all of them.
    pub totals: RangeTotals,
}

/// Reads figures.
///
/// # Errors
/// [`QueryError`] for a filter that makes no sense or a store that is away.
pub async fn metrics(store: &dyn Store, filter: &MetricFilter) -> Result<Metrics, QueryError> {
    let (mut from, to) = filter.range()?;
    let mut found = Metrics::default();
    let mut figures_found = 0;
    loop {
        let days = store
            .days(from, to, filter.event_type.as_deref(), DAYS_AT_ONCE)
            .await?;
        let last = days.last().map(|d| d.day);
        let more = days.len() == DAYS_AT_ONCE;
        for day in days {
            found.totals.add(&day.total);
            figures_found += day.types.len();
            found.days.push(figures(day));
        }
        if figures_found > MAX_FIGURES {
            return Err(MetricFault::TooMany.into());
        }
        if found.days.len() > MAX_DAYS {
            return Err(MetricFault::TooLong.into());
        }
        match last {
            Some(last) if more && last < to => from = Day(last.0 + 1),
            Some(_) | None => return Ok(found),
        }
    }
}

fn figures(day: StoredDay) -> MetricDay {
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
    fn a_range_is_inclusive_and_open_where_nothing_is_said() {
        assert_eq!(filter(Some(5), None, None), Ok((Day(5), Day(5))));
        assert_eq!(filter(None, Some(5), None), Ok((Day(5), LAST)));
        assert_eq!(filter(None, None, Some(5)), Ok((FIRST, Day(5))));
        assert_eq!(filter(None, Some(1), Some(3_700)), Ok((Day(1), Day(3_700))));
    }

    #[test]
    fn a_range_that_makes_no_sense_is_refused() {
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
    fn the_last_day_is_the_last_that_a_timestamp_can_have() {
        assert_eq!(LAST.to_string(), "2200-01-06");
        assert_eq!(FIRST.to_string(), "1969-12-31");
    }
}
