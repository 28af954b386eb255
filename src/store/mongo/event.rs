//! Events: a document each, with batch and row as `_id`, so that a repeated write changes nothing.
//! Sharded by a hash of the `_id`; read in row order by an index.

use async_trait::async_trait;
use mongodb::{
    Cursor,
    bson::{
        DateTime, RawDocumentBuf, doc,
        raw::{CString, cstr},
    },
};
use tokio::task::JoinSet;

use super::{
    MongoStore,
    db::{Db, Find},
    document::corrupt,
    event_fields::{EventFields, attribute_names},
};
use crate::{
    model::{BatchId, Columns, EventBlock, EventDigest},
    store::{
        BatchStore, EventFile, EventFilter, EventPage, EventPosition, EventScan, EventStore,
        EventWriter, Projection, Result, StoreError,
    },
};

/// Most rows of a block.
const SCAN_ROWS: usize = 8_192;
/// Approximate text bytes of a block.
const SCAN_BYTES: usize = 8 << 20;

#[async_trait]
impl EventStore for MongoStore {
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>> {
        Ok(Box::new(Writer {
            db: self.db.clone(),
            batch: id.to_string(),
            attributes: attribute_names(columns)?,
            writes: JoinSet::new(),
        }))
    }

    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>> {
        // The receipt has the number of events; only a batch that is being deleted may have fewer.
        let batch = BatchStore::batch(self, id).await?;
        let receipt = batch.as_ref().and_then(|b| b.receipt.as_ref());
        let receipt = receipt.ok_or_else(|| missing(id))?;
        let fields = EventFields::new(&receipt.columns, &projection)?;
        let expected = receipt.rows.inserted;
        let deleting = batch.as_ref().is_some_and(|b| b.status.is_void());
        let find = Find {
            filter: doc! { "batch": id.to_string() },
            sort: doc! { "row": 1 },
            fields: fields.projection(),
            ..Find::default()
        };
        Ok(Box::new(Scan {
            db: self.db.clone(),
            cursor: self.db.cursor("events", find).await?,
            fields,
            batch: id,
            remaining: expected,
            complete: !deleting,
            first: true,
        }))
    }

    async fn find_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<EventPage> {
        self.page_of_events(id, filter, after, limit).await
    }

    async fn event_file(&self, id: BatchId) -> Result<EventFile> {
        self.export_file(id).await
    }

    async fn drop_events(&self, id: BatchId) -> Result<()> {
        let of_batch = doc! { "batch": id.to_string() };
        while self
            .db
            .delete_some("events", of_batch.clone(), doc! {})
            .await?
        {}
        Ok(())
    }
}

/// Returns the `_id` of a row of a batch. Within a batch, ids sort like rows.
pub(super) fn row_id(batch: &str, row: u32) -> String {
    format!("{batch}:{row:010}")
}

struct Writer {
    db: Db,
    batch: String,
    attributes: Vec<CString>,
    /// Bulk writes in progress. They run on their own: a client that sends nothing for a while must not let the time of a
    /// command run out.
    writes: JoinSet<Result<()>>,
}

