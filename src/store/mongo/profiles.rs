//! Named sets of upload options: a document each, by name.

use async_trait::async_trait;
use mongodb::bson::{Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{corrupt, document, model},
};
use crate::{
    model::{Profile, ProfileName},
    store::{ProfileStore, Put, Result},
};

const PROFILES: &str = "profiles";
const INSTANTS: &[&str] = &["changed_at"];

#[async_trait]
impl ProfileStore for MongoStore {
    async fn put_profile(&self, profile: &Profile, most: u64) -> Result<Put> {
        let this = || doc! { "_id": profile.name.as_str() };
        let mut fields = document(profile, INSTANTS)?;
        fields.remove("name");
        let replace = async || {
            let change = doc! { "$set": fields.clone() };
            self.db.update(PROFILES, this(), change).await
        };
        if replace().await? {
            return Ok(Put::Replaced);
        }
        if self.db.count(PROFILES, doc! {}).await? >= most {
            return Ok(Put::Full);
        }
        let mut whole = this();
        whole.extend(fields.clone());
        let raw = serialize_to_raw_document_buf(&whole);
        let raw = raw.map_err(|why| corrupt("a profile", &why))?;
        if self.db.insert(PROFILES, vec![raw]).await?.is_empty() {
            return Ok(Put::New);
        }
        // Another one was put at this moment, and this one is the later.
        replace().await?;
        Ok(Put::Replaced)
    }

    async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>> {
        let this = doc! { "_id": name.as_str() };
        let found = self.db.one(PROFILES, this).await?;
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
        let this = doc! { "_id": name.as_str() };
        Ok(self.db.delete(PROFILES, this).await? > 0)
    }
}

fn profile_of(mut found: Document) -> Result<Profile> {
    if let Some(name) = found.remove("_id") {
        found.insert("name", name);
    }
    model("a profile", found, INSTANTS)
}
