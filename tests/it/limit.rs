//! The upload rate limit: shared by processes in Redis, and counted by each process while Redis is unavailable.

use std::{net::IpAddr, sync::Arc, time::Duration};

use redis::AsyncCommands;
use tallymill::{
    clock::System,
    limit::{self, RateLimit, RetryAfter},
    redis_client::RedisAddress,
};

use crate::helpers::{process::eventually, servers::Redis};

const WINDOW: Duration = Duration::from_secs(60);

fn shared(redis: &Redis, limit: u32, window: Duration) -> Box<dyn RateLimit> {
    let address = RedisAddress::parse(&redis.url()).expect("an address");
    limit::in_redis(limit, window, address, Arc::new(System::start())).expect("prepared")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn accepted(limit: &dyn RateLimit, client: &str, tries: usize) -> usize {
    let mut accepted = 0;
    for _ in 0..tries {
        accepted += usize::from(limit.check(ip(client)).await.is_ok());
    }
    accepted
}

#[tokio::test]
async fn processes_share_one_count_and_report_the_time_to_wait() {
    let redis = Redis::start().await;
    let (one, other) = (shared(&redis, 10, WINDOW), shared(&redis, 10, WINDOW));
    assert_eq!(accepted(one.as_ref(), "192.0.2.1", 6).await, 6);
    assert_eq!(accepted(other.as_ref(), "192.0.2.1", 6).await, 4);
    let Err(RetryAfter(wait)) = one.check(ip("192.0.2.1")).await else {
        panic!("the eleventh");
    };
    let (least, most) = (Duration::from_secs(3), Duration::from_secs(6));
    assert!(wait > least && wait <= most, "{wait:?}");
    assert_eq!(accepted(other.as_ref(), "192.0.2.2", 11).await, 10);
    assert_eq!(accepted(one.as_ref(), "2001:db8:0:7::1", 6).await, 6);
    assert_eq!(accepted(other.as_ref(), "2001:db8:0:7:9::9", 6).await, 4);
}

#[tokio::test]
async fn concurrent_clients_stay_within_the_limit() {
    let redis = Redis::start().await;
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let limit = shared(&redis, 10, WINDOW);
        clients.spawn(async move { accepted(limit.as_ref(), "192.0.2.1", 5).await });
    }
    assert_eq!(clients.join_all().await.into_iter().sum::<usize>(), 10);
}

#[tokio::test]
async fn counts_refill_and_their_keys_expire() {
    let redis = Redis::start().await;
    let limit = shared(&redis, 2, Duration::from_secs(1));
    assert_eq!(accepted(limit.as_ref(), "192.0.2.1", 2).await, 2);
    let key = "tallymill:uploads:192.0.2.1";
    let left: i64 = redis.connection().await.pttl(key).await.expect("read");
    assert!((1..=1_000).contains(&left), "{left}");
    eventually("an accepted upload", async || {
        limit.check(ip("192.0.2.1")).await.ok()
    })
    .await;
    eventually("no key left", async || {
        redis.keys().await.is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn processes_count_alone_while_redis_is_unavailable() {
    let mut redis = Redis::start().await;
    let limit = shared(&redis, 3, WINDOW);
    assert_eq!(accepted(limit.as_ref(), "192.0.2.1", 4).await, 3);
    redis.stop();
    assert_eq!(accepted(limit.as_ref(), "192.0.2.1", 10).await, 3);
    redis.restart().await;
    eventually("a count in Redis", async || {
        let _ = limit.check(ip("192.0.2.9")).await;
        (!redis.keys().await.is_empty()).then_some(())
    })
    .await;
    let unlimited = shared(&redis, 0, WINDOW);
    assert_eq!(accepted(unlimited.as_ref(), "192.0.2.1", 100).await, 100);
}