impl Writer {
    /// Waits until fewer than `limit` writes are in progress.
    async fn wait_below(&mut self, limit: usize) -> Result<()> {
        while self.writes.len() >= limit.max(1) {
            if let Some(done) = self.writes.join_next().await {
                done.unwrap_or_else(|why| Err(corrupt("writing events", &why)))?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl EventWriter for Writer {
    async fn append(&mut self, block: EventBlock) -> Result<()> {
        let all = documents(&self.batch, &self.attributes, &block);
        let (bulks, size) = (
            self.db.options.bulks_in_flight,
            self.db.options.bulk_documents,
        );
        let mut rest = all.into_iter().peekable();
        while rest.peek().is_some() {
            let bulk = rest.by_ref().take(size).collect();
            self.wait_below(bulks).await?;
            let db = self.db.clone();
            let insert = async move { db.insert("events", bulk).await.map(drop) };
            self.writes.spawn(insert);
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Option<EventDigest>> {
        self.wait_below(1).await?;
        // The server has checksums of its own.
        Ok(None)
    }
}

/// Converts a block to documents.
fn documents(batch: &str, attributes: &[CString], block: &EventBlock) -> Vec<RawDocumentBuf> {
    (0..block.len())
        .map(|at| {
            let (row, timestamp) = (block.rows[at], block.timestamp[at]);
            let mut event = RawDocumentBuf::new();
            event.append(cstr!("_id"), row_id(batch, row));
            event.append(cstr!("batch"), batch);
            event.append(cstr!("row"), i64::from(row));
            event.append(cstr!("line"), i64::from(block.lines[at]));
            let event_id = block.event_id.get(at);
            if !event_id.is_empty() {
                event.append(cstr!("event_id"), text(event_id).as_ref());
            }
            event.append(cstr!("event_type"), text(block.event_type.get(at)).as_ref());
            event.append(cstr!("user_id"), text(block.user_id.get(at)).as_ref());
            // A readable date has only milliseconds; `ts_us` has the microseconds.
            let date = DateTime::from_millis(timestamp.div_euclid(1_000));
            event.append(cstr!("timestamp"), date);
            event.append(cstr!("ts_us"), timestamp);
            let mut cells = RawDocumentBuf::new();
            for (name, column) in attributes.iter().zip(&block.attributes) {
                let value = column.get(at);
                // In a CSV an empty cell and a missing one are the same.
                if !value.is_empty() {
                    cells.append(name, text(value).as_ref());
                }
            }
            event.append(cstr!("attributes"), cells);
            event
        })
        .collect()
}

/// Converts a cell, which the parser has checked to be UTF-8.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// A scan of the events of one batch.
struct Scan {
    db: Db,
    cursor: Cursor<RawDocumentBuf>,
    fields: EventFields,
    batch: BatchId,
    /// Events of the receipt that have not been read.
    remaining: u64,
    /// Whether a missing event is an error.
    complete: bool,
    /// Whether no block has been read.
    first: bool,
}

#[async_trait]
impl EventScan for Scan {
    async fn next(&mut self) -> Result<Option<EventBlock>> {
        let Self {
            db, cursor, fields, ..
        } = self;
        let mut block = fields.empty_block();
        let mut damaged = Ok(());
        let fill = async {
            while block.len() < SCAN_ROWS
                && block.text_bytes() < SCAN_BYTES
                && cursor.advance().await?
            {
                damaged = fields.push(&mut block, cursor.current());
                if damaged.is_err() {
                    break;
                }
            }
            Ok(())
        };
        db.run("events", fill).await?;
        damaged?;
        self.remaining = self.remaining.saturating_sub(block.len() as u64);
        let first = std::mem::replace(&mut self.first, false);
        if !block.is_empty() {
            return Ok(Some(block));
        }
        match self.remaining {
            0 => Ok(None),
            _ if first => Err(missing(self.batch)),
            remaining if self.complete => Err(corrupt(
                &format!("batch {}", self.batch),
                &format!("{remaining} of its events are missing"),
            )),
            _ => Ok(None),
        }
    }
}

/// Returns the error of a batch without events.
pub(super) fn missing(id: BatchId) -> StoreError {
    StoreError::Missing {
        what: format!("what batch {id} holds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_like_rows() {
        assert!(row_id("b", 9) < row_id("b", 10));
        assert!(row_id("b", 4_294_967_295) > row_id("b", 4_294_967_294));
    }

    #[test]
    fn an_event_is_a_readable_document() {
        let mut block = EventBlock::new(2);
        block.rows.push(7);
        block.lines.push(8);
        block.event_id.push(b"");
        block.user_id.push(b"ann");
        block.event_type.push(b"login");
        block.timestamp.push(1_500);
        block.attributes[0].push(b"Oslo");
        block.attributes[1].push(b"");
        let names = ["city", "note"].map(|name| CString::try_from(name).expect("a name"));
        let event = documents("B", &names, &block).remove(0);
        let event = mongodb::bson::Document::try_from(event).expect("well formed");
        let expected = doc! {
            "_id": "B:0000000007", "batch": "B", "row": 7_i64, "line": 8_i64,
            "event_type": "login", "user_id": "ann",
            "timestamp": DateTime::from_millis(1), "ts_us": 1_500_i64, "attributes": { "city": "Oslo" },
        };
        assert_eq!(event, expected);
    }
}
