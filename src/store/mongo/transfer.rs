//! Transfers: a document each, and a document per part with the part's start in its `_id`: of two parts with the same
//! start the second is refused.

use async_trait::async_trait;
use bytes::Bytes;
use mongodb::bson::{Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{binary, corrupt, count, date, document, instant, model, number, parsed},
};
use crate::{
    model::{
        Instant, Transfer, TransferId, TransferOutcome,
        transfer::{EMPTY_TTL, TTL},
    },
    store::{
        AppendPartOutcome, OpenTransfer, OpenTransferOutcome, Result, TransferLimits, TransferPart,
        TransferStore,
    },
};

const TRANSFERS: &str = "transfers";
const PARTS: &str = "parts";
const INSTANTS: &[&str] = &["moved_at"];

#[async_trait]
impl TransferStore for MongoStore {
    async fn open_transfer(
        &self,
        transfer: &Transfer,
        limits: TransferLimits,
    ) -> Result<OpenTransferOutcome> {
        let outcome = limits.check_open(&self.open_transfers().await?, transfer.sender.as_deref());
        if outcome != OpenTransferOutcome::Opened {
            return Ok(outcome);
        }
        let mut stored =
            doc! { "_id": transfer.id.to_string(), "open": true, "end": 0_i64, "parts": 0_i64 };
        let mut fields = document(transfer, INSTANTS)?;
        fields.remove("id");
        stored.extend(fields);
        let raw = serialize_to_raw_document_buf(&stored);
        let raw = raw.map_err(|why| corrupt("a transfer", &why))?;
        self.db.insert(TRANSFERS, vec![raw]).await?;
        Ok(OpenTransferOutcome::Opened)
    }

    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>> {
        let by_id = doc! { "_id": id.to_string() };
        let Some(mut found) = self.db.one(TRANSFERS, by_id).await? else {
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
        part: TransferPart,
        limits: TransferLimits,
    ) -> Result<AppendPartOutcome> {
        let open = || doc! { "_id": id.to_string(), "open": true };
        let Some(transfer) = self.db.one(TRANSFERS, open()).await? else {
            return Ok(AppendPartOutcome::Closed);
        };
        let end = self.end(id).await?;
        if end != part.start {
            return Ok(AppendPartOutcome::WrongStart(end));
        }
        if length_or_zero(&transfer, "parts")? >= limits.parts_per_transfer {
            return Ok(AppendPartOutcome::TooManyParts);
        }
        let length = part.bytes.len() as u64;
        if let Some(until) = limits.bytes_refused_until(&self.open_transfers().await?, length) {
            return Ok(AppendPartOutcome::Full(until));
        }
        if !self.insert_part(id, &part).await? {
            return Ok(AppendPartOutcome::WrongStart(self.end(id).await?));
        }
        let moved = doc! {
            "$set": { "moved_at": date(part.arrived_at), "end": count(end + length) }, "$inc": { "parts": 1_i64 },
        };
        if self.db.update(TRANSFERS, open(), moved).await? {
            return Ok(AppendPartOutcome::Appended(end + length));
        }
        // Settled since the read above: its parts are deleted, but not this later one.
        let by_id = doc! { "_id": part_id(id, part.start) };
        self.db.delete(PARTS, by_id).await?;
        Ok(AppendPartOutcome::Closed)
    }

    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>> {
        let by_id = doc! { "_id": part_id(id, start) };
        let Some(found) = self.db.one(PARTS, by_id).await? else {
            return Ok(None);
        };
        let data = found.get_binary_generic("data");
        let data = data.map_err(|why| corrupt("a part", &why))?;
        Ok(Some(Bytes::copy_from_slice(data)))
    }

    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool> {
        self.settle(doc! { "_id": id.to_string() }, outcome).await
    }

    async fn drop_parts(&self, id: TransferId) -> Result<()> {
        let of_transfer = || doc! { "transfer": id.to_string() };
        while self.db.delete_some(PARTS, of_transfer(), doc! {}).await? {}
        Ok(())
    }

    async fn prune_transfers(&self, now: Instant) -> Result<bool> {
        let Some(oldest) = self.db.one(TRANSFERS, expired(now)).await? else {
            self.drop_orphaned_parts().await?;
            return Ok(false);
        };
        let id: TransferId = parsed(&oldest, "_id")?;
        let mut still_expired = expired(now);
        still_expired.insert("_id", id.to_string());
        // Settled first: a transfer with an outcome gets no more parts.
        self.settle(still_expired, &TransferOutcome::Terminated)
            .await?;
        let settled = || doc! { "_id": id.to_string(), "open": false };
        if self.db.one(TRANSFERS, settled()).await?.is_some() {
            self.drop_parts(id).await?;
            self.db.delete(TRANSFERS, settled()).await?;
        }
        Ok(true)
    }
}

impl MongoStore {
    /// Returns the end of a file.
    async fn end(&self, id: TransferId) -> Result<u64> {
        let last = Find {
            filter: doc! { "transfer": id.to_string() },
            sort: doc! { "start": -1 },
            limit: 1,
            // Covered by an index: the document itself has megabytes.
            fields: doc! { "end": 1, "_id": 0 },
        };
        let found = self.db.find(PARTS, last).await?;
        found.first().map_or(Ok(0), |last| length(last, "end"))
    }

