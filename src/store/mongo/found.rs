//! Events by instant and filter, and those of a batch as a file: what people ask of events, never a job.

use std::collections::BTreeMap;

use futures_util::stream;
use mongodb::bson::{Document, doc};

use super::{
    MongoStore,
    db::Find,
    document::number,
    events::{missing, row_name},
    fields::Names,
};
use crate::{
    model::{BatchId, Columns, EventBlock},
    store::{
        BatchStore, EventFile, EventFilter, EventScan, EventStore, FOUND_BYTES, Found, Position,
        Projection, Result, WHOLE_BYTES, WHOLE_ROWS, aside, corrupt, parquet_file::BlockWriter,
    },
};

impl MongoStore {
    /// The first matching events of a batch after a position: their places first, which are small, then these rows.
    pub(super) async fn newest(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Found> {
        let names = Names::new(&self.columns(id).await?, &Projection::WHOLE)?;
        let mut rows = self.rows(matching(id, filter, after), limit + 1).await?;
        let more = rows.len() > limit;
        rows.truncate(limit);
        let mut events = names.block();
        let (mut given, mut at_once) = (0, WHOLE_ROWS);
        while given < rows.len() && events.text_bytes() < FOUND_BYTES {
            let left = &rows[given..];
            let part = &left[..at_once.min(left.len())];
            let Some(whole) = self.whole(id, part, &names).await? else {
                at_once = part.len().div_ceil(4);
                continue;
            };
            let places: BTreeMap<u32, usize> = whole.rows.iter().copied().zip(0..).collect();
            for row in part {
                if events.text_bytes() >= FOUND_BYTES {
                    break;
                }
                // One that is missing goes with its batch at this moment.
                if let Some(at) = places.get(row) {
                    events.push_from(&whole, *at);
                }
                given += 1;
            }
        }
        Ok(Found {
            events,
            more: more || given < rows.len(),
        })
    }

    async fn columns(&self, id: BatchId) -> Result<Columns> {
        let receipt = self.batch(id).await?.and_then(|batch| batch.receipt);
        Ok(receipt.ok_or_else(|| missing(id))?.columns)
    }

    async fn rows(&self, filter: Document, limit: usize) -> Result<Vec<u32>> {
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

    /// These rows, in any order; none if that is too much to hold, and they are several.
    async fn whole(&self, id: BatchId, rows: &[u32], names: &Names) -> Result<Option<EventBlock>> {
        let batch = id.to_string();
        let these: Vec<_> = rows.iter().map(|row| row_name(&batch, *row)).collect();
        let find = Find {
            filter: doc! { "_id": { "$in": these } },
            fields: names.fields(),
            ..Find::default()
        };
        let mut cursor = self.db.cursor("events", find).await?;
        let mut block = names.block();
        let mut damaged = Ok(());
        let fits = |block: &EventBlock| rows.len() == 1 || block.text_bytes() < WHOLE_BYTES;
        let all = async {
            while damaged.is_ok() && fits(&block) && cursor.advance().await? {
                damaged = names.push(&mut block, cursor.current());
            }
            Ok(())
        };
        self.db.ask("events", all).await?;
        damaged.map(|()| Some(block).filter(fits))
    }

    /// The file that the other store keeps, made while it is read: at most a row group of it is held.
    pub(super) async fn export(&self, id: BatchId) -> Result<EventFile> {
        let columns = self.columns(id).await?;
        let export = Export {
            scan: self.scan_events(id, Projection::WHOLE).await?,
            file: Some(BlockWriter::new(Vec::new(), &columns)?),
        };
        let pieces = stream::try_unfold(export, |mut export| async {
            let piece = export.piece().await?;
            Ok(piece.map(|piece| (piece.into(), export)))
        });
        Ok(EventFile {
            bytes: None,
            pieces: Box::pin(pieces),
        })
    }
}

fn matching(id: BatchId, wanted: &EventFilter, after: Option<Position>) -> Document {
    let EventFilter {
        from,
        until,
        user_id,
        event_type,
    } = wanted;
    let mut until = *until;
    let mut these = doc! { "batch": id.to_string() };
    if let Some(user) = user_id {
        these.insert("user_id", user);
    }
    if let Some(event_type) = event_type {
        these.insert("event_type", event_type);
    }
    if let Some(Position { timestamp, row }) = after {
        let at = timestamp.0;
        until = until.min(at.saturating_add(1));
        let (earlier, later_row) = (
            doc! { "ts_us": { "$lt": at } },
            doc! { "row": { "$gt": i64::from(row) } },
        );
        these.insert("$or", vec![earlier, later_row]);
    }
    these.insert("ts_us", doc! { "$gte": from, "$lt": until });
    these
}

/// A file under way.
struct Export {
    scan: Box<dyn EventScan>,
    /// None once it is whole.
    file: Option<BlockWriter<Vec<u8>>>,
}

impl Export {
    /// The next bytes that are ready; none at the end.
    async fn piece(&mut self) -> Result<Option<Vec<u8>>> {
        while let Some(mut file) = self.file.take() {
            let Some(block) = self.scan.next().await? else {
                return aside(move || file.finish()).await.map(Some);
            };
            let (file, ready) = aside(move || {
                file.write(block)?;
                let ready = std::mem::take(file.out());
                Ok((file, ready))
            })
            .await?;
            self.file = Some(file);
            if !ready.is_empty() {
                return Ok(Some(ready));
            }
        }
        Ok(None)
    }
}
