//! Partials and days: a row each, and a row per day and event type. For the fold of a day see [`super::day_sum`].

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::DateTime;
use rusqlite::{OptionalExtension, params};

use super::{EmbeddedStore, batch::seq_of, corrupt, day_sum, millis};
use crate::{
    metric::{DayFigures, Group, Partial},
    model::{BatchId, Day, Instant},
    store::{DayState, MetricStore, Result, StoreError, StoredDay, TypeFigure},
};

/// Rows deleted in one transaction: a short one does not delay leases and seals.
const DROP_ROWS: usize = 1_000;

#[async_trait]
impl MetricStore for EmbeddedStore {
    async fn put_partials(&self, id: BatchId, token: i64, groups: &[Group]) -> Result<()> {
        let groups: Vec<_> = groups
            .iter()
            .map(|g| (g.day, g.event_type.clone(), g.partial.to_bytes()))
            .collect();
        self.db
            .write(move |db| {
                let batch = seq_of(db, id)?;
                let mut put = db.prepare_cached("INSERT OR REPLACE INTO partials (day, batch, token, event_type, data) VALUES (?1, ?2, ?3, ?4, ?5)")?;
                for (day, event_type, data) in &groups {
                    put.execute(params![day.0, batch, token, event_type, data])?;
                }
                Ok(())
            })
            .await
    }

    async fn partials(
        &self,
        id: BatchId,
        token: i64,
        after: Option<(Day, &str)>,
        limit: usize,
    ) -> Result<Vec<Group>> {
        // No type sorts before the empty one.
        let (day, event_type) = after.map_or((i32::MIN, String::new()), |(day, event_type)| {
            (day.0, event_type.to_owned())
        });
        self.db
            .read(move |db| {
                let batch = seq_of(db, id)?;
                let mut query = db.prepare_cached(
                    "SELECT day, event_type, data FROM partials
                     WHERE batch = ?1 AND token = ?2 AND (day, event_type) > (?3, ?4) ORDER BY day, event_type LIMIT ?5",
                )?;
                let mut rows = query.query(params![batch, token, day, event_type, limit])?;
                let mut groups = Vec::new();
                while let Some(row) = rows.next()? {
                    groups.push(Group { day: Day(row.get(0)?), event_type: row.get(1)?, partial: partial(&row.get::<_, Vec<u8>>(2)?)? });
                }
                Ok(groups)
            })
            .await
    }

