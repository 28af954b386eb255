//! Compare-and-set of one document through its pure function: read, compute, replace if nobody else did meanwhile.
//! `rev` grows with every change, so one comparison serves all of them.

use mongodb::bson::{Document, doc};

use super::{
    db::Db,
    document::{document, model, number},
};
use crate::{
    model::{Batch, Job, Refused},
    store::{Changed, Result, StoreError},
};
use serde::{Serialize, de::DeserializeOwned};

/// Rounds that a change may lose to others; each round somebody wins.
const ROUNDS: usize = 1_000;

/// What is kept as one document that changes as a whole.
pub(super) trait Kept: Serialize + DeserializeOwned + PartialEq + Send + Sync {
    /// Where.
    const COLLECTION: &'static str;
    /// What it is called.
    const WHAT: &'static str;
    /// Its fields that hold instants.
    const INSTANTS: &'static [&'static str];

    /// Its name.
    fn name(&self) -> String;
    /// Fields beside its own that are searched by.
    fn searched(&self) -> Document;
    /// Whether nothing of it need be kept any more.
    fn forgotten(&self) -> bool {
        false
    }
}

/// The whole document, as it stands after so many changes.
pub(super) fn kept<T: Kept>(it: &T, rev: i64) -> Result<Document> {
    let mut whole = doc! { "_id": it.name(), "rev": rev };
    let mut own = document(it, T::INSTANTS)?;
    own.remove("id");
    whole.extend(own);
    whole.extend(it.searched());
    Ok(whole)
}

/// The way back.
pub(super) fn unkept<T: Kept>(mut document: Document) -> Result<T> {
    if let Some(id) = document.remove("_id") {
        document.insert("id", id);
    }
    model(T::WHAT, document, T::INSTANTS)
}

impl Db {
    pub(super) async fn read<T: Kept>(&self, name: &str) -> Result<Option<T>> {
        let found = self.one(T::COLLECTION, doc! { "_id": name }).await?;
        found.map(unkept).transpose()
    }

    /// Replaces a document by what `after` makes of it.
    pub(super) async fn change<T: Kept>(
        &self,
        name: &str,
        after: impl Fn(&T) -> std::result::Result<T, Refused>,
    ) -> Result<Changed<T>> {
        for _ in 0..ROUNDS {
            let Some(found) = self.one(T::COLLECTION, doc! { "_id": name }).await? else {
                return Ok(Changed::Missing);
            };
            let rev = number(&found, "rev")?;
            let was: T = unkept(found)?;
            let next = match after(&was) {
                Ok(next) => next,
                Err(refused) => return Ok(Changed::Refused(refused)),
            };
            if next == was {
                return Ok(Changed::Done(next));
            }
            let this = doc! { "_id": name, "rev": rev };
            let done = if next.forgotten() {
                self.delete(T::COLLECTION, this).await? > 0
            } else {
                self.replace(T::COLLECTION, this, kept(&next, rev + 1)?)
                    .await?
            };
            if done {
                return Ok(Changed::Done(next));
            }
        }
        Err(StoreError::Unavailable {
            what: T::WHAT,
            source: "others keep changing it".into(),
        })
    }
}

impl Kept for Batch {
    const COLLECTION: &'static str = "batches";
    const WHAT: &'static str = "a batch";
    const INSTANTS: &'static [&'static str] = &["created_at", "checked_at", "deleted_at"];

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn searched(&self) -> Document {
        super::batches::searched(self)
    }

    fn forgotten(&self) -> bool {
        super::batches::forgotten(self)
    }
}

impl Kept for Job {
    const COLLECTION: &'static str = "jobs";
    const WHAT: &'static str = "a job";
    const INSTANTS: &'static [&'static str] = &["run_at", "created_at", "changed_at"];

    fn name(&self) -> String {
        self.id.to_string()
    }

    fn searched(&self) -> Document {
        doc! { "kind": self.id.kind().as_str() }
    }
}
