//! Opens what is in Redis if `REDIS_URL` is set, and in this process if not: the queue and the upload limit.

use std::sync::Arc;

use super::{AppError, host_name};
use crate::{
    clock::Clock,
    config::Config,
    job::{
        Dispatch,
        apalis::{self, WorkerPool},
    },
    limit::{self, RateLimit},
    redis_client::RedisAddress,
    store::Backend,
};

/// The sending half of the queue, and the Redis that it may be in.
pub(super) struct QueueAccess {
    pub(super) dispatch: Arc<dyn Dispatch>,
    pub(super) redis: Option<RedisAddress>,
}

/// Parses `REDIS_URL`, if it is set.
pub(super) fn address(config: &Config) -> Result<Option<RedisAddress>, AppError> {
    let url = config.redis_url.as_ref();
    url.map(|url| RedisAddress::parse(url.expose()))
        .transpose()
        .map_err(|why| AppError::Setting(format!("REDIS_URL can't be used: {why}")))
}

/// Returns both halves of the queue.
pub(super) fn queue(
    redis: Option<&RedisAddress>,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn Dispatch>, WorkerPool), AppError> {
    match redis {
        Some(address) => {
            apalis::redis(address.clone(), clock.clone(), worker_prefix(clock)).map_err(unusable)
        }
        None => Ok(apalis::in_process()),
    }
}

fn unusable(why: impl std::fmt::Display) -> AppError {
    AppError::Setting(format!("REDIS_URL can't be used: {why}"))
}

/// Returns the upload limit of each client.
pub(super) fn upload_limit(
    config: &Config,
    redis: Option<RedisAddress>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn RateLimit>, AppError> {
    let (limit, window) = (config.upload_limit, config.upload_window);
    Ok(match redis {
        Some(address) => limit::in_redis(limit, window, address, clock.clone())
            .map_err(unusable)?
            .into(),
        None => limit_in_process(limit, config),
    })
}

/// Returns a limit per window that each process counts on its own: a Redis would be asked for each append.
pub(super) fn limit_in_process(limit: u32, config: &Config) -> Arc<dyn RateLimit> {
    limit::in_process(limit, config.upload_window).into()
}

/// Returns the prefix of the names of this start's workers; no other start of any process has the same.
fn worker_prefix(clock: &Arc<dyn Clock>) -> String {
    let (host, pid) = (host_name(), std::process::id());
    format!("{host}-{pid}-{}", clock.now().timestamp_millis())
}

/// Logs the kinds of store and queue and the data directory, without passwords.
pub(super) fn log_backends(
    config: &Config,
    backend: &dyn Backend,
    dispatch: &Arc<dyn Dispatch>,
    redis: Option<&RedisAddress>,
) {
    let (store, queue) = (backend.kind(), dispatch.kind());
    let at = redis.map(|address| format!(" at {address}"));
    let at = at.unwrap_or_default();
    let data_dir = std::path::absolute(&config.data_dir);
    let data_dir = data_dir.unwrap_or_else(|_| config.data_dir.clone());
    tracing::info!(store, queue, data_dir = %data_dir.display(), "store: {store}; queue: {queue}{at}");
}
