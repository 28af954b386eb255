//! The Lua scripts beside apalis: they bound the number of waiting nudges, and remove keys that apalis leaves behind.

use apalis_redis::Config;
use redis::{
    AsyncCommands, AsyncIter, ExistenceCheck, RedisError, Script, SetExpiry, aio::ConnectionManager,
};

use super::super::MAX_WAITING;
use crate::model::JobId;

/// Milliseconds for which a reservation counts; far longer than any caller waits for a push.
const PUSH_MILLIS: u32 = 2_000;
/// Milliseconds for which a pushed job counts as waiting. A job whose nudge is lost cannot be nudged for as long.
const WAITING_MILLIS: u32 = 10_000;
/// Done tasks removed by one script call, which blocks Redis.
const TRIM_PAGE: usize = 500;
/// Keys checked by one script call, which blocks Redis.
const KEY_PAGE: usize = 500;
/// Seconds between two searches of the whole Redis, by all processes together.
const SEARCH_SECONDS: u64 = 3_600;

/// The answer to a request to push a nudge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reservation {
    /// The nudge may be pushed.
    Granted,
    /// A nudge of the same job waits already.
    AlreadyWaiting,
    /// [`MAX_WAITING`] nudges wait.
    QueueFull,
}

/// The scripts and the names of their keys.
pub(super) struct QueueScripts {
    config: Config,
    waiting: String,
    pushing: String,
    /// The names of workers that have started and are not removed yet.
    started: String,
    /// Set while no search is due.
    searched: String,
    reserve: Script,
    pushed: Script,
    trim: Script,
    remove_worker: Script,
    remove_orphans: Script,
}

type Result<T> = std::result::Result<T, RedisError>;

impl QueueScripts {
    pub(super) fn new(config: Config) -> Self {
        Self {
            waiting: format!("{}:waiting", config.queue),
            pushing: format!("{}:pushing", config.queue),
            started: format!("{}:started", config.queue),
            searched: format!("{}:searched", config.queue),
            config,
            reserve: Script::new(include_str!("reserve.lua")),
            pushed: Script::new(include_str!("pushed.lua")),
            trim: Script::new(include_str!("trim.lua")),
            remove_worker: Script::new(include_str!("remove_worker.lua")),
            remove_orphans: Script::new(include_str!("remove_orphans.lua")),
        }
    }

    /// Reserves one of the [`MAX_WAITING`] slots for a nudge, under the id of this push.
    pub(super) async fn reserve(
        &self,
        redis: &mut ConnectionManager,
        job: JobId,
        push: &str,
    ) -> Result<Reservation> {
        let config = &self.config;
        let answer: i64 = self
            .reserve
            .key(config.scheduled_jobs_set())
            .key(config.active_jobs_list())
            .key(config.workers_set())
            .key(config.inflight_jobs_set())
            .key(&self.waiting)
            .key(&self.pushing)
            .arg(job.to_string())
            .arg(push)
            .arg(MAX_WAITING)
            .arg(PUSH_MILLIS)
            .invoke_async(redis)
            .await?;
        Ok(match answer {
            0 => Reservation::AlreadyWaiting,
            1 => Reservation::Granted,
            _ => Reservation::QueueFull,
        })
    }

    /// Records that a nudge was pushed.
    pub(super) async fn record_push(
        &self,
        redis: &mut ConnectionManager,
        job: JobId,
        push: &str,
    ) -> Result<()> {
        let mut script = self.pushed.key(&self.waiting);
        script.key(&self.pushing).arg(job.to_string()).arg(push);
        script.arg(WAITING_MILLIS).invoke_async(redis).await
    }

    /// Records that a worker received a nudge, so that its job may be nudged again.
    pub(super) async fn record_receipt(
        &self,
        redis: &mut ConnectionManager,
        job: JobId,
    ) -> Result<()> {
        redis.zrem(&self.waiting, job.to_string()).await
    }

    /// Removes done tasks.
    pub(super) async fn trim(&self, redis: &mut ConnectionManager) -> Result<()> {
        let config = &self.config;
        loop {
            let removed: usize = self
                .trim
                .key(config.done_jobs_set())
                .key(config.dead_jobs_set())
                .key(config.job_data_hash())
                .key(config.job_meta_hash())
                .arg(TRIM_PAGE)
                .invoke_async(redis)
                .await?;
            if removed < TRIM_PAGE {
                return Ok(());
            }
        }
    }

