//! One database behind few kinds of command, each bounded in time and size, each with the concerns of protocol.md:
//! writes acknowledged by a majority, reads of what a majority has, always from the primary.
//! No multi-document transaction anywhere: it runs on a standalone, a replica set and a sharded cluster.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::{
    Collection, Cursor, Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::Error,
};

use super::fault::{already_there, fault, raced};
use crate::store::{Result, StoreError};

/// Longest wait for one command: what takes longer is away, as a caller must be able to tell.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait of the server for its majority.
const MAJORITY: Duration = Duration::from_secs(15);
/// The bytes of one command; the server takes up to 48 MB.
const COMMAND_BYTES: usize = 8 << 20;
/// Changes of one command: each is looked up by itself, so a thousand would keep a slow server busy for long.
const CHANGES: usize = 200;
/// Tries of an upsert that races with another one.
const UPSERTS: usize = 5;

/// Stands before every command; tests stop or fail a verb between two documents with it.
#[async_trait]
pub trait Pace: Send + Sync {
    /// Lets the next command pass, late, or not at all. What it gives is held while the command is under way.
    ///
    /// # Errors
    /// What the command is to fail with.
    async fn pass(&self, command: &'static str) -> Result<Box<dyn Send>>;
}

/// How much goes over the wire at once.
#[derive(Clone)]
pub struct Tuning {
    /// Documents of one bulk write.
    pub documents: usize,
    /// Bulk writes of one caller under way at once.
    pub in_flight: usize,
    /// What stands before every command, if anything does.
    pub pace: Option<Arc<dyn Pace>>,
}

impl Default for Tuning {
    /// Four times a thousand: enough to keep a server busy, little to hold.
    fn default() -> Self {
        Self {
            documents: 1_000,
            in_flight: 4,
            pace: None,
        }
    }
}

/// Which documents of a collection, and which of their fields.
#[derive(Default)]
pub(super) struct Find {
    pub(super) filter: Document,
    pub(super) sort: Document,
    pub(super) limit: usize,
    pub(super) fields: Document,
}

/// The database.
#[derive(Clone)]
pub(super) struct Db {
    pub(super) database: Database,
    pub(super) tuning: Tuning,
}

impl Db {
    pub(super) fn documents(&self, collection: &'static str) -> Collection<Document> {
        self.database.collection(collection)
    }

    /// Waits for a command, but not for ever.
    pub(super) async fn ask<T>(
        &self,
        what: &'static str,
        command: impl Future<Output = std::result::Result<T, Error>>,
    ) -> Result<T> {
        self.ask_for(what, PATIENCE, command).await
    }

    /// The same for a command that may take longer.
    pub(super) async fn ask_for<T>(
        &self,
        what: &'static str,
        patience: Duration,
        command: impl Future<Output = std::result::Result<T, Error>>,
    ) -> Result<T> {
        let _under_way = match &self.tuning.pace {
            Some(pace) => Some(pace.pass(what).await?),
            None => None,
        };
        match tokio::time::timeout(patience, command).await {
            Ok(answer) => answer.map_err(|why| fault(what, why)),
            Err(_) => Err(StoreError::Unavailable {
                what,
                source: format!("no answer within {patience:?}").into(),
            }),
        }
    }

    pub(super) async fn one(
        &self,
        collection: &'static str,
        filter: Document,
    ) -> Result<Option<Document>> {
        let documents = self.documents(collection);
        let find = async { documents.find_one(filter).await };
        self.ask(collection, find).await
    }

    /// Everything that a bounded query finds.
    pub(super) async fn find(&self, collection: &'static str, find: Find) -> Result<Vec<Document>> {
        let documents = self.documents(collection);
        let all = async {
            let Find {
                filter,
                sort,
                limit,
                fields,
            } = find;
            let found = documents
                .find(filter)
                .sort(sort)
                .limit(i64::try_from(limit).unwrap_or(i64::MAX))
                .projection(fields);
            found.await?.try_collect().await
        };
        self.ask(collection, all).await
    }

    /// A cursor over many documents, for a caller that takes them bit by bit.
    pub(super) async fn cursor(
        &self,
        collection: &'static str,
        find: Find,
    ) -> Result<Cursor<RawDocumentBuf>> {
        let Find {
            filter,
            sort,
            limit,
            fields,
        } = find;
        let documents = self.database.collection::<RawDocumentBuf>(collection);
        let opened = async {
            let found = documents.find(filter).sort(sort).projection(fields);
            found.limit(i64::try_from(limit).unwrap_or(i64::MAX)).await
        };
        self.ask(collection, opened).await
    }

    pub(super) async fn count(&self, collection: &'static str, filter: Document) -> Result<u64> {
        let documents = self.documents(collection);
        let count = async { documents.count_documents(filter).await };
        self.ask(collection, count).await
    }

    /// Inserts what is not there yet, in several bulk writes at once; gives the indices of what was there.
    /// Each document has an `_id` that says what it is about, so writing it again changes nothing.
    pub(super) async fn insert(
        &self,
        collection: &'static str,
        documents: Vec<RawDocumentBuf>,
    ) -> Result<Vec<usize>> {
        let mut first = 0;
        let bulks: Vec<_> = split(documents, self.tuning.documents)
            .into_iter()
            .map(|bulk| {
                let at = first;
                first += bulk.len();
                (at, bulk)
            })
            .collect();
        let there = stream::iter(bulks)
            .map(|(at, bulk)| async move {
                let there = self.insert_bulk(collection, bulk).await?;
                Ok::<_, StoreError>(there.into_iter().map(move |index| at + index))
            })
            .buffer_unordered(self.tuning.in_flight)
            .try_fold(Vec::new(), |mut all, there| async move {
                all.extend(there);
                Ok(all)
            });
        let mut there = there.await?;
        there.sort_unstable();
        Ok(there)
    }

