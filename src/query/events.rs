//! Events of one batch or of all, the newest first: those of one instant by batch (the older upload first), then by row.

use std::{cmp::Reverse, fmt, str::FromStr, sync::Arc};

use chrono_tz::Tz;

use super::{Cursor, Page, QueryError, page, visible};
use crate::{
    metric::DayZone,
    model::{BatchId, Columns, Day, Instant, TextColumn},
    store::{
        EVENT_PAGE_BYTES, EventFilter, EventPage, EventPosition, EventTimeFilter, Store, StoreError,
    },
};

/// Batches that one page may look into.
const MAX_BATCHES: usize = 1_000;
/// Batches found at once.
const BATCHES_AT_ONCE: usize = 100;
/// Bytes that an event takes besides its texts, about.
const EVENT_BYTES: usize = 200;

/// Why events can't be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventFault {
    /// Neither a day nor an instant.
    #[error(
        "`{0}` is neither a day such as 2025-11-10 nor an instant such as 2025-11-10T08:00:00Z (in a URL a + is %2B)"
    )]
    Edge(String),
    /// The range is backwards, or there is no time in it.
    #[error("`from` is not before the end of `to`: swap them, or leave one out")]
    Backwards,
    /// Too many batches have events in the range.
    #[error(
        "more than {MAX_BATCHES} batches would have to be looked into: narrow it by `from` and `to`, or by `batch_id`"
    )]
    TooManyBatches,
}

/// Where a range begins or ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// With this day.
    Day(Day),
    /// At this instant.
    At(Instant),
}

impl FromStr for Edge {
    type Err = EventFault;

    fn from_str(text: &str) -> Result<Self, EventFault> {
        let at = || text.parse::<Instant>().map(Self::At);
        let edge = text.parse().map(Self::Day).or_else(|_| at());
        edge.map_err(|_| EventFault::Edge(text.chars().take(80).collect()))
    }
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Of one batch.
    pub batch: Option<BatchId>,
    /// Of one user.
    pub user_id: Option<String>,
    /// Of one type.
    pub event_type: Option<String>,
    /// The first day or instant, inclusive.
    pub from: Option<Edge>,
    /// The last day, inclusive, or the instant before which all are.
    pub to: Option<Edge>,
}

impl EventQuery {
    fn filter(&self, zone: Tz) -> Result<EventFilter, EventFault> {
        let start = |edge: Edge| match edge {
            Edge::Day(day) => DayZone::start(zone, day),
            Edge::At(at) => at.timestamp_micros(),
        };
        let end = |edge: Edge| match edge {
            Edge::Day(day) => DayZone::start(zone, Day(day.0.saturating_add(1))),
            Edge::At(at) => at.timestamp_micros(),
        };
        let (from, until) = (self.from.map(start), self.to.map(end));
        let (from, until) = (from.unwrap_or(i64::MIN), until.unwrap_or(i64::MAX));
        if from >= until {
            return Err(EventFault::Backwards);
        }
        Ok(EventFilter {
            from,
            until,
            user_id: self.user_id.clone(),
            event_type: self.event_type.clone(),
        })
    }
}

/// One event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its batch.
    pub batch: BatchId,
    /// Its row in the file, from 1.
    pub row: u32,
    /// The line it starts on.
    pub line: u32,
    /// Its own id; empty if it has none.
    pub event_id: String,
    /// Its type.
    pub event_type: String,
    /// Its user.
    pub user_id: String,
    /// Its instant, microseconds since 1970 (UTC).
    pub timestamp: i64,
    names: Arc<Vec<String>>,
    cells: Vec<String>,
}

impl Event {
    /// Its other cells by the names of their columns; empty ones are left out.
    pub fn attributes(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.names.iter().zip(&self.cells);
        all.filter(|(_, cell)| !cell.is_empty())
            .map(|(name, cell)| (name.as_str(), cell.as_str()))
    }

    fn place(&self) -> Place {
        Place {
            timestamp: Reverse(self.timestamp),
            batch: self.batch,
            row: self.row,
        }
    }

    /// Bytes that it takes in an answer, about.
    fn bytes(&self) -> usize {
        let fixed = self.event_id.len() + self.event_type.len() + self.user_id.len();
        let rest = self
            .attributes()
            .map(|(name, cell)| name.len() + cell.len());
        EVENT_BYTES + fixed + rest.sum::<usize>()
    }
}

/// The place of an event among all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    timestamp: Reverse<i64>,
    batch: BatchId,
    row: u32,
}

impl Place {
    /// After which position the events of a batch come after this place.
    fn within(self, batch: BatchId) -> EventPosition {
        let row = match batch.cmp(&self.batch) {
            std::cmp::Ordering::Less => u32::MAX,
            std::cmp::Ordering::Equal => self.row,
            std::cmp::Ordering::Greater => 0,
        };
        EventPosition::new(self.timestamp.0, row)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.timestamp.0, self.batch, self.row)
    }
}

