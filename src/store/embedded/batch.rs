//! Batches: a JSON document each, with the searched columns beside it.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, Transaction, params};

use super::{ALL_ROWS, EmbeddedStore, day_sum, decoded, from_json, millis, to_json};
use crate::{
    model::{Batch, BatchChange, BatchId, BatchStatus, Instant, Receipt},
    store::{BatchFilter, BatchStore, Changed, EventTimeFilter, Result, Sealed},
};

/// Purges of a deleted batch: one at once, and one later for rows that a late writer added.
const PURGES: u32 = 2;
/// The condition for a batch that has an event file.
pub(super) const HAS_EVENTS: &str = "sealed = 1 AND status NOT IN ('deleting', 'deleted')";
/// Tombstones removed in one transaction: a short one does not delay leases and seals.
const PRUNE_ROWS: usize = 200;

#[async_trait]
impl BatchStore for EmbeddedStore {
    async fn create_batch(&self, batch: &Batch) -> Result<()> {
        let batch = batch.clone();
        self.db
            .write(move |change| {
                change.execute(
                    "INSERT INTO batches (id, status, sealed, fence, published_token, checked_at, deleted_at, purges, doc)
                     VALUES (?1, ?2, 0, ?3, NULL, 0, NULL, 0, ?4) ON CONFLICT (id) DO NOTHING",
                    params![batch.id.to_string(), batch.status.as_str(), batch.fence, to_json(&batch)?],
                )?;
                Ok(())
            })
            .await
    }

    async fn batch(&self, id: BatchId) -> Result<Option<Batch>> {
        self.db.read(move |db| read(db, id)).await
    }

    async fn change_batch(&self, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>> {
        let requested = change.clone();
        self.db
            .write(move |db| self::change(db, id, &requested))
            .await
    }

    async fn seal(&self, id: BatchId, receipt: Receipt, content: [u8; 32]) -> Result<Sealed> {
        self.db
            .write(move |db| {
                match content_owner(db, &content)? {
                    Some(first) if first != id => return Ok(Sealed::DuplicateOf(first)),
                    // An earlier seal succeeded, but its answer was lost.
                    Some(same) => return Ok(read(db, same)?.map_or(Sealed::Abandoned, |batch| Sealed::Batch(Box::new(batch)))),
                    None => {}
                }
                let Changed::Done(batch) = change(db, id, &BatchChange::Seal(Box::new(receipt)))? else {
                    return Ok(Sealed::Abandoned);
                };
                db.execute(
                    "INSERT INTO contents (digest, batch) VALUES (?1, (SELECT seq FROM batches WHERE id = ?2))
                     ON CONFLICT (digest) DO UPDATE SET batch = excluded.batch",
                    params![content, id.to_string()],
                )?;
                Ok(Sealed::Batch(Box::new(batch)))
            })
            .await
    }

    async fn list_batches(&self, filter: &BatchFilter, limit: usize) -> Result<Vec<Batch>> {
        let BatchFilter {
            statuses,
            parent,
            before,
        } = filter.clone();
        let visible = |status: &BatchStatus| *status != BatchStatus::Receiving;
        let statuses = if statuses.is_empty() {
            BatchStatus::ALL.into_iter().filter(visible).collect()
        } else {
            statuses
        };
        // Ids sort by time; `g` sorts after all of them.
        let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
        // Each statement has an index of its own.
        let sql = match parent {
            None => {
                "SELECT id, doc FROM batches WHERE status = ?1 AND sealed = ?4 AND id < ?2 AND ?5 IS NULL ORDER BY id DESC LIMIT ?3"
            }
            Some(_) => {
                "SELECT id, doc FROM batches WHERE json_extract(doc, '$.receipt.parent') = ?5 AND +status = ?1 AND +sealed = ?4 AND id < ?2
                 ORDER BY id DESC LIMIT ?3"
            }
        };
        let parent = parent.map(|id| id.to_string());
        let undecodable = self.undecodable.clone();
        self.db
            .read(move |db| {
                let mut newest = Vec::new();
                for status in statuses {
                    let mut page = db.prepare_cached(sql)?;
                    let mut rows = page.query(params![
                        status.as_str(),
                        before,
                        ALL_ROWS,
                        status != BatchStatus::Receiving,
                        parent
                    ])?;
                    newest.extend(decoded::<Batch>(&mut rows, "batches", limit, &undecodable)?);
                }
                newest.sort_unstable_by_key(|batch| std::cmp::Reverse(batch.id));
                newest.truncate(limit);
                Ok(newest)
            })
            .await
    }

    async fn batches_by_event_time(
        &self,
        filter: &EventTimeFilter,
        limit: usize,
    ) -> Result<Vec<(i64, BatchId)>> {
        let EventTimeFilter { from, until, after } = *filter;
        // Without a previous page: no instant is later, and no id sorts after `g`.
        let (last, id) = after.map_or_else(
            || (i64::MAX, "g".to_owned()),
            |(last, id)| (last, id.to_string()),
        );
        self.db
            .read(move |db| {
                let mut page = db.prepare_cached(
                    "SELECT id, last_event FROM batches
                     WHERE last_event >= ?1 AND (last_event, id) < (?2, ?3) AND first_event < ?4
                     ORDER BY last_event DESC, id DESC LIMIT ?5",
                )?;
                let batches = page.query_map(params![from, last, id, until, limit], |row| {
                    Ok((row.get(1)?, id_of(row)?))
                })?;
                Ok(batches.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    async fn unchecked_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        let sql = "SELECT id FROM batches WHERE published_token IS NOT NULL AND checked_at < ?1 ORDER BY checked_at, id LIMIT ?2";
        self.ids(sql, vec![Box::new(millis(before)), Box::new(limit)])
            .await
    }

    async fn unpurged_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>> {
        let sql = "SELECT id FROM batches WHERE deleted_at IS NOT NULL AND purges < ?1 AND (purges = 0 OR deleted_at < ?2)
                   ORDER BY deleted_at LIMIT ?3";
        self.ids(
            sql,
            vec![Box::new(PURGES), Box::new(millis(before)), Box::new(limit)],
        )
        .await
    }

    async fn prune_tombstones(&self, before: Instant) -> Result<bool> {
        self.db
            .write(move |db| {
                let sql =
                    "SELECT seq, id FROM batches WHERE purges >= ?1 AND deleted_at < ?2 LIMIT ?3";
                let mut query = db.prepare_cached(sql)?;
                let old = query
                    .query_map(params![PURGES, millis(before), PRUNE_ROWS], |row| {
                        Ok((row.get(0)?, row.get(1)?))
                    })?
                    .collect::<rusqlite::Result<Vec<(i64, String)>>>()?;
                for (seq, id) in &old {
                    db.prepare_cached("DELETE FROM contents WHERE batch = ?1")?
                        .execute([seq])?;
                    db.prepare_cached(
                        "DELETE FROM jobs WHERE id IN ('process:' || ?1, 'undo:' || ?1)",
                    )?
                    .execute([id])?;
                    db.prepare_cached("DELETE FROM batches WHERE seq = ?1")?
                        .execute([seq])?;
                }
                Ok(old.len() == PRUNE_ROWS)
            })
            .await
    }
}

impl EmbeddedStore {
    async fn ids(
        &self,
        sql: &'static str,
        values: Vec<Box<dyn ToSql + Send>>,
    ) -> Result<Vec<BatchId>> {
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(sql)?;
                let values = values
                    .iter()
                    .map(|value| value as &dyn ToSql)
                    .collect::<Vec<_>>();
                let ids = query
                    .query_map(values.as_slice(), id_of)?
                    .collect::<rusqlite::Result<_>>()?;
                Ok(ids)
            })
            .await
    }
}

/// Reads the id in the first column.
pub(super) fn id_of(row: &Row<'_>) -> rusqlite::Result<BatchId> {
    let text: String = row.get(0)?;
    text.parse().map_err(|why| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(why))
    })
}

