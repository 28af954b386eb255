//! The fold of a day: the published runs on it, and the kept sums of spans of them.

use rusqlite::{Connection, Transaction, params};

use super::{corrupt, metric::partial};
use crate::{
    metric::{
        DayFigures, Fingerprint, FoldStep, KeptSums, Member, SpanFold, SpanKey, SpanSize, SpanSum,
    },
    model::{Day, Published},
    store::Result,
};

/// Replaces the days of a batch when other figures of it are published, or none.
pub(super) fn publish(
    db: &Transaction<'_>,
    batch: i64,
    before: Option<&Published>,
    after: Option<&Published>,
) -> Result<()> {
    if before.map(|p| p.token) == after.map(|p| p.token) {
        return Ok(());
    }
    let mut remove = db.prepare_cached("DELETE FROM day_batches WHERE day = ?1 AND batch = ?2")?;
    for day in before.iter().flat_map(|published| &published.days) {
        remove.execute(params![day.0, batch])?;
    }
    let mut add =
        db.prepare_cached("INSERT INTO day_batches (day, batch, token) VALUES (?1, ?2, ?3)")?;
    if let Some(published) = after {
        for day in &published.days {
            add.execute(params![day.0, batch, published.token])?;
        }
    }
    Ok(())
}

/// Folds the published partials of a day. Returns sums to be kept, too.
pub(super) fn fold(
    db: &Connection,
    day: Day,
    size: SpanSize,
) -> Result<(DayFigures, Vec<SpanSum>)> {
    let members = members(db, day)?;
    let kept = kept_sums(db, day)?;
    fold_members(db, day, &size.steps(&members, &kept)).or_else(|why| {
        if kept.is_empty() {
            return Err(why);
        }
        // A sum can be made again, unlike the partials.
        tracing::warn!(%day, error = %why, "the kept sums of {day} could not be read, they are computed again");
        fold_members(db, day, &size.steps(&members, &KeptSums::new()))
    })
}

fn fold_members(
    db: &Connection,
    day: Day,
    steps: &[FoldStep<'_>],
) -> Result<(DayFigures, Vec<SpanSum>)> {
    let mut partials = db.prepare_cached(
        "SELECT event_type, data FROM partials WHERE day = ?1 AND batch = ?2 AND token = ?3",
    )?;
    let mut sum = db.prepare_cached(
        "SELECT event_type, data FROM day_sum_types WHERE day = ?1 AND level = ?2 AND last = ?3",
    )?;
    let mut fold = SpanFold::default();
    for step in steps {
        match step {
            FoldStep::Members(members) => {
                for member in *members {
                    let rows = partials.query(params![day.0, seq(member.batch)?, member.token])?;
                    add_rows(rows, &mut fold)?;
                }
            }
            FoldStep::Sum(SpanKey { level, last }, _) => {
                add_rows(sum.query(params![day.0, level, seq(*last)?])?, &mut fold)?;
            }
            FoldStep::Begin => fold.begin(),
            FoldStep::End(key, fingerprint) => fold.end(*key, *fingerprint),
        }
    }
    Ok(fold.finish())
}

fn add_rows(mut rows: rusqlite::Rows<'_>, fold: &mut SpanFold) -> Result<()> {
    while let Some(row) = rows.next()? {
        fold.add(
            row.get_ref(0)?.as_str().unwrap_or_default(),
            &partial(row.get_ref(1)?.as_blob().unwrap_or_default())?,
        );
    }
    Ok(())
}

/// Keeps sums.
pub(super) fn keep(db: &Transaction<'_>, day: Day, sums: &[SpanSum]) -> Result<()> {
    let mut put = db.prepare_cached(
        "INSERT OR REPLACE INTO day_sums (day, level, last, fingerprint) VALUES (?1, ?2, ?3, ?4)",
    )?;
    let mut clear =
        db.prepare_cached("DELETE FROM day_sum_types WHERE day = ?1 AND level = ?2 AND last = ?3")?;
    let mut put_type = db.prepare_cached("INSERT INTO day_sum_types (day, level, last, event_type, data) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for sum in sums {
        let SpanKey { level, last } = sum.key;
        let last = seq(last)?;
        put.execute(params![day.0, level, last, sum.fingerprint.to_be_bytes()])?;
        clear.execute(params![day.0, level, last])?;
        for (event_type, partial) in &sum.figures.types {
            put_type.execute(params![day.0, level, last, event_type, partial.to_bytes()])?;
        }
    }
    Ok(())
}

/// Deletes the sums of spans that end after a batch which is no longer published.
pub(super) fn drop_sums(db: &Transaction<'_>, batch: i64) -> Result<()> {
    db.prepare_cached(
        "DELETE FROM day_sum_types WHERE (day, level, last) IN (SELECT day, level, last FROM day_sums WHERE last = ?1)",
    )?
    .execute([batch])?;
    db.prepare_cached("DELETE FROM day_sums WHERE last = ?1")?
        .execute([batch])?;
    Ok(())
}

/// Returns the published runs with events on a day, by batch.
fn members(db: &Connection, day: Day) -> Result<Vec<Member>> {
    let mut query =
        db.prepare_cached("SELECT batch, token FROM day_batches WHERE day = ?1 ORDER BY batch")?;
    let members = query.query_map([day.0], |row| {
        Ok(Member {
            batch: u128::from(row.get::<_, u64>(0)?),
            token: row.get(1)?,
        })
    })?;
    Ok(members.collect::<rusqlite::Result<_>>()?)
}

fn kept_sums(db: &Connection, day: Day) -> Result<KeptSums> {
    let mut query =
        db.prepare_cached("SELECT level, last, fingerprint FROM day_sums WHERE day = ?1")?;
    let sums = query.query_map([day.0], |row| {
        let key = SpanKey {
            level: row.get(0)?,
            last: u128::from(row.get::<_, u64>(1)?),
        };
        Ok((key, Fingerprint::from_be_bytes(row.get(2)?)))
    })?;
    Ok(sums.collect::<rusqlite::Result<_>>()?)
}

/// Returns the integer that stands for a batch in the tables.
fn seq(batch: u128) -> Result<i64> {
    i64::try_from(batch).map_err(|why| corrupt("the number of a batch", &why))
}
