//! Profiles: a document each, with the name as `_id`.

use async_trait::async_trait;
use mongodb::bson::{Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{corrupt, document, model},
};
use crate::{
    model::{Profile, ProfileName},
    store::{ProfileStore, PutProfileOutcome, Result},
};

const PROFILES: &str = "profiles";
const INSTANTS: &[&str] = &["changed_at"];

#[async_trait]
impl ProfileStore for MongoStore {
    async fn put_profile(&self, profile: &Profile, limit: u64) -> Result<PutProfileOutcome> {
        let by_name = || doc! { "_id": profile.name.as_str() };
        let mut fields = document(profile, INSTANTS)?;
        fields.remove("name");
        let replace = async || {
            let change = doc! { "$set": fields.clone() };
            self.db.update(PROFILES, by_name(), change).await
        };
        if replace().await? {
            return Ok(PutProfileOutcome::Replaced);
        }
        if self.db.count(PROFILES, doc! {}).await? >= limit {
            return Ok(PutProfileOutcome::LimitReached);
        }
        let mut document = by_name();
        document.extend(fields.clone());
        let raw = serialize_to_raw_document_buf(&document);
        let raw = raw.map_err(|why| corrupt("a profile", &why))?;
        if self.db.insert(PROFILES, vec![raw]).await?.is_empty() {
            return Ok(PutProfileOutcome::Created);
        }
        // Another process added the name since the first update: this write is the later one.
        replace().await?;
        Ok(PutProfileOutcome::Replaced)
    }

    async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>> {
        let by_name = doc! { "_id": name.as_str() };
        let found = self.db.one(PROFILES, by_name).await?;
        found.map(profile_of).transpose()
    }

    async fn profiles(&self, after: Option<&ProfileName>, limit: usize) -> Result<Vec<Profile>> {
        let filter = match after {
            Some(after) => doc! { "_id": { "$gt": after.as_str() } },
            None => doc! {},
        };
        let find = Find {
            filter,
            sort: doc! { "_id": 1 },
            limit,
            ..Find::default()
        };
        let found = self.db.find(PROFILES, find).await?;
        found.into_iter().map(profile_of).collect()
    }

    async fn drop_profile(&self, name: &ProfileName) -> Result<bool> {
        let by_name = doc! { "_id": name.as_str() };
        Ok(self.db.delete(PROFILES, by_name).await? > 0)
    }
}

fn profile_of(mut found: Document) -> Result<Profile> {
    if let Some(name) = found.remove("_id") {
        found.insert("name", name);
    }
    model("a profile", found, INSTANTS)
}
