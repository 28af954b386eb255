//! Batches: a document each. What a seal needs of two documents is done in an order that a crash may cut anywhere.

use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{Bson, DateTime, Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    change::{kept, unkept},
    db::Find,
    document::{binary, corrupt, date, number, parsed, text},
};
use crate::{
    model::{Batch, BatchChange, BatchId, BatchStatus, Instant, Receipt},
    store::{BatchFilter, BatchStore, Changed, DatedFilter, Result, Sealed, StoreError},
};

/// Tombstones are purged this often: at once, and once more for what a late writer left.
const PURGES: u32 = 2;
/// Batches that are dated at once.
const DATED_AT_ONCE: usize = 500;
/// Looks at an identical upload that is being sealed at this moment, and the wait between two.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(100);

/// What batches are searched by, beside their own fields.
pub(super) fn searched(batch: &Batch) -> Document {
    let listed = batch.status == BatchStatus::Receiving || batch.receipt.is_some();
    let mut fields = doc! { "listed": listed };
    let published = batch.published.iter().flat_map(|run| &run.days);
    let published: Vec<_> = published.map(ToString::to_string).collect();
    if !published.is_empty() {
        fields.insert("published_days", published);
    }
    if batch.published.is_some() {
        let never = DateTime::from_millis(0);
        fields.insert("check_after", batch.checked_at.map_or(never, date));
    }
    if let Some((first, last)) = batch.event_time() {
        fields.insert("first_event", first);
        fields.insert("last_event", last);
    }
    if let Some(deleted_at) = batch.deleted_at
        && batch.purges < PURGES
    {
        fields.insert("purge_after", date(deleted_at));
    }
    fields
}

/// Whether nobody ever saw it, and nothing of it is left.
pub(super) fn forgotten(batch: &Batch) -> bool {
    batch.receipt.is_none() && batch.purges >= PURGES
}

#[async_trait]
impl BatchStore for MongoStore {
    async fn create_batch(&self, batch: &Batch) -> Result<()> {
        let raw = serialize_to_raw_document_buf(&kept(batch, 0)?);
        let raw = raw.map_err(|why| corrupt("a batch", &why))?;
        self.db.insert("batches", vec![raw]).await.map(drop)
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>> {
        self.db.read(&id.to_string()).await
    }

    async fn change_batch(&self, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>> {
        let after = |batch: &Batch| batch.after(change);
        self.db.change(&id.to_string(), after).await
    }

    async fn seal(&self, id: BatchId, receipt: Receipt, content: [u8; 32]) -> Result<Sealed> {
        // The content first: who holds it is the only one that may be sealed with it.
        if let Some(first) = self.hold_content(id, content).await? {
            return Ok(Sealed::DuplicateOf(first));
        }
        let seal = BatchChange::Seal(Box::new(receipt));
        match self.change_batch(id, &seal).await? {
            Changed::Done(batch) => Ok(Sealed::Batch(Box::new(batch))),
            Changed::Missing => Ok(Sealed::Gone),
            // Unless the answer to an earlier seal was lost on the way.
            Changed::Refused(_) => Ok(match self.batch(id).await? {
                Some(batch) if !batch.status.is_void() => Sealed::Batch(Box::new(batch)),
                Some(_) | None => Sealed::Gone,
            }),
        }
    }

    async fn list_batches(&self, filter: &BatchFilter, limit: usize) -> Result<Vec<Batch>> {
        let visible = |status: &BatchStatus| *status != BatchStatus::Receiving;
        let all: Vec<_> = BatchStatus::ALL.into_iter().filter(visible).collect();
        let statuses = if filter.statuses.is_empty() {
            &all
        } else {
            &filter.statuses
        };
        let statuses: Vec<_> = statuses.iter().map(|status| status.as_str()).collect();
        let mut these = doc! { "status": { "$in": statuses }, "listed": true };
        if let Some(parent) = filter.parent {
            these.insert("receipt.parent", parent.to_string());
        }
        if let Some(before) = filter.before {
            these.insert("_id", doc! { "$lt": before.to_string() });
        }
        let find = Find {
            filter: these,
            sort: doc! { "_id": -1 },
            limit,
            ..Find::default()
        };
        let found = self.db.find("batches", find).await?;
        found.into_iter().map(unkept).collect()
    }

    async fn dated_batches(
        &self,
        filter: &DatedFilter,
        limit: usize,
    ) -> Result<Vec<(i64, BatchId)>> {
        let DatedFilter { from, until, after } = *filter;
        let mut these = doc! { "last_event": { "$gte": from }, "first_event": { "$lt": until } };
        if let Some((last, id)) = after {
            let same = doc! { "last_event": last, "_id": { "$lt": id.to_string() } };
            these.insert(
                "$or",
                [doc! { "last_event": { "$lt": last } }, same].to_vec(),
            );
        }
        let find = Find {
            filter: these,
            sort: doc! { "last_event": -1, "_id": -1 },
            limit,
            fields: doc! { "last_event": 1 },
        };
        let found = self.db.find("batches", find).await?;
        let dated = |found: &Document| Ok((number(found, "last_event")?, parsed(found, "_id")?));
        found.iter().map(dated).collect()
    }

    async fn unchecked_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        let find = Find {
            filter: doc! { "check_after": { "$lt": date(before) } },
            sort: doc! { "check_after": 1, "_id": 1 },
            limit,
            ..Find::default()
        };
        self.ids(find).await
    }

    async fn unpurged_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        let never_purged = doc! { "purge_after": { "$exists": true }, "purges": 0 };
        let due_again = doc! { "purge_after": { "$lt": date(before) } };
        let find = Find {
            filter: doc! { "$or": [never_purged, due_again] },
            sort: doc! { "purge_after": 1 },
            limit,
            ..Find::default()
        };
        self.ids(find).await
    }
}

