//! The limit as all processes count it together: one atomic script on Redis' own clock.
//! While Redis is away each process counts on its own, so a client may do as much at each.

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use redis::{RedisError, Script};

use super::{Off, RateLimit, Wait, in_process, subnet};
use crate::{
    clock::Clock,
    link::{Address, Cause, Link},
};

/// Longest wait of an upload for its count.
const PATIENCE: Duration = Duration::from_millis(250);
/// Begins the key of every client.
const KEYS: &str = "uploads";

/// A limit that many processes share.
struct Shared {
    space: String,
    link: Link,
    take: Script,
    limit: u32,
    act: Duration,
    alone: Box<dyn RateLimit>,
}

/// `limit` acts per `window` and client, over all processes that use this Redis; 0 = no limit.
///
/// # Errors
/// [`RedisError`] if a connection can't even be prepared.
pub fn in_redis(
    limit: u32,
    window: Duration,
    redis: Address,
    clock: Arc<dyn Clock>,
) -> Result<Box<dyn RateLimit>, RedisError> {
    if limit == 0 {
        return Ok(Box::new(Off));
    }
    let without = "uploads are counted by each process on its own";
    Ok(Box::new(Shared {
        space: redis.space().into(),
        link: Link::new(redis, clock, without)?,
        take: Script::new(include_str!("take.lua")),
        limit,
        act: window / limit,
        alone: in_process(limit, window),
    }))
}

impl Shared {
    async fn wait(&self, client: IpAddr) -> Option<Duration> {
        let act = u64::try_from(self.act.as_micros()).unwrap_or(u64::MAX);
        let counted = self.link.call(PATIENCE, async |mut connection| {
            self.take
                .key(format!("{}:{KEYS}:{}", self.space, subnet(client)))
                .arg(act)
                .arg(self.limit)
                .invoke_async::<u64>(&mut connection)
                .await
                .map_err(Cause::from)
        });
        counted.await.ok().map(Duration::from_micros)
    }
}

#[async_trait]
impl RateLimit for Shared {
    async fn check(&self, client: IpAddr) -> Result<(), Wait> {
        match self.wait(client).await {
            Some(Duration::ZERO) => Ok(()),
            Some(wait) => Err(Wait(wait)),
            // The link says in the log that Redis is away, once.
            None => self.alone.check(client).await,
        }
    }
}
