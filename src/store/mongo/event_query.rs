//! Queries for users, not for jobs: pages of events by time and filter, and the events of a batch as a file.

use std::{collections::BTreeMap, ops::Range};

use futures_util::stream;
use mongodb::bson::{Document, doc};

use super::{
    MongoStore,
    db::Find,
    document::number,
    event::{missing, row_id},
    event_fields::EventFields,
};
use crate::{
    model::{BatchId, Columns, EventBlock},
    store::{
        BatchStore, EVENT_PAGE_BYTES, EventFile, EventFilter, EventPage, EventPosition, EventScan,
        EventStore, Projection, READ_BYTES, READ_ROWS, Result, corrupt, parquet_file::BlockWriter,
        run_blocking,
    },
};

impl MongoStore {
    /// Returns the first matching events of a batch after a position. One query finds their rows, further ones read all
    /// columns of these rows.
    pub(super) async fn page_of_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<EventPosition>,
        limit: usize,
    ) -> Result<EventPage> {
        let fields = EventFields::new(&self.columns(id).await?, &Projection::ALL)?;
        let mut rows = self
            .matching_rows(matching(id, filter, after), limit + 1)
            .await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let mut events = fields.empty_block();
        let (mut done, mut step) = (0, READ_ROWS);
        while done < rows.len() && events.text_bytes() < EVENT_PAGE_BYTES {
            let remaining = &rows[done..];
            let next = &remaining[..step.min(remaining.len())];
            let Some(block) = self.read_rows(id, next, &fields).await? else {
                step = next.len().div_ceil(4);
                continue;
            };
            let index: BTreeMap<u32, usize> = block.rows.iter().copied().zip(0..).collect();
            for row in next {
                if events.text_bytes() >= EVENT_PAGE_BYTES {
                    break;
                }
                // A row may be missing if its batch is being deleted.
                if let Some(at) = index.get(row) {
                    events.push_from(&block, *at);
                }
                done += 1;
            }
        }
        Ok(EventPage {
            events,
            more: more || done < rows.len(),
        })
    }

    /// Returns the columns of a sealed batch.
    async fn columns(&self, id: BatchId) -> Result<Columns> {
        let receipt = self.batch(id).await?.and_then(|batch| batch.receipt);
        Ok(receipt.ok_or_else(|| missing(id))?.columns)
    }

    /// Returns the rows that match, newest event first.
    async fn matching_rows(&self, filter: Document, limit: usize) -> Result<Vec<u32>> {
        let find = Find {
            filter,
            sort: doc! { "ts_us": -1, "row": 1 },
            limit,
            fields: doc! { "_id": 0, "row": 1, "ts_us": 1 },
        };
        let found = self.db.find("events", find).await?;
        let row = |found: &Document| {
            u32::try_from(number(found, "row")?).map_err(|why| corrupt("an event", &why))
        };
        found.iter().map(row).collect()
    }

    /// Returns rows with all columns, in any order; none if they are several and their text exceeds [`READ_BYTES`].
    async fn read_rows(
        &self,
        id: BatchId,
        rows: &[u32],
        fields: &EventFields,
    ) -> Result<Option<EventBlock>> {
        let batch = id.to_string();
        let ids: Vec<_> = rows.iter().map(|row| row_id(&batch, *row)).collect();
        let find = Find {
            filter: doc! { "_id": { "$in": ids } },
            fields: fields.projection(),
            ..Find::default()
        };
        let mut cursor = self.db.cursor("events", find).await?;
        let mut block = fields.empty_block();
        let mut damaged = Ok(());
        let fits = |block: &EventBlock| rows.len() == 1 || block.text_bytes() < READ_BYTES;
        let all = async {
            while damaged.is_ok() && fits(&block) && cursor.advance().await? {
                damaged = fields.push(&mut block, cursor.current());
            }
            Ok(())
        };
        self.db.run("events", all).await?;
        damaged.map(|()| Some(block).filter(fits))
    }

    /// Returns the Parquet file that the embedded store would have, encoded while it is read. Buffers one row group.
    pub(super) async fn export_file(&self, id: BatchId) -> Result<EventFile> {
        let columns = self.columns(id).await?;
        let export = Export {
            scan: self.scan_events(id, Projection::ALL).await?,
            writer: Some(BlockWriter::new(Vec::new(), &columns)?),
        };
        let chunks = stream::try_unfold(export, |mut export| async {
            let chunk = export.next_chunk().await?;
            Ok(chunk.map(|chunk| (chunk.into(), export)))
        });
        Ok(EventFile {
            length: None,
            chunks: Box::pin(chunks),
        })
    }
}

/// Returns the filter for matching events of a batch after a position.
fn matching(id: BatchId, filter: &EventFilter, after: Option<EventPosition>) -> Document {
    let EventFilter {
        from,
        until,
        gaps,
        user_id,
        event_type,
    } = filter;
    let mut until = *until;
    let mut query = doc! { "batch": id.to_string() };
    if let Some(user) = user_id {
        query.insert("user_id", user);
    }
    if let Some(event_type) = event_type {
        query.insert("event_type", event_type);
    }
    if let Some(EventPosition { timestamp, row }) = after {
        let at = timestamp.0;
        until = until.min(at.saturating_add(1));
        let (older, later_row) = (
            doc! { "ts_us": { "$lt": at } },
            doc! { "row": { "$gt": i64::from(row) } },
        );
        query.insert("$or", vec![older, later_row]);
    }
    query.insert("ts_us", doc! { "$gte": from, "$lt": until });
    if !gaps.is_empty() {
        let within = |gap: &Range<i64>| doc! { "ts_us": { "$gte": gap.start, "$lt": gap.end } };
        query.insert("$nor", gaps.iter().map(within).collect::<Vec<_>>());
    }
    query
}

/// A file that is being encoded.
struct Export {
    scan: Box<dyn EventScan>,
    /// None once the footer is written.
    writer: Option<BlockWriter<Vec<u8>>>,
}

impl Export {
    /// Returns the next encoded bytes, or none at the end.
    async fn next_chunk(&mut self) -> Result<Option<Vec<u8>>> {
        while let Some(mut writer) = self.writer.take() {
            let Some(block) = self.scan.next().await? else {
                return run_blocking(move || writer.finish()).await.map(Some);
            };
            let (writer, encoded) = run_blocking(move || {
                writer.write(block)?;
                let encoded = std::mem::take(writer.out());
                Ok((writer, encoded))
            })
            .await?;
            self.writer = Some(writer);
            if !encoded.is_empty() {
                return Ok(Some(encoded));
            }
        }
        Ok(None)
    }
}
