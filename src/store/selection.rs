//! Which events are asked for, which of their columns, and what is given.

use std::cmp::Reverse;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::Result;
use crate::model::{BatchId, EventBlock, TextColumn};

/// Which attributes a scan needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Attributes {
    /// Those at these places among the attributes of the file; none if empty.
    These(Vec<usize>),
    /// Every one.
    #[default]
    All,
}

impl Attributes {
    /// Whether the attribute at this place is asked for.
    #[must_use]
    pub fn has(&self, at: usize) -> bool {
        match self {
            Self::These(places) => places.contains(&at),
            Self::All => true,
        }
    }

    /// Whether there is nothing that is asked for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self, Self::These(places) if places.is_empty())
    }
}

/// Which columns a scan needs besides rows, types and instants. What is not asked for is empty in the blocks; an
/// attribute that is asked for stands at its place among the attributes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    /// Physical lines.
    pub line: bool,
    /// Event ids.
    pub event_id: bool,
    /// User ids.
    pub user_id: bool,
    /// Attributes.
    pub attributes: Attributes,
}

impl Projection {
    /// User ids alone.
    pub const USERS: Self = Self {
        line: false,
        event_id: false,
        user_id: true,
        attributes: Attributes::These(Vec::new()),
    };
    /// User ids and event ids.
    pub const IDS: Self = Self {
        line: false,
        event_id: true,
        user_id: true,
        attributes: Attributes::These(Vec::new()),
    };
    /// Everything there is.
    pub const WHOLE: Self = Self {
        line: true,
        event_id: true,
        user_id: true,
        attributes: Attributes::All,
    };
}

/// Which events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFilter {
    /// The first instant, microseconds since 1970 (UTC).
    pub from: i64,
    /// The first instant after the last.
    pub until: i64,
    /// Of one user.
    pub user_id: Option<String>,
    /// Of one type.
    pub event_type: Option<String>,
}

impl EventFilter {
    /// Whether the event at `at` matches; the block has user ids if they are asked for.
    #[must_use]
    pub fn takes(&self, events: &EventBlock, at: usize) -> bool {
        let is = |wanted: &Option<String>, found: &TextColumn| {
            let same = |wanted: &String| wanted.as_bytes() == found.get(at);
            wanted.as_ref().is_none_or(same)
        };
        (self.from..self.until).contains(&events.timestamp[at])
            && is(&self.event_type, &events.event_type)
            && is(&self.user_id, &events.user_id)
    }
}

/// The place of an event among those of its batch: the newest first, those of one instant in row order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The event's instant.
    pub timestamp: Reverse<i64>,
    /// Its row.
    pub row: u32,
}

impl Position {
    /// The place of an event at this instant in this row.
    #[must_use]
    pub fn new(timestamp: i64, row: u32) -> Self {
        Self {
            timestamp: Reverse(timestamp),
            row,
        }
    }
}

/// Bytes of text after which a store gives fewer events than were asked for.
pub const FOUND_BYTES: usize = 8 << 20;

/// Rows of a page read whole at once.
pub(super) const WHOLE_ROWS: usize = 100;
/// Bytes of them, about: each may be as long as a record.
pub(super) const WHOLE_BYTES: usize = 4 << 20;

/// Events that match, in the order of their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The events, with all their columns.
    pub events: EventBlock,
    /// Whether more come after the last.
    pub more: bool,
}

/// Batches that have events in a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatedFilter {
    /// The first instant, microseconds since 1970 (UTC).
    pub from: i64,
    /// The first instant after the last.
    pub until: i64,
    /// After this one: the last of the page before.
    pub after: Option<(i64, BatchId)>,
}

/// The events of one batch as a Parquet file.
pub struct EventFile {
    /// Its length, if it is known beforehand.
    pub bytes: Option<u64>,
    /// What is in it, piece by piece.
    pub pieces: BoxStream<'static, Result<Bytes>>,
}
