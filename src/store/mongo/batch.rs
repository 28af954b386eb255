//! Batches: a document each. A seal writes two documents in an order that is safe to interrupt anywhere.

use std::time::Duration;

use async_trait::async_trait;
use mongodb::bson::{Bson, DateTime, Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{binary, corrupt, date, number, parsed, text},
    stored_document::{from_document, to_document},
};
use crate::{
    model::{Batch, BatchChange, BatchId, BatchStatus, Instant, JobId, Receipt},
    store::{BatchFilter, BatchStore, Changed, EventTimeFilter, Result, Sealed, StoreError},
};

/// Purges of a deleted batch: one at once, and one later for documents that a late writer added.
const PURGES: u32 = 2;
/// Tombstones removed in one step.
const PRUNED_TOMBSTONES: usize = 200;
/// Batches that get their event times in one step.
const BACKFILL_BATCHES: usize = 500;
/// Attempts to seal while an identical upload is being sealed, and the delay between two.
const SEAL_ATTEMPTS: u32 = 50;
const SEAL_DELAY: Duration = Duration::from_millis(100);

/// Returns the indexed fields of a batch beside its own.
pub(super) fn index_fields(batch: &Batch) -> Document {
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

/// Whether a batch was never visible and has no documents in other collections.
pub(super) fn is_removable(batch: &Batch) -> bool {
    batch.receipt.is_none() && batch.purges >= PURGES
}

#[async_trait]
impl BatchStore for MongoStore {
    async fn create_batch(&self, batch: &Batch) -> Result<()> {
        let raw = serialize_to_raw_document_buf(&to_document(batch, 0)?);
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
        // Content before batch: only the owner of a content may be sealed with it.
        if let Some(first) = self.own_content(id, content).await? {
            return Ok(Sealed::DuplicateOf(first));
        }
        let seal = BatchChange::Seal(Box::new(receipt));
        match self.change_batch(id, &seal).await? {
            Changed::Done(batch) => Ok(Sealed::Batch(Box::new(batch))),
            Changed::Missing => Ok(Sealed::Abandoned),
            // An earlier seal may have succeeded without its answer arriving.
            Changed::Refused(_) => Ok(match self.batch(id).await? {
                Some(batch) if !batch.status.is_void() => Sealed::Batch(Box::new(batch)),
                Some(_) | None => Sealed::Abandoned,
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
        let mut matching = doc! { "status": { "$in": statuses }, "listed": true };
        if let Some(parent) = filter.parent {
            matching.insert("receipt.parent", parent.to_string());
        }
        if let Some(before) = filter.before {
            matching.insert("_id", doc! { "$lt": before.to_string() });
        }
        let find = Find {
            filter: matching,
            sort: doc! { "_id": -1 },
            limit,
            ..Find::default()
        };
        self.db.list("batches", find, from_document).await
    }

    async fn batches_by_event_time(
        &self,
        filter: &EventTimeFilter,
        limit: usize,
    ) -> Result<Vec<(i64, BatchId)>> {
        let EventTimeFilter { from, until, after } = *filter;
        let mut matching = doc! { "last_event": { "$gte": from }, "first_event": { "$lt": until } };
        if let Some((last, id)) = after {
            let same = doc! { "last_event": last, "_id": { "$lt": id.to_string() } };
            matching.insert(
                "$or",
                [doc! { "last_event": { "$lt": last } }, same].to_vec(),
            );
        }
        let find = Find {
            filter: matching,
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

    async fn prune_tombstones(&self, before: Instant) -> Result<bool> {
        let old = doc! { "status": BatchStatus::Deleted.as_str(), "purges": { "$gte": PURGES }, "deleted_at": { "$lt": date(before) } };
        let find = Find {
            filter: old.clone(),
            limit: PRUNED_TOMBSTONES,
            ..Find::default()
        };
        let ids = self.ids(find).await?;
        let text: Vec<_> = ids.iter().map(ToString::to_string).collect();
        let jobs: Vec<_> = ids
            .iter()
            .flat_map(|id| [JobId::Process(*id), JobId::Undo(*id)])
            .map(|id| id.to_string())
            .collect();
        // The batch last: if this is interrupted, the next call finds it again.
        self.db
            .delete("contents", doc! { "batch": { "$in": text.clone() } })
            .await?;
        self.db
            .delete("jobs", doc! { "_id": { "$in": jobs } })
            .await?;
        self.db
            .delete("batches", doc! { "_id": { "$in": text } })
            .await?;
        Ok(ids.len() == PRUNED_TOMBSTONES)
    }
}

impl MongoStore {
    /// Adds the event times to live batches that an older version wrote without them, until a start finds none: processes
    /// of that version may write more while they are replaced.
    pub(super) async fn backfill_event_times(&self) -> Result<()> {
        let done = || doc! { "_id": "event_times" };
        if self.db.one("meta", done()).await?.is_some() {
            return Ok(());
        }
        if self.add_event_times().await? {
            return Ok(());
        }
        let record = (done(), doc! { "$set": { "done": true } }, true);
        self.db.update_each("meta", vec![record]).await
    }

    /// Returns whether there were any.
    async fn add_event_times(&self) -> Result<bool> {
        let mut any = false;
        let undated = || Find {
            filter: doc! { "listed": true, "receipt": { "$type": "object" }, "last_event": { "$exists": false },
            "status": { "$nin": ["deleting", "deleted"] } },
            limit: BACKFILL_BATCHES,
            ..Find::default()
        };
        loop {
            let found = self.db.find("batches", undated()).await?;
            let Some(first) = found.first() else {
                return Ok(any);
            };
            any = true;
            tracing::info!(
                first = text(first, "_id")?,
                batches = found.len(),
                "adding event times to batches of an older version"
            );
            let changes = found.into_iter().map(|found| {
                let this = doc! { "_id": text(&found, "_id")?, "rev": number(&found, "rev")? };
                let batch: Batch = from_document(found)?;
                Ok((this, doc! { "$set": index_fields(&batch) }, false))
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

    /// Makes a batch the owner of its content. Returns the live batch that owns it, if another does.
    async fn own_content(&self, id: BatchId, content: [u8; 32]) -> Result<Option<BatchId>> {
        let key = || Bson::Binary(binary(content.to_vec()));
        for attempt in 0..SEAL_ATTEMPTS {
            let Some(owner) = self.content_owner(id, key()).await? else {
                return Ok(None);
            };
            match self.batch(owner).await?.map(|b| b.status) {
                None | Some(BatchStatus::Deleting | BatchStatus::Deleted) => {
                    let theirs = doc! { "_id": key(), "batch": owner.to_string() };
                    let mine = doc! { "$set": { "batch": id.to_string() } };
                    if self.db.update("contents", theirs, mine).await? {
                        return Ok(None);
                    }
                }
                // It is about to be sealed, or its process died and its lease will expire.
                Some(BatchStatus::Receiving) => {
                    tracing::debug!(batch.id = %id, attempt, "batch {owner} with the same content is being sealed");
                    tokio::time::sleep(SEAL_DELAY).await;
                }
                Some(_) => return Ok(Some(owner)),
            }
        }
        Err(StoreError::Unavailable {
            what: "sealing an upload",
            source: "an identical upload is being sealed at this moment".into(),
        })
    }

    /// Claims a content. Returns its owner if that is another batch.
    async fn content_owner(&self, id: BatchId, key: Bson) -> Result<Option<BatchId>> {
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