impl MongoStore {
    /// Adds the fields by which live batches are found by their events, where a version that knew them not wrote last.
    pub(super) async fn date_batches(&self) -> Result<()> {
        let undated = || Find {
            filter: doc! { "listed": true, "receipt": { "$type": "object" }, "last_event": { "$exists": false },
            "status": { "$nin": ["deleting", "deleted"] } },
            limit: DATED_AT_ONCE,
            ..Find::default()
        };
        loop {
            let found = self.db.find("batches", undated()).await?;
            let Some(first) = found.first() else {
                return Ok(());
            };
            tracing::info!(
                first = text(first, "_id")?,
                batches = found.len(),
                "dating batches"
            );
            let changes = found.into_iter().map(|found| {
                let this = doc! { "_id": text(&found, "_id")?, "rev": number(&found, "rev")? };
                let batch: Batch = unkept(found)?;
                Ok((this, doc! { "$set": searched(&batch) }, false))
            });
            let changes = changes.collect::<Result<_>>()?;
            self.db.update_each("batches", changes).await?;
        }
    }

    async fn ids(&self, find: Find) -> Result<Vec<BatchId>> {
        let find = Find {
            fields: doc! { "_id": 1 },
            ..find
        };
        let found = self.db.find("batches", find).await?;
        found.iter().map(|found| parsed(found, "_id")).collect()
    }

    /// Makes the batch the holder of its content; the live batch that has it already, if there is one.
    async fn hold_content(&self, id: BatchId, content: [u8; 32]) -> Result<Option<BatchId>> {
        let key = || Bson::Binary(binary(content.to_vec()));
        for look in 0..LOOKS {
            let Some(holder) = self.holder(id, key()).await? else {
                return Ok(None);
            };
            match self.batch(holder).await?.map(|b| b.status) {
                None | Some(BatchStatus::Deleting | BatchStatus::Deleted) => {
                    let theirs = doc! { "_id": key(), "batch": holder.to_string() };
                    let mine = doc! { "$set": { "batch": id.to_string() } };
                    if self.db.update("contents", theirs, mine).await? {
                        return Ok(None);
                    }
                }
                // It is between its content and its seal, or its process died there and its lease must run out.
                Some(BatchStatus::Receiving) => {
                    tracing::debug!(batch.id = %id, look, "batch {holder} with the same content is being sealed");
                    tokio::time::sleep(LOOK).await;
                }
                Some(_) => return Ok(Some(holder)),
            }
        }
        Err(StoreError::Unavailable {
            what: "sealing an upload",
            source: "an identical upload is being sealed at this moment".into(),
        })
    }

    /// Who else holds a content; none if it is this batch now.
    async fn holder(&self, id: BatchId, key: Bson) -> Result<Option<BatchId>> {
        let mine = doc! { "_id": key.clone(), "batch": id.to_string() };
        let raw = serialize_to_raw_document_buf(&mine);
        let raw = raw.map_err(|why| corrupt("a content", &why))?;
        if self.db.insert("contents", vec![raw]).await?.is_empty() {
            return Ok(None);
        }
        match self.db.one("contents", doc! { "_id": key }).await? {
            Some(there) if text(&there, "batch")? == id.to_string() => Ok(None),
            Some(there) => Ok(Some(parsed(&there, "batch")?)),
            None => Err(StoreError::Unavailable {
                what: "sealing an upload",
                source: "who holds its content went at this moment".into(),
            }),
        }
    }
}
