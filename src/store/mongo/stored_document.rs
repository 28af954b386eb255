//! Compare-and-set of one document: read it, apply a pure function, replace it if its revision is still the one read.
//! `rev` is incremented by every change.

use mongodb::bson::{Document, doc};

use super::{
    db::Db,
    document::{document, model, number},
};
use crate::{
    model::{Batch, Job, TransitionRefused},
    store::{Changed, Result, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};

/// Attempts of a change that loses to concurrent ones; in each round one change wins.
const ATTEMPTS: usize = 1_000;

/// A model type stored as one document and changed by compare-and-set.
pub(super) trait StoredDocument:
    Serialize + DeserializeOwned + PartialEq + Send + Sync
{
    /// The collection.
    const COLLECTION: &'static str;
    /// The noun for it in errors.
    const NOUN: &'static str;
    /// Its top-level fields that are instants.
    const INSTANTS: &'static [&'static str];

    /// Returns its `_id`.
    fn id(&self) -> String;
    /// Returns fields to store beside its own, for queries.
    fn index_fields(&self) -> Document;
    /// Whether the document can be deleted instead of replaced.
    fn is_removable(&self) -> bool {
        false
    }
}

/// Converts a value to its document of revision `rev`.
pub(super) fn to_document<T: StoredDocument>(value: &T, rev: i64) -> Result<Document> {
    let mut stored = doc! { "_id": value.id(), "rev": rev };
    let mut fields = document(value, T::INSTANTS)?;
    fields.remove("id");
    stored.extend(fields);
    stored.extend(value.index_fields());
    Ok(stored)
}

/// Converts a document to its value.
pub(super) fn from_document<T: StoredDocument>(mut document: Document) -> Result<T> {
    if let Some(id) = document.remove("_id") {
        document.insert("id", id);
    }
    model(T::NOUN, document, T::INSTANTS)
}

impl Db {
    /// Reads a value.
    pub(super) async fn read<T: StoredDocument>(&self, id: &str) -> Result<Option<T>> {
        let found = self.one(T::COLLECTION, doc! { "_id": id }).await?;
        found.map(from_document).transpose()
    }

    /// Replaces a value by the result of `after`.
    pub(super) async fn change<T: StoredDocument>(
        &self,
        id: &str,
        after: impl Fn(&T) -> std::result::Result<T, TransitionRefused>,
    ) -> Result<Changed<T>> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.one(T::COLLECTION, doc! { "_id": id }).await? else {
                return Ok(Changed::Missing);
            };
            let rev = number(&found, "rev")?;
            let current: T = from_document(found)?;
            let next = match after(&current) {
                Ok(next) => next,
                Err(refused) => return Ok(Changed::Refused(refused)),
            };
            if next == current {
                return Ok(Changed::Done(next));
            }
            let revision = doc! { "_id": id, "rev": rev };
            let done = if next.is_removable() {
                self.delete(T::COLLECTION, revision).await? > 0
            } else {
                self.replace(T::COLLECTION, revision, to_document(&next, rev + 1)?)
                    .await?
            };
            if done {
                return Ok(Changed::Done(next));
            }
        }
        Err(StoreError::Unavailable {
            what: T::NOUN,
            source: "others keep changing it".into(),
        })
    }
}

impl StoredDocument for Batch {
    const COLLECTION: &'static str = "batches";
    const NOUN: &'static str = "a batch";
    const INSTANTS: &'static [&'static str] = &["created_at", "checked_at", "deleted_at"];

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn index_fields(&self) -> Document {
        super::batch::index_fields(self)
    }

    fn is_removable(&self) -> bool {
        super::batch::is_removable(self)
    }
}

impl StoredDocument for Job {
    const COLLECTION: &'static str = "jobs";
    const NOUN: &'static str = "a job";
    const INSTANTS: &'static [&'static str] = &["run_at", "created_at", "changed_at"];

    fn id(&self) -> String {
        self.id.to_string()
    }

    fn index_fields(&self) -> Document {
        doc! { "kind": self.id.kind().as_str() }
    }
}
