//! Events: a document each, named by batch and row, so that writing one again changes nothing.
//! Spread over shards by a hash of that name; read back in row order along an index.

use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use mongodb::{
    Cursor,
    bson::{
        DateTime, RawDocument, RawDocumentBuf, doc,
        raw::{CString, cstr},
    },
};

use super::{
    MongoStore,
    db::{Db, Find},
    document::corrupt,
};
use crate::{
    model::{BatchId, Columns, EventBlock, Rejection},
    store::{BatchStore, EventScan, EventStore, EventWriter, Projection, Result, StoreError},
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
        let expected = batch
            .as_ref()
            .and_then(|b| b.receipt.as_ref())
            .ok_or_else(|| missing(id))?
            .rows
            .inserted;
        let going = batch.is_some_and(|b| b.status.is_void());
        let mut fields = doc! { "_id": 0, "row": 1, "event_type": 1, "ts_us": 1 };
        for (name, wanted) in [
            ("event_id", projection.event_id),
            ("user_id", projection.user_id),
        ] {
            if wanted {
                fields.insert(name, 1);
            }
        }
        let find = Find {
            filter: doc! { "batch": id.to_string() },
            sort: doc! { "row": 1 },
            fields,
            ..Find::default()
        };
        Ok(Box::new(Scan {
            db: self.db.clone(),
            cursor: self.db.cursor("events", find).await?,
            projection,
            batch: id,
            left: expected,
            all: !going,
            first: true,
        }))
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

/// The names of attributes as fields: a dot or a leading dollar sign means something else to MongoDB and
/// is stored as its full-width twin; what comes out alike gets `_2`, `_3`, ….
fn attribute_names(columns: &Columns) -> Result<Vec<CString>> {
    let mut taken = HashSet::new();
    let name_of = |label: String| {
        let label = label.replace('.', "．");
        let label = match label.strip_prefix('$') {
            Some(rest) => format!("＄{rest}"),
            None => label,
        };
        let numbered = (2..).map(|n: u32| format!("{label}_{n}"));
        let free = std::iter::once(label.clone())
            .chain(numbered)
            .find(|name| taken.insert(name.clone()));
        CString::try_from(free.expect("some number is free"))
            .map_err(|why| corrupt("the name of a column", &why))
    };
    columns
        .stored_attributes()
        .into_iter()
        .map(name_of)
        .collect()
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

struct Scan {
    db: Db,
    cursor: Cursor<RawDocumentBuf>,
    projection: Projection,
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
            db,
            cursor,
            projection,
            ..
        } = self;
        let mut block = EventBlock::default();
        let mut damaged = Ok(());
        let fill = async {
            while block.len() < SCAN_ROWS
                && block.text_bytes() < SCAN_BYTES
                && cursor.advance().await?
            {
                damaged = push(&mut block, cursor.current(), *projection);
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

fn missing(id: BatchId) -> StoreError {
    StoreError::Missing {
        what: format!("what batch {id} holds"),
    }
}

fn push(block: &mut EventBlock, event: &RawDocument, projection: Projection) -> Result<()> {
    let damaged = |why: mongodb::bson::error::Error| corrupt("an event", &why);
    let row = event.get_i64("row").map_err(damaged)?;
    let row = u32::try_from(row).map_err(|why| corrupt("an event", &why))?;
    let timestamp = event.get_i64("ts_us").map_err(damaged)?;
    let event_type = event.get_str("event_type").map_err(damaged)?;
    if projection.user_id {
        let user = event.get_str("user_id").map_err(damaged)?;
        block.user_id.push(user.as_bytes());
    }
    if projection.event_id {
        // An event without an id has no such field.
        let id = event.get_str("event_id").unwrap_or_default();
        block.event_id.push(id.as_bytes());
    }
    block.rows.push(row);
    block.timestamp.push(timestamp);
    block.event_type.push(event_type.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ColumnRole;

    #[test]
    fn names_that_mean_something_to_mongodb_are_kept_apart_from_it() {
        let labels = ["a.b", "a．b", "$x", "", "plain"]
            .map(str::to_owned)
            .to_vec();
        let columns = Columns {
            roles: vec![ColumnRole::Attribute; labels.len()],
            labels,
            hint: None,
        };
        let names = attribute_names(&columns).expect("names");
        let names: Vec<_> = names.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, ["a．b", "a．b_2", "＄x", "", "plain"]);
    }

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
