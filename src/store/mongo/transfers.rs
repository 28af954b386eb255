//! Files that arrive in parts: a document each, and one a part, named by where it begins: of two that begin at one place
//! the second finds it taken.

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
        transfer::{KEPT, KEPT_EMPTY},
    },
    store::{Appended, Begun, Part, Result, Room, TransferStore, Underway},
};

const TRANSFERS: &str = "transfers";
const PARTS: &str = "parts";
const INSTANTS: &[&str] = &["moved_at"];

#[async_trait]
impl TransferStore for MongoStore {
    async fn open_transfer(&self, transfer: &Transfer, room: Room) -> Result<Begun> {
        let begun = room.for_file(&self.underway().await?, transfer.sender.as_deref());
        if begun != Begun::Open {
            return Ok(begun);
        }
        let mut whole =
            doc! { "_id": transfer.id.to_string(), "open": true, "end": 0_i64, "parts": 0_i64 };
        let mut fields = document(transfer, INSTANTS)?;
        fields.remove("id");
        whole.extend(fields);
        let raw = serialize_to_raw_document_buf(&whole);
        let raw = raw.map_err(|why| corrupt("a transfer", &why))?;
        self.db.insert(TRANSFERS, vec![raw]).await?;
        Ok(Begun::Open)
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

    async fn append_part(&self, id: TransferId, part: Part, room: Room) -> Result<Appended> {
        let open = || doc! { "_id": id.to_string(), "open": true };
        let Some(transfer) = self.db.one(TRANSFERS, open()).await? else {
            return Ok(Appended::Closed);
        };
        let end = self.end(id).await?;
        if end != part.start {
            return Ok(Appended::Elsewhere(end));
        }
        if optional(&transfer, "parts")? >= room.parts {
            return Ok(Appended::TooManyParts);
        }
        let more = part.bytes.len() as u64;
        if let Some(until) = room.no_bytes_until(&self.underway().await?, more) {
            return Ok(Appended::Full(until));
        }
        if !self.insert_part(id, &part).await? {
            return Ok(Appended::Elsewhere(self.end(id).await?));
        }
        let moved = doc! {
            "$set": { "moved_at": date(part.at), "end": count(end + more) }, "$inc": { "parts": 1_i64 },
        };
        if self.db.update(TRANSFERS, open(), moved).await? {
            return Ok(Appended::Until(end + more));
        }
        // Given up since it was looked at: its parts are removed, and this one came after that.
        let this = doc! { "_id": part_name(id, part.start) };
        self.db.delete(PARTS, this).await?;
        Ok(Appended::Closed)
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
        self.settle(doc! { "_id": id.to_string() }, outcome).await
    }

    async fn drop_parts(&self, id: TransferId) -> Result<()> {
        let these = || doc! { "transfer": id.to_string() };
        while self.db.delete_some(PARTS, these(), doc! {}).await? {}
        Ok(())
    }

    async fn prune_transfers(&self, now: Instant) -> Result<bool> {
        let Some(oldest) = self.db.one(TRANSFERS, expired(now)).await? else {
            self.sweep_parts().await?;
            return Ok(false);
        };
        let id: TransferId = parsed(&oldest, "_id")?;
        let mut still = expired(now);
        still.insert("_id", id.to_string());
        // From here on nothing is appended.
        self.settle(still, &TransferOutcome::Terminated).await?;
        let over = || doc! { "_id": id.to_string(), "open": false };
        if self.db.one(TRANSFERS, over()).await?.is_some() {
            self.drop_parts(id).await?;
            self.db.delete(TRANSFERS, over()).await?;
        }
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

    /// The files without an outcome, and where each ends, or ended a part ago.
    async fn underway(&self) -> Result<Vec<Underway>> {
        let find = Find {
            filter: doc! { "open": true },
            fields: doc! { "_id": 0, "sender": 1, "end": 1, "moved_at": 1 },
            ..Find::default()
        };
        let read = |file: &Document| {
            let moved_at = file.get_datetime("moved_at");
            Ok(Underway {
                sender: file.get_str("sender").ok().map(str::to_owned),
                end: optional(file, "end")?,
                moved_at: instant(*moved_at.map_err(|why| corrupt("a transfer", &why))?),
            })
        };
        let open = self.db.find(TRANSFERS, find).await?;
        open.iter().map(read).collect()
    }

    /// False if there is a part that begins there.
    async fn insert_part(&self, id: TransferId, part: &Part) -> Result<bool> {
        let end = part.start + part.bytes.len() as u64;
        let part = doc! {
            "_id": part_name(id, part.start), "transfer": id.to_string(),
            "start": count(part.start), "end": count(end), "data": binary(part.bytes.to_vec()),
        };
        let raw = serialize_to_raw_document_buf(&part);
        let raw = raw.map_err(|why| corrupt("a part", &why))?;
        Ok(self.db.insert(PARTS, vec![raw]).await?.is_empty())
    }

    async fn settle(&self, mut which: Document, outcome: &TransferOutcome) -> Result<bool> {
        which.insert("open", true);
        let outcome = document(outcome, &[])?;
        let settled = doc! { "$set": { "open": false, "outcome": outcome } };
        self.db.update(TRANSFERS, which, settled).await
    }

    /// Removes parts of files that take no more, as one leaves that was appended when its file was given up.
    async fn sweep_parts(&self) -> Result<()> {
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

/// Files of which nothing arrived for too long.
fn expired(now: Instant) -> Document {
    let old = doc! { "moved_at": { "$lt": date(now - KEPT) } };
    let empty = doc! { "open": true, "end": 0_i64, "moved_at": { "$lt": date(now - KEPT_EMPTY) } };
    doc! { "$or": [old, empty] }
}

fn part_name(id: TransferId, start: u64) -> String {
    format!("{id}:{start:020}")
}

fn length(document: &Document, name: &str) -> Result<u64> {
    let length = number(document, name)?;
    u64::try_from(length).map_err(|why| corrupt(&format!("`{name}` of a document"), &why))
}

/// Zero where an earlier version wrote none.
fn optional(document: &Document, name: &str) -> Result<u64> {
    if document.contains_key(name) {
        length(document, name)
    } else {
        Ok(0)
    }
}