    /// Records a worker, so that its keys are found if its process is killed.
    pub(super) async fn record_worker(
        &self,
        redis: &mut ConnectionManager,
        worker: &str,
    ) -> Result<()> {
        redis.sadd(&self.started, worker).await
    }

    /// Removes an ended worker and the nudges that it had fetched.
    pub(super) async fn remove_worker(
        &self,
        redis: &mut ConnectionManager,
        worker: &str,
    ) -> Result<()> {
        let config = &self.config;
        let mut script = self.remove_worker.key(config.workers_set());
        script
            .key(format!("{}:{worker}", config.inflight_jobs_set()))
            .key(self.worker_metadata(worker))
            .key(config.job_data_hash())
            .key(config.job_meta_hash())
            .key(&self.waiting)
            .arg(worker);
        let () = script.invoke_async(redis).await?;
        redis.srem(&self.started, worker).await
    }

    /// Returns the time of a worker's last heartbeat by its own clock; `None` if Redis does not know the worker.
    pub(super) async fn last_heartbeat(
        &self,
        redis: &mut ConnectionManager,
        worker: &str,
    ) -> Result<Option<f64>> {
        redis.zscore(self.config.workers_set(), worker).await
    }

    fn worker_metadata(&self, worker: &str) -> String {
        format!("{}:metadata:{worker}", self.config.workers_set())
    }

    /// Removes the orphaned keys of killed processes; returns their number. The keys of workers are known by name. Others,
    /// which only a process killed between two commands leaves, are searched for in the whole Redis, but rarely.
    pub(super) async fn remove_orphans(&self, redis: &mut ConnectionManager) -> Result<usize> {
        let removed = self.remove_ended_workers(redis).await?;
        let options = redis::SetOptions::default()
            .conditional_set(ExistenceCheck::NX)
            .with_expiration(SetExpiry::EX(SEARCH_SECONDS));
        let is_due: bool = redis.set_options(&self.searched, 1, options).await?;
        Ok(removed
            + if is_due {
                self.search_orphans(redis).await?
            } else {
                0
            })
    }

    /// Removes the keys of workers that Redis no longer lists.
    async fn remove_ended_workers(&self, redis: &mut ConnectionManager) -> Result<usize> {
        let (config, mut removed) = (&self.config, 0);
        let started: Vec<String> = redis.smembers(&self.started).await?;
        for worker in started {
            let listed: Option<f64> = redis.zscore(config.workers_set(), &worker).await?;
            if listed.is_none() {
                let keys = [
                    format!("{}:{worker}", config.inflight_jobs_set()),
                    self.worker_metadata(&worker),
                ];
                removed += self.remove_if_orphaned(redis, &keys).await?;
                let () = redis.srem(&self.started, &worker).await?;
            }
        }
        Ok(removed)
    }

    async fn search_orphans(&self, redis: &mut ConnectionManager) -> Result<usize> {
        let mut scanned = redis.clone();
        let pattern = format!("{}:*", self.config.queue);
        let options = redis::ScanOptions::default()
            .with_pattern(pattern)
            .with_count(KEY_PAGE);
        let mut keys: AsyncIter<'_, String> = scanned.scan_options(options).await?;
        let (mut page, mut removed) = (Vec::with_capacity(KEY_PAGE), 0);
        loop {
            let key = keys.next_item().await.transpose()?;
            let is_last = key.is_none();
            page.extend(key);
            if page.len() == KEY_PAGE || is_last && !page.is_empty() {
                removed += self.remove_if_orphaned(redis, &page).await?;
                page.clear();
            }
            if is_last {
                return Ok(removed);
            }
        }
    }

    /// Removes those of the given keys that belong to no worker and no task.
    async fn remove_if_orphaned(
        &self,
        redis: &mut ConnectionManager,
        keys: &[String],
    ) -> Result<usize> {
        let config = &self.config;
        let mut script = self.remove_orphans.key(config.workers_set());
        script
            .key(config.job_data_hash())
            .key(keys)
            .arg(format!("{}:metadata", config.workers_set()))
            .arg(config.inflight_jobs_set())
            .arg(config.job_meta_hash());
        script.invoke_async(redis).await
    }
}
