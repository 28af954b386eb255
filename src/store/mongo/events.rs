//! Events: a document each, named by batch and row, so that writing one again changes nothing.
//! Spread over shards by a hash of that name; read back in row order along an index.

use async_trait::async_trait;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use mongodb::{
    Cursor,
    bson::{
        DateTime, RawDocumentBuf, doc,
        raw::{CString, cstr},
    },
};

use super::{
    MongoStore,
    db::{Db, Find},
    document::corrupt,
    fields::{Names, attribute_names},
};
use crate::{
    model::{BatchId, Columns, EventBlock, Rejection},
    store::{
        BatchStore, EventFile, EventFilter, EventScan, EventStore, EventWriter, Found, Position,
        Projection, Result, StoreError,
    },
};

/// Rows that a scan hands over at once.
const SCAN_ROWS: usize = 8_192;
/// Text of a block, for events of long texts.
const SCAN_BYTES: usize = 8 << 20;

#[async_trait]
impl EventStore for MongoStore {
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>> {
        Ok(Box::new(Writer {
            db: self.db.clone(),
            batch: id.to_string(),
            attributes: attribute_names(columns)?,
            under_way: FuturesUnordered::new(),
        }))
    }

    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>> {
        // The receipt says how many there have to be; of a batch that is being taken back some may be gone.
        let batch = BatchStore::batch(self, id).await?;
        let receipt = batch.as_ref().and_then(|b| b.receipt.as_ref());
        let receipt = receipt.ok_or_else(|| missing(id))?;
        let names = Names::new(&receipt.columns, &projection)?;
        let expected = receipt.rows.inserted;
        let going = batch.as_ref().is_some_and(|b| b.status.is_void());
        let find = Find {
            filter: doc! { "batch": id.to_string() },
            sort: doc! { "row": 1 },
            fields: names.fields(),
            ..Find::default()
        };
        Ok(Box::new(Scan {
            db: self.db.clone(),
            cursor: self.db.cursor("events", find).await?,
            names,
            batch: id,
            left: expected,
            all: !going,
            first: true,
        }))
    }

    async fn find_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Found> {
        self.newest(id, filter, after, limit).await
    }

    async fn event_file(&self, id: BatchId) -> Result<EventFile> {
        self.export(id).await
    }

    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
        self.put_rejections(id, rejections).await
    }

    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>> {
        self.list_rejections(id, after, limit).await
    }

    async fn drop_rejections(&self, id: BatchId) -> Result<bool> {
        self.remove_rejections(id).await
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

/// The name of one row of a batch; texts of rows sort as their numbers.
pub(super) fn row_name(batch: &str, row: u32) -> String {
    format!("{batch}:{row:010}")
}

struct Writer {
    db: Db,
    batch: String,
    attributes: Vec<CString>,
    under_way: FuturesUnordered<BoxFuture<'static, Result<()>>>,
}

impl Writer {
    /// Waits until fewer than `most` writes are under way.
    async fn fewer_than(&mut self, most: usize) -> Result<()> {
        while self.under_way.len() >= most.max(1) {
            if let Some(done) = self.under_way.next().await {
                done?;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl EventWriter for Writer {
    async fn append(&mut self, block: EventBlock) -> Result<()> {
        let all = documents(&self.batch, &self.attributes, &block);
        let (most, chunk) = (self.db.tuning.in_flight, self.db.tuning.documents);
        let mut rest = all.into_iter().peekable();
        while rest.peek().is_some() {
            let bulk = rest.by_ref().take(chunk).collect();
            self.fewer_than(most).await?;
            let db = self.db.clone();
            let insert = async move { db.insert("events", bulk).await.map(drop) };
            self.under_way.push(Box::pin(insert));
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        self.fewer_than(1).await
    }
}

fn documents(batch: &str, attributes: &[CString], block: &EventBlock) -> Vec<RawDocumentBuf> {
    (0..block.len())
        .map(|at| {
            let (row, timestamp) = (block.rows[at], block.timestamp[at]);
            let mut event = RawDocumentBuf::new();
            event.append(cstr!("_id"), row_name(batch, row));
            event.append(cstr!("batch"), batch);
            event.append(cstr!("row"), i64::from(row));
            event.append(cstr!("line"), i64::from(block.lines[at]));
            let event_id = block.event_id.get(at);
            if !event_id.is_empty() {
                event.append(cstr!("event_id"), text(event_id).as_ref());
            }
            event.append(cstr!("event_type"), text(block.event_type.get(at)).as_ref());
            event.append(cstr!("user_id"), text(block.user_id.get(at)).as_ref());
            // For people and for queries by time; `ts_us` has the microseconds that a date has no room for.
            let date = DateTime::from_millis(timestamp.div_euclid(1_000));
            event.append(cstr!("timestamp"), date);
            event.append(cstr!("ts_us"), timestamp);
            let mut kept = RawDocumentBuf::new();
            for (name, column) in attributes.iter().zip(&block.attributes) {
                let value = column.get(at);
                // An empty cell and none are the same in a CSV.
                if !value.is_empty() {
                    kept.append(name, text(value).as_ref());
                }
            }
            event.append(cstr!("attributes"), kept);
            event
        })
        .collect()
}

/// Cells were checked to be UTF-8 when they were read.
fn text(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The events of one batch, in row order.
struct Scan {
    db: Db,
    cursor: Cursor<RawDocumentBuf>,
    names: Names,
    batch: BatchId,
    /// Events still to come.
    left: u64,
    /// Whether they all have to come.
    all: bool,
    /// Whether none has come yet.
    first: bool,
}

#[async_trait]
impl EventScan for Scan {
    async fn next(&mut self) -> Result<Option<EventBlock>> {
        let Self {
            db, cursor, names, ..
        } = self;
        let mut block = names.block();
        let mut damaged = Ok(());
        let fill = async {
            while block.len() < SCAN_ROWS
                && block.text_bytes() < SCAN_BYTES
                && cursor.advance().await?
            {
                damaged = names.push(&mut block, cursor.current());
                if damaged.is_err() {
                    break;
                }
            }
            Ok(())
        };
        db.ask("events", fill).await?;
        damaged?;
        self.left = self.left.saturating_sub(block.len() as u64);
        let first = std::mem::replace(&mut self.first, false);
        if !block.is_empty() {
            return Ok(Some(block));
        }
        match self.left {
            0 => Ok(None),
            _ if first => Err(missing(self.batch)),
            left if self.all => Err(corrupt(
                &format!("batch {}", self.batch),
                &format!("{left} of its events are missing"),
            )),
            _ => Ok(None),
        }
    }
}

pub(super) fn missing(id: BatchId) -> StoreError {
    StoreError::Missing {
        what: format!("what batch {id} holds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_sort_by_their_names() {
        assert!(row_name("b", 9) < row_name("b", 10));
        assert!(row_name("b", 4_294_967_295) > row_name("b", 4_294_967_294));
    }

    #[test]
    fn an_event_is_a_document_that_a_person_can_read() {
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
