//! The queue in Redis while Redis is flushed, restarted, stalled or unavailable.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{AsyncCommands, aio::MultiplexedConnection};
use tallymill::{
    clock::System,
    job::{
        Dispatch,
        apalis::{self, MAX_WAITING, WorkerPool},
    },
    redis_client::RedisAddress,
};
use tokio::time::Instant;

use crate::helpers::{
    pool::{Pool, job},
    process::eventually,
    servers::Redis,
};

/// More than any test uses.
const ENOUGH: usize = 100_000;

/// Returns the queue of one process on a server.
pub(crate) fn open(redis: &Redis, name: &str) -> (Arc<dyn Dispatch>, WorkerPool) {
    let address = RedisAddress::parse(&redis.url()).expect("an address");
    apalis::redis(address, Arc::new(System::start()), name.into()).expect("prepared")
}

/// Returns the number of nudges in Redis.
async fn outstanding(redis: &mut MultiplexedConnection) -> usize {
    let inflight: Vec<String> = redis.keys("tallymill:jobs:inflight:*").await.expect("read");
    // In one step: between two looks a nudge goes from one key to the next.
    let mut sizes = redis::pipe();
    sizes.atomic();
    sizes.zcard("tallymill:jobs:scheduled");
    sizes.llen("tallymill:jobs:active");
    for set in inflight {
        sizes.scard(set);
    }
    let sizes: Vec<usize> = sizes.query_async(redis).await.expect("read");
    sizes.iter().sum()
}

#[tokio::test]
async fn a_flush_during_work_costs_no_job() {
    let redis = Redis::start().await;
    let (sender, queue) = open(&redis, "flushed");
    let pool = Pool::start(queue, 4, ENOUGH);
    for round in 0..5 {
        let jobs: Vec<_> = (round * 100..round * 100 + 100).map(job).collect();
        for job in &jobs {
            sender.nudge(*job).await.expect("taken");
        }
        redis.flush().await;
        pool.reconcile(sender.as_ref(), &jobs).await;
    }
    pool.end().await;
}

#[tokio::test]
async fn work_continues_after_a_restart_of_redis() {
    let mut redis = Redis::start().await;
    let (sender, queue) = open(&redis, "restarted");
    let pool = Pool::start(queue, 2, ENOUGH);
    for round in 0..3 {
        sender.nudge(job(round)).await.expect("taken");
        pool.until_ran(&[job(round)]).await;
        redis.stop();
        assert!(sender.nudge(job(100 + round)).await.is_err());
        assert!(!sender.answers().await);
        redis.restart().await;
        let back = Instant::now();
        pool.reconcile(sender.as_ref(), &[job(100 + round)]).await;
        assert!(back.elapsed() < Duration::from_secs(10));
        assert!(sender.answers().await);
    }
    pool.end().await;
}

#[tokio::test]
async fn a_short_stall_of_redis_ends_no_worker() {
    let redis = Redis::start().await;
    let (sender, queue) = open(&redis, "held-up");
    let pool = Pool::start(queue, 2, ENOUGH);
    sender.nudge(job(1)).await.expect("taken");
    pool.until_ran(&[job(1)]).await;
    redis.pause();
    // Not to wait for something, but because standing still is what is tested.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    redis.resume();
    pool.reconcile(sender.as_ref(), &[job(2)]).await;
    let mut look = redis.connection().await;
    let workers: Vec<String> = look
        .zrange("tallymill:jobs:workers", 0, -1)
        .await
        .expect("read");
    assert_eq!(workers, ["held-up-0"], "the first worker still");
    pool.end().await;
}

#[tokio::test]
async fn a_queue_starts_before_redis() {
    let mut redis = Redis::down();
    let (sender, queue) = open(&redis, "early");
    let pool = Pool::start(queue, 2, ENOUGH);
    assert!(sender.nudge(job(1)).await.is_err());
    assert!(!sender.answers().await);
    redis.restart().await;
    let back = Instant::now();
    pool.reconcile(sender.as_ref(), &[job(1)]).await;
    assert!(back.elapsed() < Duration::from_secs(10));
    pool.end().await;
}

