//! The audit log: a row per entry.

use async_trait::async_trait;
use rusqlite::params;

use super::{EmbeddedStore, millis, to_json};
use crate::{
    model::Instant,
    store::{AuditEntry, AuditStore, Result},
};

/// Rows deleted in one transaction: a short one does not delay leases and seals.
const PRUNE_ROWS: usize = 1_000;

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

    async fn prune_audit(&self, before: Instant) -> Result<bool> {
        self.db
            .write(move |db| {
                let sql = "DELETE FROM audit WHERE seq IN (SELECT seq FROM audit WHERE at < ?1 ORDER BY seq LIMIT ?2)";
                let removed = db
                    .prepare_cached(sql)?
                    .execute(params![millis(before), PRUNE_ROWS])?;
                Ok(removed == PRUNE_ROWS)
            })
            .await
    }
}
