//! Events of a batch: written once in row order, then read in row order, in pages by time, or as a Parquet file.

use std::{cmp::Reverse, ops::Range};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::Result;
use crate::model::{BatchId, Columns, EventBlock, EventDigest, TextColumn};

/// Text bytes after which a page of events ends, even if it has fewer events than requested.
pub const EVENT_PAGE_BYTES: usize = 8 << 20;

/// Most rows read with all columns in one step.
pub(super) const READ_ROWS: usize = 100;
/// Approximate text bytes read with all columns in one step: a row may be as long as a record.
pub(super) const READ_BYTES: usize = 4 << 20;

/// Selects attributes of a batch by their index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Attributes {
    /// The attributes with these indices; none if empty.
    Only(Vec<usize>),
    /// Every attribute.
    #[default]
    All,
}

impl Attributes {
    /// Whether the attribute with this index is selected.
    #[must_use]
    pub fn contains(&self, index: usize) -> bool {
        match self {
            Self::Only(indices) => indices.contains(&index),
            Self::All => true,
        }
    }

    /// Whether no attribute is selected.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(indices) if indices.is_empty())
    }
}

/// The columns that a scan reads besides row, type and timestamp. Other columns of its blocks are empty; a selected
/// attribute has the index that it has in the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Whether to read the physical lines.
    pub line: bool,
    /// Whether to read the event ids.
    pub event_id: bool,
    /// Whether to read the user ids.
    pub user_id: bool,
    /// The attributes to read.
    pub attributes: Attributes,
}

impl Projection {
    /// User ids.
    pub const USERS: Self = Self {
        line: false,
        event_id: false,
        user_id: true,
        attributes: Attributes::Only(Vec::new()),
    };
    /// User ids and event ids.
    pub const IDS: Self = Self {
        line: false,
        event_id: true,
        user_id: true,
        attributes: Attributes::Only(Vec::new()),
    };
    /// Every column.
    pub const ALL: Self = Self {
        line: true,
        event_id: true,
        user_id: true,
        attributes: Attributes::All,
    };
}

/// Selects events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// The first instant, inclusive, in microseconds since 1970 (UTC).
    pub from: i64,
    /// The last instant, exclusive, in microseconds since 1970 (UTC).
    pub until: i64,
    /// Ranges of instants within these bounds that are not selected: where clocks are set back across midnight, the
    /// instants of a day are not contiguous.
    pub gaps: Vec<Range<i64>>,
    /// Selects only events of this user.
    pub user_id: Option<String>,
    /// Selects only events of this type.
    pub event_type: Option<String>,
}

impl EventFilter {
    /// Whether the event at `index` matches. The block must have user ids if the filter names a user.
    #[must_use]
    pub fn matches(&self, events: &EventBlock, index: usize) -> bool {
        let equals = |expected: &Option<String>, column: &TextColumn| {
            let same = |expected: &String| expected.as_bytes() == column.get(index);
            expected.as_ref().is_none_or(same)
        };
        let at = events.timestamp[index];
        (self.from..self.until).contains(&at)
            && !self.gaps.iter().any(|gap| gap.contains(&at))
            && equals(&self.event_type, &events.event_type)
            && equals(&self.user_id, &events.user_id)
    }
}

/// The sort key of an event within its batch: newest first, then by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventPosition {
    /// The event's instant, in microseconds since 1970 (UTC).
    pub timestamp: Reverse<i64>,
    /// The event's row.
    pub row: u32,
}

impl EventPosition {
    /// Returns the position of the event in `row` at an instant.
    #[must_use]
    pub fn new(timestamp: i64, row: u32) -> Self {
        Self {
            timestamp: Reverse(timestamp),
            row,
        }
    }
}

/// Matching events of one batch, in the order of their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventPage {
    /// The events, with all columns.
    pub events: EventBlock,
    /// Whether more events match after the last one.
    pub more: bool,
}

/// The events of one batch as a Parquet file.
pub struct EventFile {
    /// The length in bytes, if known in advance.
    pub length: Option<u64>,
    /// The content.
    pub chunks: BoxStream<'static, Result<Bytes>>,
}

/// Writes the events of one batch, in row order.
#[async_trait]
pub trait EventWriter: Send {
    /// Appends a block.
    async fn append(&mut self, block: EventBlock) -> Result<()>;
    /// Makes all blocks durable. Before, none of them can be read. Returns the digest for the receipt, by which later
    /// reads notice damage.
    async fn finish(self: Box<Self>) -> Result<Option<EventDigest>>;
}

/// Reads the events of one batch, in row order.
#[async_trait]
pub trait EventScan: Send {
    /// Returns the next block, or none at the end.
    async fn next(&mut self) -> Result<Option<EventBlock>>;
}

/// Stores events.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Opens the events of a receiving batch for writing.
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>>;
    /// Opens the events of a sealed batch for reading. The scan ends with an error if the stored events differ from the
    /// digest in the receipt: whoever reads it must publish nothing before its end.
    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>>;
    /// Returns the first matching events of a batch after a position: at most `limit`, and fewer if their text exceeds
    /// [`EVENT_PAGE_BYTES`].
    async fn find_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<EventPage>;
    /// Returns the events of a sealed batch as a file, with the same check as [`EventStore::scan_events`]. If the batch is
    /// deleted, or its events are damaged, the stream is either complete or ends with an error.
    async fn event_file(&self, id: BatchId) -> Result<EventFile>;
    /// Deletes the events of a batch.
    async fn drop_events(&self, id: BatchId) -> Result<()>;
}