#[tokio::test]
async fn nudges_fail_fast_while_redis_is_unavailable() {
    let mut redis = Redis::start().await;
    let (sender, _queue) = open(&redis, "away");
    sender.nudge(job(0)).await.expect("taken");
    for away in ["stalled", "killed"] {
        if away == "killed" {
            redis.resume();
            redis.stop();
        } else {
            redis.pause();
        }
        let begun = Instant::now();
        for n in 0..20 {
            let one = Instant::now();
            assert!(sender.nudge(job(n)).await.is_err(), "{away}");
            assert!(one.elapsed() < Duration::from_millis(450), "{away}");
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{away}");
        let asked = Instant::now();
        assert!(!sender.answers().await, "{away}");
        assert!(asked.elapsed() < Duration::from_secs(2), "{away}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_unavailable_over_rediss() {
    let redis = Redis::start().await;
    let url = redis.url().replace("redis://", "rediss://");
    let address = RedisAddress::parse(&url).expect("an address");
    let opened = apalis::redis(address, Arc::new(System::start()), "tls".into());
    let (sender, _) = opened.expect("prepared");
    assert!(!sender.answers().await);
    assert!(sender.nudge(job(1)).await.is_err());
}

#[tokio::test]
async fn a_backlog_of_twenty_thousand_jobs_is_completed() {
    let redis = Redis::start().await;
    let mut look = redis.connection().await;
    let keys = keys_after_one(&redis).await;
    let senders: Vec<_> = (0..4)
        .map(|n| open(&redis, &format!("api-{n}")).0)
        .collect();
    for n in 0..20_000 {
        let sender = &senders[n % senders.len()];
        sender.nudge(job(n as i64)).await.expect("taken or dropped");
        if n % 1_000 == 0 {
            assert!(outstanding(&mut look).await <= MAX_WAITING);
        }
    }
    assert_eq!(outstanding(&mut look).await, MAX_WAITING);
    let queues = ["worker-0", "worker-1"].map(|name| open(&redis, name).1);
    let pools = queues.map(|queue| Pool::start(queue, 4, ENOUGH));
    eventually("twenty thousand runs", async || {
        assert!(outstanding(&mut look).await <= MAX_WAITING);
        // As a sweep does: some of those that are due.
        let due: Vec<_> = (0..20_000)
            .map(job)
            .filter(|job| !pools.iter().any(|pool| pool.has_run(*job)))
            .take(1_000)
            .collect();
        for job in &due {
            senders[0].nudge(*job).await.expect("taken or dropped");
        }
        due.is_empty().then_some(())
    })
    .await;
    let runs: usize = pools.iter().map(Pool::ended).sum();
    println!("{runs} runs of 20000 jobs");
    until_idle(&redis).await;
    for pool in pools {
        pool.end().await;
    }
    assert_eq!(redis.keys().await, keys, "as after one job");
}

/// Waits until repeated nudges are handled and done tasks are removed.
async fn until_idle(redis: &Redis) {
    let mut look = redis.connection().await;
    eventually("an idle queue without done tasks", async || {
        let data: usize = look.hlen("tallymill:jobs:data").await.expect("read");
        (data == 0 && outstanding(&mut look).await == 0).then_some(())
    })
    .await;
}

/// Returns the keys of Redis after one job and the end of its pool.
async fn keys_after_one(redis: &Redis) -> Vec<String> {
    let (sender, queue) = open(redis, "first");
    let pool = Pool::start(queue, 1, ENOUGH);
    sender.nudge(job(-2)).await.expect("taken");
    pool.until_ran(&[job(-2)]).await;
    until_idle(redis).await;
    pool.end().await;
    redis.keys().await
}

#[tokio::test]
async fn concurrent_senders_stay_within_the_bound() {
    let redis = Redis::start().await;
    let mut senders = tokio::task::JoinSet::new();
    for process in 0..8 {
        let (sender, _) = open(&redis, &format!("api-{process}"));
        senders.spawn(async move {
            for n in 0..300 {
                // One that waited too long on a busy machine is lost, which is allowed.
                drop(sender.nudge(job(process * 1_000 + n)).await);
            }
        });
    }
    let mut look = redis.connection().await;
    while senders.try_join_next().is_none() || !senders.is_empty() {
        assert!(outstanding(&mut look).await <= MAX_WAITING);
    }
    assert!(outstanding(&mut look).await > MAX_WAITING / 2);
}

#[tokio::test]
async fn finished_work_leaves_no_keys_in_redis() {
    let redis = Redis::start().await;
    let (sender, queue) = open(&redis, "tidy");
    let pool = Pool::start(queue, 8, ENOUGH);
    sender.nudge(job(0)).await.expect("taken");
    pool.until_ran(&[job(0)]).await;
    until_idle(&redis).await;
    let before = redis.keys().await;
    let jobs: Vec<_> = (1..=3_000).map(job).collect();
    for jobs in jobs.chunks(500) {
        for job in jobs {
            sender.nudge(*job).await.expect("taken");
        }
        pool.until_ran(jobs).await;
    }
    until_idle(&redis).await;
    assert_eq!(redis.keys().await, before);
    assert!(before.len() < 10, "{before:?}");
    pool.end().await;
    let after = redis.keys().await;
    assert!(!after.iter().any(|key| key.contains("tidy")), "{after:?}");
}

#[tokio::test]
async fn the_next_start_removes_orphaned_keys() {
    let redis = Redis::start().await;
    let mut look = redis.connection().await;
    let base = "tallymill:jobs";
    // What apalis leaves behind: an unknown worker with a task, and the metadata of another.
    let _: () = look
        .hset(format!("{base}:data"), "A", "{}")
        .await
        .expect("set");
    let _: () = look
        .hset(format!("{base}:meta:A"), "attempts", 0)
        .await
        .expect("set");
    let _: () = look
        .hset(format!("{base}:meta:B"), "attempts", 0)
        .await
        .expect("set");
    let _: () = look
        .sadd(format!("{base}:inflight:ghost"), "A")
        .await
        .expect("set");
    let _: () = look
        .hset(format!("{base}:workers:metadata:ghost"), "service", "x")
        .await
        .expect("set");
    let _: () = look.set("of-another-application", 1).await.expect("set");
    let (_, queue) = open(&redis, "next");
    let pool = Pool::start(queue, 1, ENOUGH);
    eventually("nothing of the ghost", async || {
        let keys = redis.keys().await;
        let removed = !keys
            .iter()
            .any(|key| key.contains("ghost") || key.contains(":meta:") || key.ends_with(":data"));
        removed.then_some(())
    })
    .await;
    assert!(
        redis
            .keys()
            .await
            .contains(&"of-another-application".into())
    );
    pool.end().await;
}

#[tokio::test]
async fn keys_of_killed_workers_are_removed_without_a_search() {
    let redis = Redis::start().await;
    let mut look = redis.connection().await;
    let base = "tallymill:jobs";
    let set = async |command: &mut redis::Cmd| {
        let mut look = redis.connection().await;
        let () = command.query_async(&mut look).await.expect("set");
    };
    // Another process has searched, and a worker of it was killed since.
    set(redis::cmd("SET").arg(format!("{base}:searched")).arg(1)).await;
    set(redis::cmd("SADD")
        .arg(format!("{base}:started"))
        .arg("ghost"))
    .await;
    set(redis::cmd("SADD")
        .arg(format!("{base}:inflight:ghost"))
        .arg("A"))
    .await;
    // Found by a search only.
    let unsearched = format!("{base}:meta:B");
    set(redis::cmd("HSET").arg(&unsearched).arg("attempts").arg(0)).await;
    let (_, queue) = open(&redis, "next");
    let pool = Pool::start(queue, 1, ENOUGH);
    eventually("nothing of the ghost", async || {
        let keys = redis.keys().await;
        let removed = !keys.iter().any(|key| key.contains("ghost"));
        removed.then_some(())
    })
    .await;
    let is_known: bool = look
        .sismember(format!("{base}:started"), "ghost")
        .await
        .expect("reads");
    assert!(!is_known);
    assert!(
        redis.keys().await.contains(&unsearched),
        "Redis was searched"
    );
    pool.end().await;
}

#[tokio::test]
async fn a_worker_without_free_permits_is_not_replaced() {
    let redis = Redis::start().await;
    let (sender, queue) = open(&redis, "busy");
    for n in 0..5 {
        sender.nudge(job(n)).await.expect("taken");
    }
    let pool = Pool::start(queue, 1, 0);
    pool.until_begun(1).await;
    let mut look = redis.connection().await;
    let mut seen = async || -> u64 {
        let seen = look.zscore("tallymill:jobs:workers", "busy-0").await;
        seen.expect("the first worker still")
    };
    let first = seen().await;
    eventually("two signs of life", async || {
        (seen().await > first + 3).then_some(())
    })
    .await;
    pool.gate.add_permits(ENOUGH);
    pool.end().await;
}

#[tokio::test]
async fn a_poisoned_task_costs_one_restart() {
    let redis = Redis::start().await;
    let mut look = redis.connection().await;
    let _: () = look
        .rpush("tallymill:jobs:active", "no-such-task")
        .await
        .expect("pushed");
    let (sender, queue) = open(&redis, "poisoned");
    let pool = Pool::start(queue, 1, ENOUGH);
    pool.reconcile(sender.as_ref(), &[job(1)]).await;
    let workers: Vec<String> = look
        .zrange("tallymill:jobs:workers", 0, -1)
        .await
        .expect("read");
    assert_eq!(workers, ["poisoned-1"]);
    assert!(pool.runs.begun.load(Ordering::SeqCst) >= 1);
    pool.end().await;
}

#[tokio::test]
async fn a_silent_worker_is_replaced() {
    let redis = Redis::start().await;
    let (sender, queue) = open(&redis, "deaf");
    let pool = Pool::start(queue, 1, ENOUGH);
    pool.reconcile(sender.as_ref(), &[job(1)]).await;
    let mut hush = redis.connection().await;
    let mut look = redis.connection().await;
    // Its signs of life are wiped out as they come, as if it gave none.
    let mut hushed = tokio::task::JoinSet::new();
    hushed.spawn(async move {
        loop {
            let sign: redis::Cmd = redis::Cmd::new()
                .arg("ZADD")
                .arg("tallymill:jobs:workers")
                .arg("XX")
                .arg(i64::from(i32::MAX) * 2)
                .arg("deaf-0")
                .to_owned();
            let _: i64 = sign.query_async(&mut hush).await.expect("set");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    eventually("another worker", async || {
        let workers: Vec<String> = look
            .zrange("tallymill:jobs:workers", 0, -1)
            .await
            .expect("read");
        workers.contains(&"deaf-1".into()).then_some(())
    })
    .await;
    hushed.shutdown().await;
    pool.reconcile(sender.as_ref(), &[job(2)]).await;
    pool.end().await;
}
