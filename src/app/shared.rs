//! What is in Redis if there is one, and in this process if not: the queue and the upload limit.

use std::sync::Arc;

use super::{AppError, host_name};
use crate::{
    clock::Clock,
    config::Config,
    job::{
        Dispatch,
        apalis::{self, Queue},
    },
    limit::{self, RateLimit},
    link::Address,
    store::Opened,
};

/// The way to the workers.
pub(super) struct Way {
    pub(super) dispatch: Arc<dyn Dispatch>,
    pub(super) redis: Option<Address>,
}

/// Where Redis is, if there is one.
pub(super) fn address(config: &Config) -> Result<Option<Address>, AppError> {
    let url = config.redis_url.as_ref();
    url.map(|url| Address::parse(url.expose()))
        .transpose()
        .map_err(|why| AppError::Setting(format!("REDIS_URL can't be used: {why}")))
}

/// The queue that all processes share, or that of this one.
pub(super) fn queue(
    redis: Option<&Address>,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<dyn Dispatch>, Queue), AppError> {
    match redis {
        Some(address) => {
            apalis::redis(address.clone(), clock.clone(), start_name(clock)).map_err(unprepared)
        }
        None => Ok(apalis::in_process()),
    }
}

fn unprepared(why: impl std::fmt::Display) -> AppError {
    AppError::Setting(format!("REDIS_URL can't be used: {why}"))
}

/// The limit that all processes share, or that of this one.
pub(super) fn upload_limit(
    config: &Config,
    redis: Option<Address>,
    clock: &Arc<dyn Clock>,
) -> Result<Arc<dyn RateLimit>, AppError> {
    let (limit, window) = (config.upload_limit, config.upload_window);
    Ok(match redis {
        Some(address) => limit::in_redis(limit, window, address, clock.clone())
            .map_err(unprepared)?
            .into(),
        None => limit::in_process(limit, window).into(),
    })
}

/// Begins the names of the workers of this start; no other start of any process has it.
fn start_name(clock: &Arc<dyn Clock>) -> String {
    let (host, pid) = (host_name(), std::process::id());
    format!("{host}-{pid}-{}", clock.now().timestamp_millis())
}

/// Says in the log what the service stands on, without passwords.
pub(super) fn say_which(store: &Opened, dispatch: &Arc<dyn Dispatch>, redis: Option<&Address>) {
    let (store, queue) = (store.kind(), dispatch.kind());
    let at = redis.map(|address| format!(" at {address}"));
    let at = at.unwrap_or_default();
    tracing::info!(store, queue, "store: {store}; queue: {queue}{at}");
}
