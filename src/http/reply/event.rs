//! Events: stored ones, and the sample of a dry run.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{PageReply, instant};
use crate::{
    model::{BatchId, EventBlock, Instant},
    query::{Event, EventList},
};

/// A page of stored events.
#[derive(Debug, Serialize)]
pub(in crate::http) struct EventListReply<'a> {
    #[serde(flatten)]
    page: PageReply<EventReply<'a>>,
    /// Batches whose events may belong on the page, but are damaged or missing. Left out if there is none.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    unreadable_batches: &'a [BatchId],
}

impl<'a> From<&'a EventList> for EventListReply<'a> {
    fn from(list: &'a EventList) -> Self {
        let EventList { page, unreadable } = list;
        Self {
            page: PageReply::new(page, EventReply::from),
            unreadable_batches: unreadable,
        }
    }
}

/// A stored event.
#[derive(Debug, Serialize)]
pub(super) struct EventReply<'a> {
    batch_id: BatchId,
    row: u32,
    line: u32,
    event_id: Option<&'a str>,
    event_type: &'a str,
    user_id: &'a str,
    timestamp: Option<Instant>,
    attributes: Map<String, Value>,
}

impl<'a> From<&'a Event> for EventReply<'a> {
    fn from(event: &'a Event) -> Self {
        let attributes = event.attributes();
        Self {
            batch_id: event.batch,
            row: event.row,
            line: event.line,
            event_id: Some(event.event_id.as_str()).filter(|id| !id.is_empty()),
            event_type: &event.event_type,
            user_id: &event.user_id,
            timestamp: instant(event.timestamp),
            attributes: attributes
                .map(|(name, cell)| (name.to_owned(), cell.into()))
                .collect(),
        }
    }
}

/// An event of a dry run, as it would be stored.
#[derive(Debug, Serialize)]
pub(super) struct SampleReply {
    row: u32,
    line: u32,
    event_id: Option<String>,
    event_type: String,
    user_id: String,
    timestamp: Option<Instant>,
    attributes: Map<String, Value>,
}

impl SampleReply {
    /// Builds the reply from one row of a block; `names` are those of the attributes.
    pub(super) fn new(block: &EventBlock, at: usize, names: &[String]) -> Self {
        let EventBlock {
            rows,
            lines,
            event_id,
            user_id,
            event_type,
            timestamp,
            attributes,
        } = block;
        let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
        let cells = attributes.iter().map(|column| column.get(at));
        Self {
            row: rows[at],
            line: lines[at],
            event_id: Some(text(event_id.get(at))).filter(|id| !id.is_empty()),
            event_type: text(event_type.get(at)),
            user_id: text(user_id.get(at)),
            timestamp: instant(timestamp[at]),
            attributes: names
                .iter()
                .zip(cells)
                .filter(|(_, cell)| !cell.is_empty())
                .map(|(name, cell)| (name.clone(), text(cell).into()))
                .collect(),
        }
    }
}