    async fn drop_stale_partials(&self, id: BatchId) -> Result<bool> {
        self.db
            .write(move |db| {
                // One statement reads fence and published token: between two reads the batch could publish.
                let removed = db
                    .prepare_cached(
                        "DELETE FROM partials WHERE (day, batch, token, event_type) IN (
                           SELECT p.day, p.batch, p.token, p.event_type FROM partials p JOIN batches b ON b.seq = p.batch
                           WHERE b.id = ?1 AND p.token < b.fence AND p.token IS NOT b.published_token LIMIT ?2)",
                    )?
                    .execute(params![id.to_string(), DROP_ROWS])?;
                let unpublished = "SELECT seq FROM batches WHERE id = ?1 AND published_token IS NULL";
                let unpublished = db.prepare_cached(unpublished)?.query_row([id.to_string()], |row| row.get(0)).optional()?;
                if let Some(batch) = unpublished {
                    day_sum::drop_sums(db, batch)?;
                }
                Ok(removed == DROP_ROWS)
            })
            .await
    }

    async fn mark_days(&self, days: &[Day]) -> Result<()> {
        let days = days.to_vec();
        self.db
            .write(move |db| {
                let mut mark =
                    db.prepare_cached("INSERT INTO days (day, wanted, computed) VALUES (?1, 1, 0) ON CONFLICT (day) DO UPDATE SET wanted = wanted + 1")?;
                for day in &days {
                    mark.execute([day.0])?;
                }
                Ok(())
            })
            .await
    }

    async fn day(&self, day: Day) -> Result<DayState> {
        self.db
            .read(move |db| {
                let mut query =
                    db.prepare_cached("SELECT wanted, computed FROM days WHERE day = ?1")?;
                let state = query
                    .query_row([day.0], |row| {
                        Ok(DayState {
                            wanted: row.get(0)?,
                            computed: row.get(1)?,
                        })
                    })
                    .optional()?;
                Ok(state.unwrap_or_default())
            })
            .await
    }

    async fn fold_day(&self, day: Day) -> Result<DayFigures> {
        let size = self.span_size();
        let (figures, sums) = self.db.read(move |db| day_sum::fold(db, day, size)).await?;
        if !sums.is_empty() {
            self.db
                .write(move |db| day_sum::keep(db, day, &sums))
                .await?;
        }
        Ok(figures)
    }

    async fn replace_day(
        &self,
        day: Day,
        computed: i64,
        at: Instant,
        figures: &DayFigures,
    ) -> Result<bool> {
        let total = (!figures.types.is_empty()).then(|| figures.total().to_bytes());
        let types: Vec<_> = figures
            .types
            .iter()
            .map(|(name, partial)| (name.clone(), partial.to_bytes()))
            .collect();
        self.db
            .write(move |db| {
                let newer = db
                    .prepare_cached("UPDATE days SET computed = ?2, computed_at = ?3, total = ?4 WHERE day = ?1 AND computed < ?2")?
                    .execute(params![day.0, computed, millis(at), total])?;
                if newer == 0 {
                    return Ok(false);
                }
                db.prepare_cached("DELETE FROM day_types WHERE day = ?1")?.execute([day.0])?;
                let mut put = db.prepare_cached("INSERT INTO day_types (day, event_type, data) VALUES (?1, ?2, ?3)")?;
                for (event_type, data) in &types {
                    put.execute(params![day.0, event_type, data])?;
                }
                Ok(true)
            })
            .await
    }

    async fn days(
        &self,
        from: Day,
        to: Day,
        event_type: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDay>> {
        let event_type = event_type.map(str::to_owned);
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(
                    "SELECT d.day, d.wanted > d.computed, d.computed_at, d.total, t.event_type, t.data
                     FROM days d JOIN day_types t ON t.day = d.day
                     WHERE d.day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR t.event_type = ?3)
                       AND d.day IN (SELECT m.day FROM days m WHERE m.day BETWEEN ?1 AND ?2 AND m.total IS NOT NULL
                         AND (?3 IS NULL OR EXISTS (SELECT 1 FROM day_types e WHERE e.day = m.day AND e.event_type = ?3))
                         ORDER BY m.day LIMIT ?4)
                     ORDER BY d.day, t.event_type",
                )?;
                let mut rows = query.query(params![from.0, to.0, event_type, limit])?;
                let mut days: BTreeMap<Day, StoredDay> = BTreeMap::new();
                while let Some(row) = rows.next()? {
                    let day = Day(row.get(0)?);
                    let stored = match days.entry(day) {
                        std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                        std::collections::btree_map::Entry::Vacant(new) => new.insert(StoredDay {
                            day,
                            stale: row.get(1)?,
                            computed_at: DateTime::from_timestamp_millis(row.get(2)?).unwrap_or_default(),
                            total: partial(row.get_ref(3)?.as_blob().unwrap_or_default())?,
                            types: Vec::new(),
                        }),
                    };
                    let of_type = partial(row.get_ref(5)?.as_blob().unwrap_or_default())?;
                    stored.types.push(TypeFigure { event_type: row.get(4)?, count: of_type.count, unique_users: of_type.users.estimate() });
                    if event_type.is_some() {
                        stored.total = of_type;
                    }
                }
                Ok(days.into_values().collect())
            })
            .await
    }

    async fn stale_days(&self, after: Option<Day>, limit: usize) -> Result<Vec<Day>> {
        let after = after.map_or(i32::MIN, |day| day.0);
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached("SELECT day FROM days WHERE wanted > computed AND day > ?1 ORDER BY day LIMIT ?2")?;
                let days = query.query_map(params![after, limit], |row| Ok(Day(row.get(0)?)))?.collect::<rusqlite::Result<_>>()?;
                Ok(days)
            })
            .await
    }
}

pub(super) fn partial(bytes: &[u8]) -> std::result::Result<Partial, StoreError> {
    Partial::from_bytes(bytes).map_err(|why| corrupt("a partial", &why))
}