/// Returns the integer that stands for a batch in the large tables.
pub(super) fn seq_of(db: &Connection, id: BatchId) -> Result<i64> {
    Ok(db
        .prepare_cached("SELECT seq FROM batches WHERE id = ?1")?
        .query_row([id.to_string()], |row| row.get(0))?)
}

/// Returns the batch that an integer of the large tables stands for; none if its tombstone was removed.
pub(super) fn id_of_seq(db: &Connection, seq: i64) -> Result<Option<BatchId>> {
    Ok(db
        .prepare_cached("SELECT id FROM batches WHERE seq = ?1")?
        .query_row([seq], id_of)
        .optional()?)
}

fn read(db: &Connection, id: BatchId) -> Result<Option<Batch>> {
    let mut query = db.prepare_cached("SELECT doc FROM batches WHERE id = ?1")?;
    let doc: Option<String> = query
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    doc.map(|doc| from_json("a batch", &doc)).transpose()
}

/// Applies a change to a batch, if its status allows it.
fn change(db: &Transaction<'_>, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>> {
    let Some(batch) = read(db, id)? else {
        return Ok(Changed::Missing);
    };
    let next = match batch.after(change) {
        Ok(next) => next,
        Err(refused) => return Ok(Changed::Refused(refused)),
    };
    if next.receipt.is_none() && next.purges >= PURGES {
        // It was never visible and has no rows in other tables.
        db.prepare_cached("DELETE FROM batches WHERE id = ?1")?
            .execute([id.to_string()])?;
        return Ok(Changed::Done(next));
    }
    db.prepare_cached(
        "UPDATE batches SET status = ?2, fence = ?3, published_token = ?4, checked_at = ?5, deleted_at = ?6, purges = ?7, doc = ?8, sealed = ?9,
                            first_event = ?10, last_event = ?11
         WHERE id = ?1",
    )?
    .execute(params![
        id.to_string(),
        next.status.as_str(),
        next.fence,
        next.published.as_ref().map(|p| p.token),
        next.checked_at.map_or(0, millis),
        next.deleted_at.map(millis),
        next.purges,
        to_json(&next)?,
        next.receipt.is_some(),
        next.event_time().map(|(first, _)| first),
        next.event_time().map(|(_, last)| last),
    ])?;
    let (before, after) = (batch.published.as_ref(), next.published.as_ref());
    day_sum::publish(db, seq_of(db, id)?, before, after)?;
    Ok(Changed::Done(next))
}

/// Returns the live batch with this content.
fn content_owner(db: &Connection, content: &[u8; 32]) -> Result<Option<BatchId>> {
    let mut query =
        db.prepare_cached("SELECT id FROM contents JOIN batches ON seq = batch WHERE digest = ?1 AND status NOT IN ('deleting', 'deleted')")?;
    Ok(query.query_row([content.as_slice()], id_of).optional()?)
}
