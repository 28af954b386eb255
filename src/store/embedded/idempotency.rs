//! Idempotency keys: a row each.

use async_trait::async_trait;
use rusqlite::{OptionalExtension, Row, params, types::Type};

use super::{EmbeddedStore, batch::id_of, millis};
use crate::{
    model::{BatchId, IdempotencyEntry, IdempotencyKey, IdempotencyOutcome, Instant},
    store::{IdempotencyStore, Result},
};

/// Rows deleted in one transaction: a short one does not delay leases and seals.
const PRUNE_ROWS: usize = 1_000;

#[async_trait]
impl IdempotencyStore for EmbeddedStore {
    async fn idempotency_entry(&self, key: IdempotencyKey) -> Result<Option<IdempotencyEntry>> {
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(
                    "SELECT batch, content, outcome, opened_at, wanted FROM keys WHERE key = ?1",
                )?;
                Ok(query.query_row([key.0], entry_of).optional()?)
            })
            .await
    }

    async fn add_idempotency_entry(
        &self,
        key: IdempotencyKey,
        entry: &IdempotencyEntry,
    ) -> Result<bool> {
        let sql =
            "INSERT INTO keys (key, batch, content, outcome, opened_at, wanted) VALUES (?1, ?3, ?4, ?5, ?6, ?7)
                   ON CONFLICT (key) DO NOTHING";
        self.write_entry(sql, key, entry.batch, entry).await
    }

    async fn replace_idempotency_entry(
        &self,
        key: IdempotencyKey,
        batch: BatchId,
        entry: &IdempotencyEntry,
    ) -> Result<bool> {
        let sql = "UPDATE keys SET batch = ?3, content = ?4, outcome = ?5, opened_at = ?6, wanted = ?7 WHERE key = ?1 AND batch = ?2";
        self.write_entry(sql, key, batch, entry).await
    }

    async fn release_idempotency_key(&self, key: IdempotencyKey, batch: BatchId) -> Result<()> {
        self.db
            .write(move |db| {
                db.prepare_cached(
                    "DELETE FROM keys WHERE key = ?1 AND batch = ?2 AND outcome IS NULL",
                )?
                .execute(params![key.0, batch.to_string()])?;
                Ok(())
            })
            .await
    }

    async fn prune_idempotency_entries(&self, before: Instant) -> Result<bool> {
        self.db
            .write(move |db| {
                let removed = db
                    .prepare_cached(
                        "DELETE FROM keys WHERE key IN (SELECT key FROM keys WHERE opened_at < ?1 LIMIT ?2)",
                    )?
                    .execute(params![millis(before), PRUNE_ROWS])?;
                Ok(removed == PRUNE_ROWS)
            })
            .await
    }
}

impl EmbeddedStore {
    /// Runs a statement that writes an entry. Returns whether it wrote a row.
    async fn write_entry(
        &self,
        sql: &'static str,
        key: IdempotencyKey,
        expected: BatchId,
        entry: &IdempotencyEntry,
    ) -> Result<bool> {
        let IdempotencyEntry {
            batch,
            request_digest,
            outcome,
            wanted_before,
            opened_at,
        } = *entry;
        self.db
            .write(move |db| {
                let written = db.prepare_cached(sql)?.execute(params![
                    key.0,
                    expected.to_string(),
                    batch.to_string(),
                    request_digest,
                    outcome.map(IdempotencyOutcome::as_str),
                    millis(opened_at),
                    wanted_before
                ])?;
                Ok(written > 0)
            })
            .await
    }
}

fn entry_of(row: &Row<'_>) -> rusqlite::Result<IdempotencyEntry> {
    let outcome: Option<String> = row.get(2)?;
    let outcome = outcome.map(|name| {
        IdempotencyOutcome::ALL
            .into_iter()
            .find(|outcome| outcome.as_str() == name)
            .ok_or_else(|| {
                let why = format!("`{name}` is no outcome");
                rusqlite::Error::FromSqlConversionFailure(2, Type::Text, why.into())
            })
    });
    let opened_at: i64 = row.get(3)?;
    Ok(IdempotencyEntry {
        batch: id_of(row)?,
        request_digest: row.get(1)?,
        outcome: outcome.transpose()?,
        wanted_before: row.get(4)?,
        opened_at: Instant::from_timestamp_millis(opened_at).unwrap_or_default(),
    })
}
