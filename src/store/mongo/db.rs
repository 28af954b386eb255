//! The commands of the store, each bounded in time and size. Writes wait for a majority; reads are from the primary and
//! see only what a majority has. No multi-document transactions: a standalone server suffices.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use mongodb::{
    Collection, Cursor, Database,
    bson::{Bson, Document, RawDocumentBuf, doc},
    error::Error,
};
use tokio::time::Instant;

use super::{
    bulk::split,
    outage::OutageLog,
    server_error::{duplicate_ids, failure, lost_upserts, store_error},
};
use crate::{
    metric::SpanSize,
    model::CallFailure,
    store::{Result, StoreError, Undecodable},
};

/// Longest wait for one command; a server that takes longer is unavailable.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest wait of the server for its majority.
const MAJORITY_TIMEOUT: Duration = Duration::from_secs(15);
/// Most updates of one command. The server looks each up on its own, so a thousand may take a slow one too long.
const BULK_UPDATES: usize = 200;
/// Attempts of an upsert that races with another.
const UPSERT_ATTEMPTS: usize = 5;

/// Runs before each command. Tests use it to stop or fail a method between two commands.
#[async_trait]
pub trait CommandHook: Send + Sync {
    /// Returns once the command may run. The returned value is dropped when the command ends.
    ///
    /// # Errors
    /// The error that the command is to fail with.
    async fn before_command(&self, command: &'static str) -> Result<Box<dyn Send>>;
}

/// Sizes of bulk writes, and a hook for tests.
#[derive(Clone)]
pub struct MongoOptions {
    /// Most documents of one bulk write.
    pub bulk_documents: usize,
    /// Most concurrent bulk writes of one caller.
    pub bulks_in_flight: usize,
    /// How many batches of a day have a kept sum.
    pub span_size: SpanSize,
    /// The hook that runs before each command.
    pub command_hook: Option<Arc<dyn CommandHook>>,
}

impl Default for MongoOptions {
    /// Four times a thousand documents: enough to keep a server busy in little memory.
    fn default() -> Self {
        Self {
            bulk_documents: 1_000,
            bulks_in_flight: 4,
            span_size: SpanSize::NORMAL,
            command_hook: None,
        }
    }
}

/// A query of one collection.
#[derive(Default)]
pub(super) struct Find {
    pub(super) filter: Document,
    pub(super) sort: Document,
    /// Most documents; all if 0.
    pub(super) limit: usize,
    /// Fields to return; all if empty.
    pub(super) fields: Document,
}

/// The database.
#[derive(Clone)]
pub(super) struct Db {
    pub(super) database: Database,
    pub(super) options: MongoOptions,
    pub(super) undecodable: Undecodable,
    /// Logs outages; none while the store is opened, which reports its own error.
    pub(super) outages: Option<Arc<OutageLog>>,
}

impl Db {
    pub(super) fn documents(&self, collection: &'static str) -> Collection<Document> {
        self.database.collection(collection)
    }

    /// Runs a command that stores nothing within [`COMMAND_TIMEOUT`].
    pub(super) async fn run<T>(
        &self,
        what: &'static str,
        command: impl Future<Output = std::result::Result<T, Error>>,
    ) -> Result<T> {
        self.run_as(what, COMMAND_TIMEOUT, false, command).await
    }

    /// Runs a command that waits for the majority within [`COMMAND_TIMEOUT`].
    async fn run_write<T>(
        &self,
        what: &'static str,
        command: impl Future<Output = std::result::Result<T, Error>>,
    ) -> Result<T> {
        self.run_as(what, COMMAND_TIMEOUT, true, command).await
    }

    /// Runs a command within `timeout`.
    pub(super) async fn run_within<T>(
        &self,
        what: &'static str,
        timeout: Duration,
        command: impl Future<Output = std::result::Result<T, Error>>,
    ) -> Result<T> {
        self.run_as(what, timeout, false, command).await
    }

    async fn run_as<T>(
        &self,
        what: &'static str,
        timeout: Duration,
        writes: bool,
        command: impl Future<Output = std::result::Result<T, Error>>,
    ) -> Result<T> {
        let _guard = match &self.options.command_hook {
            Some(hook) => Some(hook.before_command(what).await?),
            None => None,
        };
        let begun = Instant::now();
        let (result, failure) = match tokio::time::timeout(timeout, command).await {
            Ok(Ok(answer)) => (Ok(answer), None),
            Ok(Err(why)) => {
                let failure = failure(&why);
                (Err(store_error(what, why)), failure)
            }
            Err(_) => {
                let source = format!("no answer within {timeout:?}").into();
                let late = StoreError::Unavailable { what, source };
                (Err(late), Some(CallFailure::Unreachable))
            }
        };
        match &self.outages {
            Some(outages) => outages.record(result, failure, writes, begun),
            None => result,
        }
    }

    /// Returns one document that matches.
    pub(super) async fn one(
        &self,
        collection: &'static str,
        filter: Document,
    ) -> Result<Option<Document>> {
        let documents = self.documents(collection);
        let find = async { documents.find_one(filter).await };
        self.run(collection, find).await
    }

    /// Returns all results of a query; for queries with few.
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
        self.run(collection, all).await
    }

