//! Rejected rows, kept by batch and row.

use rusqlite::params;

use super::{EmbeddedStore, batches::seq_of, from_json, to_json};
use crate::{
    model::{BatchId, Rejection},
    store::Result,
};

/// Rows removed in one transaction, so that leases and seals need not wait.
const DROPPED_AT_ONCE: usize = 5_000;

impl EmbeddedStore {
    pub(super) async fn put_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
        let rows = rejections
            .iter()
            .map(|r| Ok((r.row, to_json(r)?)))
            .collect::<Result<Vec<_>>>()?;
        self.db
            .write(move |db| {
                let batch = seq_of(db, id)?;
                let mut put = db.prepare_cached(
                    "INSERT OR REPLACE INTO rejections (batch, row, doc) VALUES (?1, ?2, ?3)",
                )?;
                for (row, doc) in &rows {
                    put.execute(params![batch, row, doc])?;
                }
                Ok(())
            })
            .await
    }

    pub(super) async fn list_rejections(
        &self,
        id: BatchId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Rejection>> {
        self.db
            .read(move |db| {
                let batch = seq_of(db, id)?;
                let mut query = db.prepare_cached("SELECT doc FROM rejections WHERE batch = ?1 AND row > ?2 ORDER BY row LIMIT ?3")?;
                let docs = query.query_map(params![batch, after, limit], |row| row.get::<_, String>(0))?;
                docs.map(|doc| from_json("a rejection", &doc?)).collect()
            })
            .await
    }

    pub(super) async fn remove_rejections(&self, id: BatchId) -> Result<bool> {
        self.db
            .write(move |db| {
                let batch = seq_of(db, id)?;
                let removed = db
                    .prepare_cached("DELETE FROM rejections WHERE batch = ?1 AND row IN (SELECT row FROM rejections WHERE batch = ?1 LIMIT ?2)")?
                    .execute(params![batch, DROPPED_AT_ONCE])?;
                Ok(removed == DROPPED_AT_ONCE)
            })
            .await
    }
}
