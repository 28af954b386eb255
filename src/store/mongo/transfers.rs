//! Files that arrive in parts: a document each, and one a part, named by where it begins: of two that begin at one place
//! the second finds it taken.

use async_trait::async_trait;
use bytes::Bytes;
use mongodb::bson::{Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{binary, corrupt, count, date, document, model, number, parsed},
};
use crate::{
    model::{Instant, Transfer, TransferId, TransferOutcome},
    store::{Appended, Result, Room, TransferStore},
};

const TRANSFERS: &str = "transfers";
const PARTS: &str = "parts";
const INSTANTS: &[&str] = &["moved_at"];

#[async_trait]
impl TransferStore for MongoStore {
    async fn open_transfer(&self, transfer: &Transfer, room: Room) -> Result<bool> {
        let find = Find {
            filter: doc! { "open": true },
            limit: usize::try_from(room.transfers).unwrap_or(usize::MAX),
            fields: doc! { "length": 1 },
            ..Find::default()
        };
        let open = self.db.find(TRANSFERS, find).await?;
        let mut bytes = transfer.length;
        for other in &open {
            bytes = bytes.saturating_add(length(other, "length")?);
        }
        if open.len() as u64 >= room.transfers || bytes > room.bytes {
            return Ok(false);
        }
        let mut whole = doc! { "_id": transfer.id.to_string(), "open": true };
        let mut fields = document(transfer, INSTANTS)?;
        fields.remove("id");
        whole.extend(fields);
        let raw = serialize_to_raw_document_buf(&whole);
        let raw = raw.map_err(|why| corrupt("a transfer", &why))?;
        self.db.insert(TRANSFERS, vec![raw]).await?;
        Ok(true)
    }

    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>> {
        let this = doc! { "_id": id.to_string() };
        let Some(mut found) = self.db.one(TRANSFERS, this).await? else {
            return Ok(None);
        };
        if let Some(id) = found.remove("_id") {
            found.insert("id", id);
        }
        let transfer = model("a transfer", found, INSTANTS)?;
        Ok(Some((transfer, self.end(id).await?)))
    }

    async fn append_part(
        &self,
        id: TransferId,
        start: u64,
        bytes: Bytes,
        now: Instant,
    ) -> Result<Appended> {
        let open = || doc! { "_id": id.to_string(), "open": true };
        if self.db.one(TRANSFERS, open()).await?.is_none() {
            return Ok(Appended::Closed);
        }
        let end = self.end(id).await?;
        if end != start {
            return Ok(Appended::Elsewhere(end));
        }
        let end = start + bytes.len() as u64;
        let part = doc! {
            "_id": part_name(id, start), "transfer": id.to_string(),
            "start": count(start), "end": count(end), "data": binary(bytes.to_vec()),
        };
        let raw = serialize_to_raw_document_buf(&part);
        let raw = raw.map_err(|why| corrupt("a part", &why))?;
        if !self.db.insert(PARTS, vec![raw]).await?.is_empty() {
            return Ok(Appended::Elsewhere(self.end(id).await?));
        }
        let moved = doc! { "$set": { "moved_at": date(now) } };
        self.db.update(TRANSFERS, open(), moved).await?;
        Ok(Appended::Until(end))
    }

    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>> {
        let this = doc! { "_id": part_name(id, start) };
        let Some(found) = self.db.one(PARTS, this).await? else {
            return Ok(None);
        };
        let data = found.get_binary_generic("data");
        let data = data.map_err(|why| corrupt("a part", &why))?;
        Ok(Some(Bytes::copy_from_slice(data)))
    }

    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool> {
        let open = doc! { "_id": id.to_string(), "open": true };
        let outcome = document(outcome, &[])?;
        let settled = doc! { "$set": { "open": false, "outcome": outcome } };
        self.db.update(TRANSFERS, open, settled).await
    }

    async fn drop_parts(&self, id: TransferId) -> Result<()> {
        let these = || doc! { "transfer": id.to_string() };
        while self.db.delete_some(PARTS, these(), doc! {}).await? {}
        Ok(())
    }

    async fn prune_transfers(&self, before: Instant) -> Result<bool> {
        let old = doc! { "moved_at": { "$lt": date(before) } };
        let Some(oldest) = self.db.one(TRANSFERS, old).await? else {
            return Ok(false);
        };
        let id: TransferId = parsed(&oldest, "_id")?;
        // From here on nothing is appended.
        self.settle_transfer(id, &TransferOutcome::Terminated)
            .await?;
        self.drop_parts(id).await?;
        let this = doc! { "_id": id.to_string() };
        self.db.delete(TRANSFERS, this).await?;
        Ok(true)
    }
}

impl MongoStore {
    /// Where a file ends so far.
    async fn end(&self, id: TransferId) -> Result<u64> {
        let last = Find {
            filter: doc! { "transfer": id.to_string() },
            sort: doc! { "start": -1 },
            limit: 1,
            // Out of the index alone: the document has megabytes.
            fields: doc! { "end": 1, "_id": 0 },
        };
        let found = self.db.find(PARTS, last).await?;
        found.first().map_or(Ok(0), |last| length(last, "end"))
    }
}

fn part_name(id: TransferId, start: u64) -> String {
    format!("{id}:{start:020}")
}

fn length(document: &Document, name: &str) -> Result<u64> {
    let length = number(document, name)?;
    u64::try_from(length).map_err(|why| corrupt(&format!("`{name}` of a document"), &why))
}