    /// Returns the transfers without an outcome. The end of each may lag by one part.
    async fn open_transfers(&self) -> Result<Vec<OpenTransfer>> {
        let find = Find {
            filter: doc! { "open": true },
            fields: doc! { "_id": 0, "sender": 1, "end": 1, "moved_at": 1 },
            ..Find::default()
        };
        let read = |file: &Document| {
            let moved_at = file.get_datetime("moved_at");
            Ok(OpenTransfer {
                sender: file.get_str("sender").ok().map(str::to_owned),
                end: length_or_zero(file, "end")?,
                moved_at: instant(*moved_at.map_err(|why| corrupt("a transfer", &why))?),
            })
        };
        let open = self.db.find(TRANSFERS, find).await?;
        open.iter().map(read).collect()
    }

    /// Adds a part. Returns false if one with this start exists.
    async fn insert_part(&self, id: TransferId, part: &TransferPart) -> Result<bool> {
        let end = part.start + part.bytes.len() as u64;
        let part = doc! {
            "_id": part_id(id, part.start), "transfer": id.to_string(),
            "start": count(part.start), "end": count(end), "data": binary(part.bytes.to_vec()),
        };
        let raw = serialize_to_raw_document_buf(&part);
        let raw = raw.map_err(|why| corrupt("a part", &why))?;
        Ok(self.db.insert(PARTS, vec![raw]).await?.is_empty())
    }

    /// Records the outcome of an open transfer that matches. Returns whether one did.
    async fn settle(&self, mut filter: Document, outcome: &TransferOutcome) -> Result<bool> {
        filter.insert("open", true);
        let outcome = document(outcome, &[])?;
        let settled = doc! { "$set": { "open": false, "outcome": outcome } };
        self.db.update(TRANSFERS, filter, settled).await
    }

    /// Deletes parts of transfers that are settled or deleted. An append that races with a settle leaves such a part.
    async fn drop_orphaned_parts(&self) -> Result<()> {
        let mut after = String::new();
        loop {
            let next = Find {
                filter: doc! { "transfer": { "$gt": &after } },
                sort: doc! { "transfer": 1 },
                limit: 1,
                fields: doc! { "_id": 0, "transfer": 1 },
            };
            let Some(next) = self.db.find(PARTS, next).await?.pop() else {
                return Ok(());
            };
            let id: TransferId = parsed(&next, "transfer")?;
            after = id.to_string();
            let open = doc! { "_id": &after, "open": true };
            if self.db.one(TRANSFERS, open).await?.is_none() {
                self.drop_parts(id).await?;
            }
        }
    }
}

/// Returns the filter for expired transfers.
fn expired(now: Instant) -> Document {
    let old = doc! { "moved_at": { "$lt": date(now - TTL) } };
    let empty = doc! { "open": true, "end": 0_i64, "moved_at": { "$lt": date(now - EMPTY_TTL) } };
    doc! { "$or": [old, empty] }
}

fn part_id(id: TransferId, start: u64) -> String {
    format!("{id}:{start:020}")
}

/// Reads an offset or length.
fn length(document: &Document, name: &str) -> Result<u64> {
    let length = number(document, name)?;
    u64::try_from(length).map_err(|why| corrupt(&format!("`{name}` of a document"), &why))
}

/// Reads an offset or length; 0 if an older version did not write it.
fn length_or_zero(document: &Document, name: &str) -> Result<u64> {
    if document.contains_key(name) {
        length(document, name)
    } else {
        Ok(0)
    }
}