    async fn insert_bulk(
        &self,
        collection: &'static str,
        bulk: Vec<RawDocumentBuf>,
    ) -> Result<Vec<usize>> {
        let target = self.database.collection::<RawDocumentBuf>(collection);
        let insert = async {
            match target.insert_many(bulk).ordered(false).await {
                Ok(_) => Ok(Vec::new()),
                Err(why) => already_there(&why).ok_or(why),
            }
        };
        self.ask(collection, insert).await
    }

    /// Puts `document` in the place of the one that matches; false if none does.
    pub(super) async fn replace(
        &self,
        collection: &'static str,
        filter: Document,
        document: Document,
    ) -> Result<bool> {
        let documents = self.documents(collection);
        let replace = async { documents.replace_one(filter, document).await };
        Ok(self.ask(collection, replace).await?.matched_count > 0)
    }

    /// Changes the one document that matches; false if none does.
    pub(super) async fn update(
        &self,
        collection: &'static str,
        filter: Document,
        change: Document,
    ) -> Result<bool> {
        let documents = self.documents(collection);
        let update = async { documents.update_one(filter, change).await };
        Ok(self.ask(collection, update).await?.matched_count > 0)
    }

    /// Makes many changes of one document each, unordered: (which, what, whether to add it if there is none).
    pub(super) async fn update_each(
        &self,
        collection: &'static str,
        changes: Vec<(Document, Document, bool)>,
    ) -> Result<()> {
        let mut left: Vec<Document> = changes
            .into_iter()
            .map(|(which, what, upsert)| doc! { "q": which, "u": what, "upsert": upsert })
            .collect();
        // Two upserts of one `_id` may both find none; the one that loses finds it at the next try.
        for _ in 0..UPSERTS {
            left = self.try_each(collection, left).await?;
            if left.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable {
            what: collection,
            source: "upserts keep racing with others".into(),
        })
    }

    async fn try_each(
        &self,
        collection: &'static str,
        changes: Vec<Document>,
    ) -> Result<Vec<Document>> {
        let mut again = Vec::new();
        for bulk in split(changes, self.tuning.documents.min(CHANGES)) {
            let command = doc! {
                "update": collection,
                "updates": bulk.clone(),
                "ordered": false,
                "writeConcern": concern(),
            };
            let run = async {
                let answer = self.database.run_command(command).await?;
                raced(&answer)
            };
            let raced = self.ask(collection, run).await?;
            again.extend(raced.into_iter().filter_map(|at| bulk.get(at).cloned()));
        }
        Ok(again)
    }

    /// Removes what matches.
    pub(super) async fn delete(&self, collection: &'static str, filter: Document) -> Result<u64> {
        let documents = self.documents(collection);
        let delete = async { documents.delete_many(filter).await };
        Ok(self.ask(collection, delete).await?.deleted_count)
    }

    /// Removes a bulk of what matches, so that no command takes long; true if there may be more.
    /// `still` must hold at the moment of removal too.
    pub(super) async fn delete_some(
        &self,
        collection: &'static str,
        filter: Document,
        still: Document,
    ) -> Result<bool> {
        let limit = self.tuning.documents;
        let find = Find {
            filter,
            limit,
            fields: doc! { "_id": 1 },
            ..Find::default()
        };
        let ids: Vec<Bson> = self
            .find(collection, find)
            .await?
            .into_iter()
            .filter_map(|mut found| found.remove("_id"))
            .collect();
        if ids.is_empty() {
            return Ok(false);
        }
        let more = ids.len() == limit;
        let mut these = doc! { "_id": { "$in": ids } };
        these.extend(still);
        self.delete(collection, these).await?;
        Ok(more)
    }
}

/// What every write waits for, as a command says it.
fn concern() -> Document {
    doc! { "w": "majority", "j": true, "wtimeout": i64::try_from(MAJORITY.as_millis()).unwrap_or(i64::MAX) }
}

/// The same, as the driver says it.
pub(super) fn write_concern() -> mongodb::options::WriteConcern {
    let mut majority = mongodb::options::WriteConcern::majority();
    majority.journal = Some(true);
    majority.w_timeout = Some(MAJORITY);
    majority
}

/// Something with a size on the wire, in bytes.
trait Weighed {
    fn size(&self) -> usize;
}

impl Weighed for RawDocumentBuf {
    fn size(&self) -> usize {
        self.as_bytes().len()
    }
}

impl Weighed for Document {
    fn size(&self) -> usize {
        mongodb::bson::serialize_to_raw_document_buf(self).map_or(0, |raw| raw.as_bytes().len())
    }
}

fn split<T: Weighed>(documents: Vec<T>, most: usize) -> Vec<Vec<T>> {
    let mut bulks = Vec::new();
    let (mut bulk, mut bytes) = (Vec::new(), 0);
    for document in documents {
        let size = document.size();
        if !bulk.is_empty() && (bulk.len() >= most || bytes + size > COMMAND_BYTES) {
            bulks.push(std::mem::take(&mut bulk));
            bytes = 0;
        }
        bytes += size;
        bulk.push(document);
    }
    if !bulk.is_empty() {
        bulks.push(bulk);
    }
    bulks
}
