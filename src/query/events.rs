//! Events of one batch or of all, newest first, then by batch (older upload first), then by row.
//! Merges pages of the batches whose time range matches.

use std::{cmp::Reverse, fmt, ops::Range, str::FromStr, sync::Arc};

use chrono_tz::Tz;

use super::{Cursor, Page, QueryError, page, visible};
use crate::{
    metric::DayZone,
    model::{BatchId, Columns, Day, Instant, TextColumn},
    store::{
        EVENT_PAGE_BYTES, EventFilter, EventPage, EventPosition, EventTimeFilter, Store, StoreError,
    },
};

/// Most batches read for one page.
const MAX_BATCHES: usize = 1_000;
/// Batches listed in one step.
const BATCH_STEP: usize = 100;
/// Approximate bytes of an event in a reply besides its texts.
const EVENT_BYTES: usize = 200;

/// A filter that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// A bound is neither a day nor an instant.
    #[error(
        "`{0}` is neither a day such as 2025-11-10 nor an instant such as 2025-11-10T08:00:00Z (in a URL a + is %2B)"
    )]
    Bound(String),
    /// The range is empty or ends before it starts.
    #[error("`from` is not before the end of `to`: swap them, or leave one out")]
    Backwards,
    /// Too many batches have events around one instant, so that no page could be in order.
    #[error(
        "more than {MAX_BATCHES} batches have events at the same time: narrow the query by `from` and `to`, or by `batch_id`"
    )]
    TooManyBatches,
}

/// The start or end of a time range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeBound {
    /// The start, or the end, of this day.
    Day(Day),
    /// This instant.
    At(Instant),
}

impl FromStr for RangeBound {
    type Err = EventFault;

    fn from_str(text: &str) -> Result<Self, EventFault> {
        let at = || text.parse::<Instant>().map(Self::At);
        let bound = text.parse().map(Self::Day).or_else(|_| at());
        bound.map_err(|_| EventFault::Bound(text.chars().take(80).collect()))
    }
}

/// Returns the day of a bound, if it is one, and its instant, or else `open`.
fn split(bound: Option<RangeBound>, open: i64) -> (Option<Day>, i64) {
    match bound {
        Some(RangeBound::Day(day)) => (Some(day), open),
        Some(RangeBound::At(at)) => (None, at.timestamp_micros()),
        None => (None, open),
    }
}

/// Selects events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Selects events of one batch.
    pub batch: Option<BatchId>,
    /// Selects events of one user.
    pub user_id: Option<String>,
    /// Selects events of one type.
    pub event_type: Option<String>,
    /// The first day or instant, inclusive.
    pub from: Option<RangeBound>,
    /// The last day, inclusive, or an instant, exclusive.
    pub to: Option<RangeBound>,
}

impl EventQuery {
    /// Returns the filter for the store.
    fn filter(&self, zone: Tz) -> Result<EventFilter, EventFault> {
        let ranges = self.ranges(zone)?;
        let from = ranges.first().map_or(0, |range| range.start);
        let until = ranges.last().map_or(0, |range| range.end);
        let gap = |ranges: &[Range<i64>]| ranges[0].end..ranges[1].start;
        Ok(EventFilter {
            from,
            until,
            gaps: ranges.windows(2).map(gap).collect(),
            user_id: self.user_id.clone(),
            event_type: self.event_type.clone(),
        })
    }

    /// Returns the selected instants as disjoint ranges in order; none for days that the zone skipped.
    fn ranges(&self, zone: Tz) -> Result<Vec<Range<i64>>, EventFault> {
        let (first, from) = split(self.from, i64::MIN);
        let (last, until) = split(self.to, i64::MAX);
        let days = first.zip(last);
        if days.is_some_and(|(first, last)| first > last) {
            return Err(EventFault::Backwards);
        }
        let mut ranges = DayZone::instants(zone, first, last);
        for range in &mut ranges {
            *range = range.start.max(from)..range.end.min(until);
        }
        ranges.retain(|range| !range.is_empty());
        if ranges.is_empty() && days.is_none() {
            return Err(EventFault::Backwards);
        }
        Ok(ranges)
    }
}

/// A stored event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The batch.
    pub batch: BatchId,
    /// The row in the file, from 1.
    pub row: u32,
    /// The physical line on which the row starts.
    pub line: u32,
    /// The event id; empty if it has none.
    pub event_id: String,
    /// The event type.
    pub event_type: String,
    /// The user id.
    pub user_id: String,
    /// The instant, in microseconds since 1970 (UTC).
    pub timestamp: i64,
    /// The names of the attributes, shared by the events of a batch.
    names: Arc<Vec<String>>,
    /// The values of the attributes.
    cells: Vec<String>,
}

