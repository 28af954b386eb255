//! Idempotency keys: a document each, with the key's digest as `_id`.

use async_trait::async_trait;
use mongodb::bson::{Bson, Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    document::{binary, corrupt, date, instant, parsed},
};
use crate::{
    model::{BatchId, IdempotencyEntry, IdempotencyKey, IdempotencyOutcome, Instant},
    store::{IdempotencyStore, Result},
};

const KEYS: &str = "keys";

#[async_trait]
impl IdempotencyStore for MongoStore {
    async fn idempotency_entry(&self, key: IdempotencyKey) -> Result<Option<IdempotencyEntry>> {
        let found = self.db.one(KEYS, doc! { "_id": id_of(key) }).await?;
        found.map(|found| entry_of(&found)).transpose()
    }

    async fn add_idempotency_entry(
        &self,
        key: IdempotencyKey,
        entry: &IdempotencyEntry,
    ) -> Result<bool> {
        let mut document = doc! { "_id": id_of(key) };
        document.extend(fields(entry));
        let raw = serialize_to_raw_document_buf(&document);
        let raw = raw.map_err(|why| corrupt("a key", &why))?;
        Ok(self.db.insert(KEYS, vec![raw]).await?.is_empty())
    }

    async fn replace_idempotency_entry(
        &self,
        key: IdempotencyKey,
        batch: BatchId,
        entry: &IdempotencyEntry,
    ) -> Result<bool> {
        let filter = doc! { "_id": id_of(key), "batch": batch.to_string() };
        let change = doc! { "$set": fields(entry) };
        self.db.update(KEYS, filter, change).await
    }

    async fn release_idempotency_key(&self, key: IdempotencyKey, batch: BatchId) -> Result<()> {
        let filter = doc! { "_id": id_of(key), "batch": batch.to_string(), "outcome": Bson::Null };
        self.db.delete(KEYS, filter).await.map(drop)
    }

    async fn prune_idempotency_entries(&self, before: Instant) -> Result<bool> {
        let old = doc! { "opened_at": { "$lt": date(before) } };
        // The filter is repeated at the deletion: an entry that was replaced since the query stays.
        let condition = old.clone();
        self.db.delete_some(KEYS, old, condition).await
    }
}

fn id_of(key: IdempotencyKey) -> Bson {
    Bson::Binary(binary(key.0.to_vec()))
}

fn fields(entry: &IdempotencyEntry) -> Document {
    let IdempotencyEntry {
        batch,
        request_digest,
        outcome,
        wanted_before,
        opened_at,
    } = *entry;
    doc! {
        "batch": batch.to_string(),
        "content": request_digest.map(|digest| binary(digest.to_vec())),
        "outcome": outcome.map(IdempotencyOutcome::as_str),
        "wanted": wanted_before,
        "opened_at": date(opened_at),
    }
}

fn entry_of(found: &Document) -> Result<IdempotencyEntry> {
    let bad = |what: &str| corrupt("a key", &format!("its {what} can't be read"));
    let request_digest = match found.get("content") {
        None | Some(Bson::Null) => None,
        Some(Bson::Binary(digest)) => {
            let digest = digest.bytes.as_slice().try_into();
            Some(digest.map_err(|_| bad("content"))?)
        }
        Some(_) => return Err(bad("content")),
    };
    let outcome = match found.get("outcome") {
        None | Some(Bson::Null) => None,
        Some(named) => {
            let outcome = IdempotencyOutcome::ALL
                .into_iter()
                .find(|outcome| named.as_str() == Some(outcome.as_str()));
            Some(outcome.ok_or_else(|| bad("outcome"))?)
        }
    };
    let opened_at = found.get_datetime("opened_at");
    Ok(IdempotencyEntry {
        batch: parsed(found, "batch")?,
        request_digest,
        outcome,
        wanted_before: found.get_i64("wanted").ok(),
        opened_at: instant(*opened_at.map_err(|_| bad("beginning"))?),
    })
}
