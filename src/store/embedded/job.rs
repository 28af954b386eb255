//! Jobs: a JSON document each, with the searched columns beside it.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{ALL_ROWS, EmbeddedStore, corrupt, decoded, from_json, millis, to_json};
use crate::{
    model::{Instant, Job, JobChange, JobId, JobState},
    store::{Changed, JobStore, Result},
};

/// Rows deleted in one transaction: a short one does not delay leases and seals.
const PRUNE_ROWS: usize = 1_000;

#[async_trait]
impl JobStore for EmbeddedStore {
    async fn add_job(&self, id: JobId, now: Instant) -> Result<()> {
        self.db.write(move |db| add(db, id, now).map(drop)).await
    }

    async fn arm(&self, id: JobId, now: Instant) -> Result<Job> {
        self.db
            .write(move |db| match change(db, id, &JobChange::Arm, now)? {
                Changed::Done(job) => Ok(job),
                Changed::Refused(_) | Changed::Missing => add(db, id, now),
            })
            .await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.db.read(move |db| read(db, id)).await
    }

    async fn change_job(
        &self,
        id: JobId,
        change: &JobChange,
        now: Instant,
    ) -> Result<Changed<Job>> {
        let requested = change.clone();
        self.db
            .write(move |db| self::change(db, id, &requested, now))
            .await
    }

    async fn due_jobs(&self, now: Instant, limit: usize) -> Result<Vec<JobId>> {
        let undecodable = self.undecodable.clone();
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached("SELECT id FROM jobs WHERE state = 'queued' AND run_at <= ?1 ORDER BY run_at LIMIT ?2")?;
                let mut rows = query.query(params![millis(now), ALL_ROWS])?;
                let mut due = Vec::new();
                while due.len() < limit && let Some(row) = rows.next()? {
                    let id = row.get::<_, String>(0)?;
                    let job = id.parse::<JobId>().map_err(|why| corrupt("a job id", &why));
                    due.extend(undecodable.skip("jobs", &id, job));
                }
                Ok(due)
            })
            .await
    }

    async fn jobs_in(
        &self,
        state: JobState,
        after: Option<(Instant, JobId)>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        let (at, id) = after.map_or((i64::MAX, String::new()), |(at, id)| {
            (millis(at), id.to_string())
        });
        let undecodable = self.undecodable.clone();
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(
                    "SELECT id, doc FROM jobs WHERE state = ?1 AND (changed_at, id) < (?2, ?3) ORDER BY changed_at DESC, id DESC LIMIT ?4",
                )?;
                let mut rows = query.query(params![state.as_str(), at, id, ALL_ROWS])?;
                decoded(&mut rows, "jobs", limit, &undecodable)
            })
            .await
    }

    async fn count_jobs(&self, state: JobState) -> Result<u64> {
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached("SELECT count(*) FROM jobs WHERE state = ?1")?;
                Ok(query.query_row([state.as_str()], |row| row.get(0))?)
            })
            .await
    }

    async fn prune_jobs(&self, before: Instant) -> Result<bool> {
        self.db
            .write(move |db| {
                // Ids sort by their slots; `;` is the character after `:`.
                let removed = db
                    .prepare_cached(
                        "DELETE FROM jobs WHERE id IN (SELECT id FROM jobs WHERE kind IN ('cleanup', 'reprocess', 'retry')
                         AND state IN ('completed', 'cancelled', 'discarded') AND changed_at < ?1
                         AND id <> ifnull((SELECT max(id) FROM jobs WHERE id BETWEEN 'cleanup:' AND 'cleanup;'), '')
                         AND id <> ifnull((SELECT max(id) FROM jobs WHERE id BETWEEN 'reprocess:' AND 'reprocess;'), '')
                         LIMIT ?2)",
                    )?
                    .execute(params![millis(before), PRUNE_ROWS])?;
                Ok(removed == PRUNE_ROWS)
            })
            .await
    }
}

fn read(db: &Connection, id: JobId) -> Result<Option<Job>> {
    let mut query = db.prepare_cached("SELECT doc FROM jobs WHERE id = ?1")?;
    let doc: Option<String> = query
        .query_row([id.to_string()], |row| row.get(0))
        .optional()?;
    doc.map(|doc| from_json("a job", &doc)).transpose()
}

/// Adds a queued job if it is missing.
fn add(db: &Transaction<'_>, id: JobId, now: Instant) -> Result<Job> {
    let job = Job::armed(id, now);
    let sql = "INSERT INTO jobs (id, kind, state, run_at, changed_at, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING";
    db.prepare_cached(sql)?.execute(params![
        id.to_string(),
        id.kind().as_str(),
        job.state.as_str(),
        millis(job.run_at),
        millis(job.changed_at),
        to_json(&job)?
    ])?;
    Ok(job)
}

/// Applies a change to a job, if its state allows it.
fn change(
    db: &Transaction<'_>,
    id: JobId,
    change: &JobChange,
    now: Instant,
) -> Result<Changed<Job>> {
    let Some(job) = read(db, id)? else {
        return Ok(Changed::Missing);
    };
    let next = match job.after(change, now) {
        Ok(next) => next,
        Err(refused) => return Ok(Changed::Refused(refused)),
    };
    if next != job {
        db.prepare_cached(
            "UPDATE jobs SET state = ?2, run_at = ?3, changed_at = ?4, doc = ?5 WHERE id = ?1",
        )?
        .execute(params![
            id.to_string(),
            next.state.as_str(),
            millis(next.run_at),
            millis(next.changed_at),
            to_json(&next)?
        ])?;
    }
    Ok(Changed::Done(next))
}
