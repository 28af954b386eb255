//! Rejected rows: a JSON document each, by batch and row.

use async_trait::async_trait;
use rusqlite::params;

use super::{EmbeddedStore, batch::seq_of, from_json, to_json};
use crate::{
    model::{BatchId, Rejection},
    store::{RejectionStore, Result},
};

/// Rows deleted in one transaction: a short one does not delay leases and seals.
const DROP_ROWS: usize = 5_000;

#[async_trait]
impl RejectionStore for EmbeddedStore {
    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
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

    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>> {
        self.db
            .read(move |db| {
                let batch = seq_of(db, id)?;
                let mut query = db.prepare_cached("SELECT doc FROM rejections WHERE batch = ?1 AND row > ?2 ORDER BY row LIMIT ?3")?;
                let docs = query.query_map(params![batch, after, limit], |row| row.get::<_, String>(0))?;
                docs.map(|doc| from_json("a rejection", &doc?)).collect()
            })
            .await
    }

    async fn drop_rejections(&self, id: BatchId) -> Result<bool> {
        self.db
            .write(move |db| {
                let batch = seq_of(db, id)?;
                let removed = db
                    .prepare_cached("DELETE FROM rejections WHERE batch = ?1 AND row IN (SELECT row FROM rejections WHERE batch = ?1 LIMIT ?2)")?
                    .execute(params![batch, DROP_ROWS])?;
                Ok(removed == DROP_ROWS)
            })
            .await
    }
}
