//! Profiles: a JSON document each.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::{EmbeddedStore, from_json, to_json};
use crate::{
    model::{Profile, ProfileName},
    store::{ProfileStore, PutProfileOutcome, Result},
};

#[async_trait]
impl ProfileStore for EmbeddedStore {
    async fn put_profile(&self, profile: &Profile, limit: u64) -> Result<PutProfileOutcome> {
        let profile = profile.clone();
        self.db
            .write(move |db| {
                let (name, doc) = (profile.name.as_str(), to_json(&profile)?);
                let replaced = db
                    .prepare_cached("UPDATE profiles SET doc = ?2 WHERE name = ?1")?
                    .execute(params![name, doc])?;
                if replaced > 0 {
                    return Ok(PutProfileOutcome::Replaced);
                }
                let added = db
                    .prepare_cached(
                        "INSERT INTO profiles (name, doc) SELECT ?1, ?2 WHERE (SELECT count(*) FROM profiles) < ?3",
                    )?
                    .execute(params![name, doc, limit])?;
                Ok(if added > 0 { PutProfileOutcome::Created } else { PutProfileOutcome::LimitReached })
            })
            .await
    }

    async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>> {
        let name = name.clone();
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached("SELECT doc FROM profiles WHERE name = ?1")?;
                let doc: Option<String> = query
                    .query_row([name.as_str()], |row| row.get(0))
                    .optional()?;
                doc.map(|doc| from_json("a profile", &doc)).transpose()
            })
            .await
    }

    async fn profiles(&self, after: Option<&ProfileName>, limit: usize) -> Result<Vec<Profile>> {
        // Every name sorts after the empty one.
        let after = after.map_or_else(String::new, ToString::to_string);
        self.db
            .read(move |db| {
                let mut page = db.prepare_cached(
                    "SELECT doc FROM profiles WHERE name > ?1 ORDER BY name LIMIT ?2",
                )?;
                let docs = page.query_map(params![after, limit], |row| row.get::<_, String>(0))?;
                docs.map(|doc| from_json("a profile", &doc?)).collect()
            })
            .await
    }

    async fn drop_profile(&self, name: &ProfileName) -> Result<bool> {
        let name = name.clone();
        self.db
            .write(move |db| {
                let dropped = db
                    .prepare_cached("DELETE FROM profiles WHERE name = ?1")?
                    .execute([name.as_str()])?;
                Ok(dropped > 0)
            })
            .await
    }
}