impl Event {
    /// Returns the attributes by name, without empty ones.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.names.iter().zip(&self.cells);
        all.filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| (name.as_str(), cell.as_str()))
    }

    fn position(&self) -> ListPosition {
        ListPosition {
            timestamp: Reverse(self.timestamp),
            batch: self.batch,
            row: self.row,
        }
    }

    /// Returns the approximate bytes in a reply.
    fn reply_bytes(&self) -> usize {
        let fixed = self.event_id.len() + self.event_type.len() + self.user_id.len();
        let rest = self
            .attributes()
            .map(|(name, cell)| name.len() + cell.len());
        EVENT_BYTES + fixed + rest.sum::<usize>()
    }
}

/// The sort key of an event among the events of all batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ListPosition {
    timestamp: Reverse<i64>,
    batch: BatchId,
    row: u32,
}

impl ListPosition {
    /// Returns the position in `batch` after which its events sort after this one.
    fn within(self, batch: BatchId) -> EventPosition {
        let row = match batch.cmp(&self.batch) {
            std::cmp::Ordering::Less => u32::MAX,
            std::cmp::Ordering::Equal => self.row,
            std::cmp::Ordering::Greater => 0,
        };
        EventPosition::new(self.timestamp.0, row)
    }
}

impl fmt::Display for ListPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.timestamp.0, self.batch, self.row)
    }
}

impl FromStr for ListPosition {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split(' ');
        let mut next = || parts.next().ok_or(());
        Ok(Self {
            timestamp: Reverse(next()?.parse().map_err(|_| ())?),
            batch: next()?.parse().map_err(|_| ())?,
            row: next()?.parse().map_err(|_| ())?,
        })
    }
}

/// A page of events.
#[derive(Debug)]
pub struct EventList {
    /// The events.
    pub page: Page<Event>,
    /// Batches whose events may belong on the page, but are damaged or missing.
    pub unreadable: Vec<BatchId>,
}

/// Lists events, newest first. A page with long events ends early. In a query over all batches, one whose events can't be
/// read is named instead of failing the query.
///
/// # Errors
/// [`QueryError`] for a refused filter, a foreign cursor, too many batches, or an unavailable store.
pub async fn events(
    store: &dyn Store,
    zone: Tz,
    query: &EventQuery,
    (limit, after): (usize, Option<&str>),
) -> Result<EventList, QueryError> {
    let filter = query.filter(zone)?;
    let list = format!("events {:?} {filter:?}", query.batch);
    let after: Option<ListPosition> = after.map(|text| Cursor::read(&list, text)).transpose()?;
    // One event more than the page shows whether there is a next page.
    let mut merge = BatchMerge {
        store,
        filter,
        after,
        merged: MergedEvents::new(limit + 1),
        batches: 0,
        unreadable: Vec::new(),
    };
    match query.batch {
        Some(id) => merge.add_batch(id).await?,
        None => merge.add_all_batches().await?,
    }
    let MergedEvents { events, bound, .. } = merge.merged;
    let cursor = |event: &Event| Cursor::new(&list, &event.position());
    let last = bound.map(|bound| Cursor::new(&list, &bound));
    let mut page = page(events, limit, cursor);
    page.next = page.next.or(last);
    Ok(EventList {
        page,
        unreadable: merge.unreadable,
    })
}

/// Reads the events of one page from one or many batches.
struct BatchMerge<'a> {
    store: &'a dyn Store,
    filter: EventFilter,
    after: Option<ListPosition>,
    merged: MergedEvents,
    /// Batches read so far.
    batches: usize,
    /// Batches that could not be read.
    unreadable: Vec<BatchId>,
}

