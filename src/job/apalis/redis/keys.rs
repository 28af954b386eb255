//! What stands in Redis besides apalis' own doing: room for nudges, and the removal of what apalis leaves behind.

use apalis_redis::Config;
use redis::{AsyncCommands, AsyncIter, RedisError, Script, aio::ConnectionManager};

use super::super::WAITING;
use crate::model::JobId;

/// Milliseconds that a push may take; one that comes later is counted late, which is far longer than anybody waits for it.
const PUSH: u32 = 2_000;
/// Milliseconds for which a job counts as waiting: so long is one late whose nudge got lost on the way.
const WAITS: u32 = 10_000;
/// Done tasks forgotten in one step, so that no step holds others up.
const TRIMMED: usize = 500;
/// Keys looked at in one step.
const PAGE: usize = 500;

/// What may be done about a nudge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Push it.
    Push,
    /// Its job waits already.
    Waits,
    /// As many wait as may.
    Full,
}

/// The scripts, and the keys that they touch.
pub(super) struct Keys {
    config: Config,
    waiting: String,
    pushing: String,
    reserve: Script,
    pushed: Script,
    trim: Script,
    leave: Script,
    leftovers: Script,
}

type Result<T> = std::result::Result<T, RedisError>;

impl Keys {
    pub(super) fn new(config: Config) -> Self {
        Self {
            waiting: format!("{}:waiting", config.queue),
            pushing: format!("{}:pushing", config.queue),
            config,
            reserve: Script::new(include_str!("reserve.lua")),
            pushed: Script::new(include_str!("pushed.lua")),
            trim: Script::new(include_str!("trim.lua")),
            leave: Script::new(include_str!("leave.lua")),
            leftovers: Script::new(include_str!("leftovers.lua")),
        }
    }

    /// Asks for room for a nudge under the name of this push.
    pub(super) async fn reserve(
        &self,
        redis: &mut ConnectionManager,
        job: JobId,
        push: &str,
    ) -> Result<Room> {
        let config = &self.config;
        let room: i64 = self
            .reserve
            .key(config.scheduled_jobs_set())
            .key(config.active_jobs_list())
            .key(config.workers_set())
            .key(config.inflight_jobs_set())
            .key(&self.waiting)
            .key(&self.pushing)
            .arg(job.to_string())
            .arg(push)
            .arg(WAITING)
            .arg(PUSH)
            .invoke_async(redis)
            .await?;
        Ok(match room {
            0 => Room::Waits,
            1 => Room::Push,
            _ => Room::Full,
        })
    }

    /// Notes that a nudge was pushed.
    pub(super) async fn pushed(
        &self,
        redis: &mut ConnectionManager,
        job: JobId,
        push: &str,
    ) -> Result<()> {
        let mut script = self.pushed.key(&self.waiting);
        script.key(&self.pushing).arg(job.to_string()).arg(push);
        script.arg(WAITS).invoke_async(redis).await
    }

    /// Notes that a nudge was taken: the next one about this job is news.
    pub(super) async fn taken(&self, redis: &mut ConnectionManager, job: JobId) -> Result<()> {
        redis.zrem(&self.waiting, job.to_string()).await
    }

    /// Forgets what is done.
    pub(super) async fn trim(&self, redis: &mut ConnectionManager) -> Result<()> {
        let config = &self.config;
        loop {
            let forgotten: usize = self
                .trim
                .key(config.done_jobs_set())
                .key(config.dead_jobs_set())
                .key(config.job_data_hash())
                .key(config.job_meta_hash())
                .arg(TRIMMED)
                .invoke_async(redis)
                .await?;
            if forgotten < TRIMMED {
                return Ok(());
            }
        }
    }

    /// Forgets a worker that ended.
    pub(super) async fn leave(&self, redis: &mut ConnectionManager, worker: &str) -> Result<()> {
        let config = &self.config;
        let mut script = self.leave.key(config.workers_set());
        script
            .key(format!("{}:{worker}", config.inflight_jobs_set()))
            .key(self.worker_metadata(worker))
            .key(config.job_data_hash())
            .key(config.job_meta_hash())
            .key(&self.waiting)
            .arg(worker);
        script.invoke_async(redis).await
    }

    /// When a worker last gave a sign of life, by its own clock; none if it is not known.
    pub(super) async fn sign(
        &self,
        redis: &mut ConnectionManager,
        worker: &str,
    ) -> Result<Option<f64>> {
        redis.zscore(self.config.workers_set(), worker).await
    }

    fn worker_metadata(&self, worker: &str) -> String {
        format!("{}:metadata:{worker}", self.config.workers_set())
    }

    /// Forgets what processes left behind that were killed; returns how many keys that were.
    pub(super) async fn leftovers(&self, redis: &mut ConnectionManager) -> Result<usize> {
        let config = &self.config;
        let mut scanned = redis.clone();
        let pattern = format!("{}:*", config.queue);
        let options = redis::ScanOptions::default()
            .with_pattern(pattern)
            .with_count(PAGE);
        let mut keys: AsyncIter<'_, String> = scanned.scan_options(options).await?;
        let (mut page, mut all) = (Vec::with_capacity(PAGE), 0);
        loop {
            let key = keys.next_item().await.transpose()?;
            let last = key.is_none();
            page.extend(key);
            if page.len() == PAGE || last && !page.is_empty() {
                let mut script = self.leftovers.key(config.workers_set());
                script
                    .key(config.job_data_hash())
                    .key(&page)
                    .arg(format!("{}:metadata", config.workers_set()))
                    .arg(config.inflight_jobs_set())
                    .arg(config.job_meta_hash());
                all += script.invoke_async::<usize>(redis).await?;
                page.clear();
            }
            if last {
                return Ok(all);
            }
        }
    }
}
