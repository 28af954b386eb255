//! The audit log: a row per entry.

use async_trait::async_trait;
use rusqlite::params;

use super::{EmbeddedStore, millis, to_json};
use crate::store::{AuditEntry, AuditStore, Result};

#[async_trait]
impl AuditStore for EmbeddedStore {
    async fn record_audit(&self, entry: &AuditEntry) -> Result<()> {
        let entry = entry.clone();
        self.db
            .write(move |db| {
                db.prepare_cached("INSERT INTO audit (at, doc) VALUES (?1, ?2)")?
                    .execute(params![millis(entry.at), to_json(&entry)?])?;
                Ok(())
            })
            .await
    }
}