impl BatchMerge<'_> {
    /// Reads batches by their last event, newest first. It stops at the first batch that ends before the page does: all
    /// further ones do too.
    async fn add_all_batches(&mut self) -> Result<(), QueryError> {
        let until = self.after.map(|after| after.timestamp.0.saturating_add(1));
        let mut filter = EventTimeFilter {
            from: self.filter.from,
            until: until.unwrap_or(i64::MAX).min(self.filter.until),
            after: None,
        };
        loop {
            let page = self
                .store
                .batches_by_event_time(&filter, BATCH_STEP)
                .await?;
            for (last, id) in &page {
                if self.merged.bound.is_some_and(|b| *last < b.timestamp.0) {
                    return Ok(());
                }
                self.batches += 1;
                if self.batches > MAX_BATCHES {
                    return self.end_before(*last);
                }
                match self.add_batch(*id).await {
                    Err(QueryError::Store(
                        error @ (StoreError::Corrupt { .. } | StoreError::Missing { .. }),
                    )) => {
                        tracing::error!(batch.id = %id, %error, "events of batch {id} can't be read, a query leaves them out");
                        self.unreadable.push(*id);
                    }
                    added => added?,
                }
            }
            if page.len() < BATCH_STEP {
                return Ok(());
            }
            filter.after = page.last().copied();
        }
    }

    /// Ends the page before the events of unread batches, none of which is later than `last`.
    fn end_before(&mut self, last: i64) -> Result<(), QueryError> {
        let bound = ListPosition {
            timestamp: Reverse(last.saturating_add(1)),
            batch: BatchId::MAX,
            row: u32::MAX,
        };
        // The next page would look into the same batches, and end here again.
        if self.after.is_some_and(|after| bound <= after) {
            return Err(EventFault::TooManyBatches.into());
        }
        self.merged.end_at(bound);
        Ok(())
    }

    /// Reads the events of one batch that may be on the page.
    async fn add_batch(&mut self, id: BatchId) -> Result<(), QueryError> {
        let after = self.after.map(|after| after.within(id));
        let mut filter = self.filter.clone();
        if let Some(bound) = self.merged.bound {
            filter.from = filter.from.max(bound.timestamp.0);
        }
        let page = self
            .store
            .find_events(id, &filter, after, self.merged.limit);
        let page = match page.await {
            // Missing events of a batch that was deleted since it was listed are no error.
            Err(StoreError::Missing { .. }) if self.columns(id).await?.is_none() => return Ok(()),
            page => page?,
        };
        if page.events.is_empty() {
            return Ok(());
        }
        if let Some(columns) = self.columns(id).await? {
            self.merged.add(id, &columns, &page);
        }
        Ok(())
    }

    /// Returns the columns of a batch; none if its events are not visible.
    async fn columns(&self, id: BatchId) -> Result<Option<Columns>, QueryError> {
        let batch = visible(self.store, id).await?;
        let batch = batch.filter(|batch| !batch.status.is_void());
        Ok(batch.and_then(|batch| batch.receipt).map(|r| r.columns))
    }
}

/// The first events, in order, of all batches read so far.
struct MergedEvents {
    events: Vec<Event>,
    /// Most events.
    limit: usize,
    /// The last position up to which the events are complete; none while all are. Events after it are dropped.
    bound: Option<ListPosition>,
}

impl MergedEvents {
    fn new(limit: usize) -> Self {
        Self {
            events: Vec::new(),
            limit,
            bound: None,
        }
    }

    /// Merges a page of one batch.
    fn add(&mut self, batch: BatchId, columns: &Columns, page: &EventPage) {
        let names = Arc::new(columns.stored_attributes());
        let all = (0..page.events.len()).map(|at| event(batch, &names, page, at));
        self.events.extend(all);
        let last = self
            .events
            .last()
            .map(Event::position)
            .filter(|_| page.more);
        self.bound = [self.bound, last].into_iter().flatten().min();
        self.events.sort_unstable_by_key(Event::position);
        self.truncate();
    }

    /// Ends the page at a position after which events are missing.
    fn end_at(&mut self, bound: ListPosition) {
        self.bound = Some(self.bound.map_or(bound, |before| before.min(bound)));
        self.events.retain(|event| event.position() <= bound);
    }

    /// Drops events after the bound, and those that exceed the limits of a page in number or bytes.
    fn truncate(&mut self) {
        if let Some(bound) = self.bound {
            self.events.retain(|event| event.position() <= bound);
        }
        let mut bytes = 0;
        let fits = |event: &&Event| {
            bytes += event.reply_bytes();
            bytes <= EVENT_PAGE_BYTES
        };
        let count = self.events.iter().take(self.limit).take_while(fits).count();
        let count = count.max(1);
        if count < self.events.len() || count == self.limit {
            self.events.truncate(count);
            self.bound = self.events.last().map(Event::position);
        }
    }
}

/// Returns one event of a page.
fn event(batch: BatchId, names: &Arc<Vec<String>>, page: &EventPage, at: usize) -> Event {
    let events = &page.events;
    let text = |column: &TextColumn| String::from_utf8_lossy(column.get(at)).into_owned();
    Event {
        batch,
        row: events.rows[at],
        line: events.lines[at],
        event_id: text(&events.event_id),
        event_type: text(&events.event_type),
        user_id: text(&events.user_id),
        timestamp: events.timestamp[at],
        names: Arc::clone(names),
        cells: events.attributes.iter().map(text).collect(),
    }
}