impl FromStr for Place {
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

/// Events, the newest first; a page ends early when it is long.
///
/// # Errors
/// [`QueryError`] for a filter that makes no sense, a foreign cursor, too many batches, or a store that is away.
pub async fn events(
    store: &dyn Store,
    zone: Tz,
    query: &EventQuery,
    (limit, after): (usize, Option<&str>),
) -> Result<Page<Event>, QueryError> {
    let filter = query.filter(zone)?;
    let list = format!("events {:?} {filter:?}", query.batch);
    let after: Option<Place> = after.map(|text| Cursor::read(&list, text)).transpose()?;
    // One more than the page, which tells whether there is a next one.
    let mut look = Look {
        store,
        filter,
        after,
        merged: Merged::new(limit + 1),
        looked: 0,
    };
    match query.batch {
        Some(id) => look.at_batch(id).await?,
        None => look.at_all().await?,
    }
    let Merged { events, bound, .. } = look.merged;
    let cursor = |event: &Event| Cursor::new(&list, &event.place());
    let last = bound.map(|bound| Cursor::new(&list, &bound));
    let mut page = page(events, limit, cursor);
    page.next = page.next.or(last);
    Ok(page)
}

/// A page in the making.
struct Look<'a> {
    store: &'a dyn Store,
    filter: EventFilter,
    after: Option<Place>,
    merged: Merged,
    looked: usize,
}

impl Look<'_> {
    /// Batches by their last events: once the page is full and a batch ends before it, so do all that follow.
    async fn at_all(&mut self) -> Result<(), QueryError> {
        let until = self.after.map(|after| after.timestamp.0.saturating_add(1));
        let mut dated = EventTimeFilter {
            from: self.filter.from,
            until: until.unwrap_or(i64::MAX).min(self.filter.until),
            after: None,
        };
        loop {
            let page = self
                .store
                .batches_by_event_time(&dated, BATCHES_AT_ONCE)
                .await?;
            for (last, id) in &page {
                if self.merged.bound.is_some_and(|b| *last < b.timestamp.0) {
                    return Ok(());
                }
                self.looked += 1;
                if self.looked > MAX_BATCHES {
                    return Err(EventFault::TooManyBatches.into());
                }
                self.at_batch(*id).await?;
            }
            if page.len() < BATCHES_AT_ONCE {
                return Ok(());
            }
            dated.after = page.last().copied();
        }
    }

    async fn at_batch(&mut self, id: BatchId) -> Result<(), QueryError> {
        let after = self.after.map(|after| after.within(id));
        let mut filter = self.filter.clone();
        if let Some(bound) = self.merged.bound {
            filter.from = filter.from.max(bound.timestamp.0);
        }
        let found = self.store.find_events(id, &filter, after, self.merged.most);
        let found = match found.await {
            // It may have gone since it was found; what is there after all is at fault.
            Err(StoreError::Missing { .. }) if self.columns(id).await?.is_none() => return Ok(()),
            found => found?,
        };
        if found.events.is_empty() {
            return Ok(());
        }
        if let Some(columns) = self.columns(id).await? {
            self.merged.add(id, &columns, &found);
        }
        Ok(())
    }

    /// The columns of a batch; none if nobody may see its events.
    async fn columns(&self, id: BatchId) -> Result<Option<Columns>, QueryError> {
        let batch = visible(self.store, id).await?;
        let batch = batch.filter(|batch| !batch.status.is_void());
        Ok(batch.and_then(|batch| batch.receipt).map(|r| r.columns))
    }
}

/// The first events of all that were looked at.
struct Merged {
    events: Vec<Event>,
    most: usize,
    /// Set once more events come after the last: what comes after it is not wanted, since others may come between.
    bound: Option<Place>,
}

impl Merged {
    fn new(most: usize) -> Self {
        Self {
            events: Vec::new(),
            most,
            bound: None,
        }
    }

    fn add(&mut self, batch: BatchId, columns: &Columns, found: &EventPage) {
        let names = Arc::new(columns.stored_attributes());
        let all = (0..found.events.len()).map(|at| event(batch, &names, found, at));
        self.events.extend(all);
        let last = self.events.last().map(Event::place).filter(|_| found.more);
        self.bound = [self.bound, last].into_iter().flatten().min();
        self.events.sort_unstable_by_key(Event::place);
        self.shorten();
    }

    /// Keeps as many events, and as many bytes of them, as a page may have.
    fn shorten(&mut self) {
        if let Some(bound) = self.bound {
            self.events.retain(|event| event.place() <= bound);
        }
        let mut bytes = 0;
        let small = |event: &&Event| {
            bytes += event.bytes();
            bytes <= EVENT_PAGE_BYTES
        };
        let few = self.events.iter().take(self.most).take_while(small).count();
        let few = few.max(1);
        if few < self.events.len() || few == self.most {
            self.events.truncate(few);
            self.bound = self.events.last().map(Event::place);
        }
    }
}

fn event(batch: BatchId, names: &Arc<Vec<String>>, found: &EventPage, at: usize) -> Event {
    let events = &found.events;
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