    /// Returns the first results of a query that can be decoded; reports and leaves out the others.
    pub(super) async fn list<T>(
        &self,
        collection: &'static str,
        find: Find,
        decode: impl Fn(Document) -> Result<T>,
    ) -> Result<Vec<T>> {
        let documents = self.documents(collection);
        let all = async {
            let Find {
                filter,
                sort,
                limit,
                fields,
            } = find;
            let found = documents.find(filter).sort(sort).projection(fields);
            // The first batch has the whole list, unless some of it can't be decoded.
            let mut found = found
                .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
                .await?;
            let mut decoded = Vec::new();
            while decoded.len() < limit
                && let Some(document) = found.try_next().await?
            {
                let id = document.get_str("_id").unwrap_or("a document").to_owned();
                decoded.extend(self.undecodable.skip(collection, &id, decode(document)));
            }
            Ok(decoded)
        };
        self.run(collection, all).await
    }

    /// Returns a cursor over the results of a query; for queries with many.
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
        self.run(collection, opened).await
    }

    /// Returns the number of documents that match.
    pub(super) async fn count(&self, collection: &'static str, filter: Document) -> Result<u64> {
        let documents = self.documents(collection);
        let count = async { documents.count_documents(filter).await };
        self.run(collection, count).await
    }

    /// Inserts documents whose `_id` is new, in concurrent bulk writes. Returns the indices of the others, which change
    /// nothing.
    pub(super) async fn insert(
        &self,
        collection: &'static str,
        documents: Vec<RawDocumentBuf>,
    ) -> Result<Vec<usize>> {
        let mut first = 0;
        let bulks: Vec<_> = split(documents, self.options.bulk_documents)
            .into_iter()
            .map(|bulk| {
                let at = first;
                first += bulk.len();
                (at, bulk)
            })
            .collect();
        let existing = stream::iter(bulks)
            .map(|(at, bulk)| async move {
                let existing = self.insert_bulk(collection, bulk).await?;
                Ok::<_, StoreError>(existing.into_iter().map(move |index| at + index))
            })
            .buffer_unordered(self.options.bulks_in_flight)
            .try_fold(Vec::new(), |mut all, of_bulk| async move {
                all.extend(of_bulk);
                Ok(all)
            });
        let mut existing = existing.await?;
        existing.sort_unstable();
        Ok(existing)
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
                Err(why) => duplicate_ids(&why).ok_or(why),
            }
        };
        self.run_write(collection, insert).await
    }

    /// Replaces a document that matches. Returns whether one did.
    pub(super) async fn replace(
        &self,
        collection: &'static str,
        filter: Document,
        document: Document,
    ) -> Result<bool> {
        let documents = self.documents(collection);
        let replace = async { documents.replace_one(filter, document).await };
        Ok(self.run_write(collection, replace).await?.matched_count > 0)
    }

    /// Updates a document that matches. Returns whether one did.
    pub(super) async fn update(
        &self,
        collection: &'static str,
        filter: Document,
        change: Document,
    ) -> Result<bool> {
        let documents = self.documents(collection);
        let update = async { documents.update_one(filter, change).await };
        Ok(self.run_write(collection, update).await?.matched_count > 0)
    }

    /// Makes many updates of one document each, unordered: (filter, update, upsert).
    pub(super) async fn update_each(
        &self,
        collection: &'static str,
        changes: Vec<(Document, Document, bool)>,
    ) -> Result<()> {
        let mut pending: Vec<Document> = changes
            .into_iter()
            .map(|(filter, update, upsert)| doc! { "q": filter, "u": update, "upsert": upsert })
            .collect();
        // Two upserts of one `_id` may both find no document; the one that loses finds it at its next attempt.
        for _ in 0..UPSERT_ATTEMPTS {
            pending = self.try_update_each(collection, pending).await?;
            if pending.is_empty() {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable {
            what: collection,
            source: "upserts keep racing with others".into(),
        })
    }

    /// Makes the updates once. Returns the upserts that lost a race.
    async fn try_update_each(
        &self,
        collection: &'static str,
        changes: Vec<Document>,
    ) -> Result<Vec<Document>> {
        let mut lost = Vec::new();
        for bulk in split(changes, self.options.bulk_documents.min(BULK_UPDATES)) {
            let command = doc! {
                "update": collection,
                "updates": bulk.clone(),
                "ordered": false,
                "writeConcern": write_concern_document(),
            };
            let run = async {
                let answer = self.database.run_command(command).await?;
                lost_upserts(&answer)
            };
            let indices = self.run_write(collection, run).await?;
            lost.extend(indices.into_iter().filter_map(|at| bulk.get(at).cloned()));
        }
        Ok(lost)
    }

    /// Deletes the documents that match. Returns how many.
    pub(super) async fn delete(&self, collection: &'static str, filter: Document) -> Result<u64> {
        let documents = self.documents(collection);
        let delete = async { documents.delete_many(filter).await };
        Ok(self.run_write(collection, delete).await?.deleted_count)
    }

    /// Deletes one bulk of the documents that match. Returns whether more may remain.
    /// `condition` is checked again by the deletion itself.
    pub(super) async fn delete_some(
        &self,
        collection: &'static str,
        filter: Document,
        condition: Document,
    ) -> Result<bool> {
        let limit = self.options.bulk_documents;
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
        let mut by_id = doc! { "_id": { "$in": ids } };
        by_id.extend(condition);
        self.delete(collection, by_id).await?;
        Ok(more)
    }
}

/// The write concern of every write, as a document.
fn write_concern_document() -> Document {
    doc! { "w": "majority", "j": true, "wtimeout": i64::try_from(MAJORITY_TIMEOUT.as_millis()).unwrap_or(i64::MAX) }
}

/// The write concern of every write, for the driver.
pub(super) fn write_concern() -> mongodb::options::WriteConcern {
    let mut majority = mongodb::options::WriteConcern::majority();
    majority.journal = Some(true);
    majority.w_timeout = Some(MAJORITY_TIMEOUT);
    majority
}
