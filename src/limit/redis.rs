//! The limit shared by all processes: one atomic script by the clock of Redis.
//! While Redis is unavailable each process counts on its own, so a client has the limit at each.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{RedisError, Script};

use super::{RateLimit, RetryAfter, Unlimited, in_process, subnet};
use crate::{
    clock::Clock,
    redis_client::{Cause, RedisAddress, RedisClient},
};

/// Longest wait of an upload for its count.
const COUNT_TIMEOUT: Duration = Duration::from_millis(250);
/// The prefix of the key of every client, after the namespace.
const KEY_PREFIX: &str = "uploads";

/// A limit that all processes share.
struct RedisLimit {
    namespace: String,
    client: RedisClient,
    count: Script,
    limit: u32,
    /// The share of the window that one act takes.
    period: Duration,
    /// Counts while Redis is unavailable.
    fallback: Box<dyn RateLimit>,
}

/// Returns a limit of `limit` acts per `window` and client, over all processes that use this Redis; 0 is no limit.
///
/// # Errors
/// [`RedisError`] if a connection can't be prepared.
pub fn in_redis(
    limit: u32,
    window: Duration,
    redis: RedisAddress,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn RateLimit>, RedisError> {
    if limit == 0 {
        return Ok(Box::new(Unlimited));
    }
    let consequence = "uploads are counted by each process on its own";
    Ok(Box::new(RedisLimit {
        namespace: redis.namespace().into(),
        client: RedisClient::new(redis, clock, consequence)?,
        count: Script::new(include_str!("count.lua")),
        limit,
        period: window / limit,
        fallback: in_process(limit, window),
    }))
}

impl RedisLimit {
    /// Counts an act; returns how long the client has to wait, or `None` if Redis is unavailable.
    async fn count(&self, client: IpAddr) -> Option<Duration> {
        let period = u64::try_from(self.period.as_micros()).unwrap_or(u64::MAX);
        let count = async |mut connection| {
            self.count
                .key(format!(
                    "{}:{KEY_PREFIX}:{}",
                    self.namespace,
                    subnet(client)
                ))
                .arg(period)
                .arg(self.limit)
                .invoke_async::<u64>(&mut connection)
                .await
                .map_err(Cause::from)
        };
        // A client that has to wait is not counted, so nothing is stored.
        let wait = self.client.call(COUNT_TIMEOUT, count, |wait| *wait == 0);
        wait.await.ok().map(Duration::from_micros)
    }
}

#[async_trait]
impl RateLimit for RedisLimit {
    async fn check(&self, client: IpAddr) -> Result<(), RetryAfter> {
        match self.count(client).await {
            Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(RetryAfter(wait)),
            // The client logs the outage, once.
            None => self.fallback.check(client).await,
        }
    }
}
