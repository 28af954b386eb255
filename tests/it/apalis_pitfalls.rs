//! Plain apalis against a real Redis: each test shows a defect that the adapter works around, and fails once it is fixed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use apalis::{
    layers::WorkerBuilderExt,
    prelude::{BackendExt, BoxDynError, Data, TaskBuilder, TaskSink, WorkerBuilder, WorkerError},
};
use apalis_core::backend::Vacuum;
use apalis_redis::{Config, RedisStorage};
use redis::{AsyncCommands, aio::MultiplexedConnection};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::helpers::{process::eventually, servers::Redis};

/// Time after which something counts as not happening.
const LONG: Duration = Duration::from_millis(1_500);
/// Time between two polls of a worker.
const POLL: Duration = Duration::from_millis(20);
/// The file with most of the workarounds.
const QUEUE: &str = "src/job/apalis/redis/mod.rs";

type Storage = RedisStorage<u32, MultiplexedConnection>;

/// Fails, and names the workaround to remove, unless the defect shows.
#[track_caller]
fn still(shows: bool, pitfall: &str, workaround: &str) {
    assert!(
        shows,
        "apalis has mended {pitfall}: the workaround in {workaround} can go"
    );
}

/// The handler of a plain worker.
struct Work {
    begun: AtomicUsize,
    gate: Semaphore,
    fails: bool,
}

impl Work {
    fn new(permits: usize, fails: bool) -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicUsize::new(0),
            gate: Semaphore::new(permits),
            fails,
        })
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }

    async fn until_begun(&self, wanted: usize) {
        eventually("a task begun", async || {
            (self.begun() >= wanted).then_some(())
        })
        .await;
    }
}

async fn handle(_: u32, work: Data<Arc<Work>>) -> Result<(), BoxDynError> {
    work.begun.fetch_add(1, Ordering::SeqCst);
    work.gate.acquire().await?.forget();
    if work.fails {
        return Err("as asked".into());
    }
    Ok(())
}

/// A plain worker, and how it ended.
struct Bare {
    stop: CancellationToken,
    ended: JoinSet<Result<(), String>>,
}

impl Bare {
    async fn ended(&mut self) -> Result<(), String> {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.ended.join_next()).await;
        let ended = ended.unwrap_or(None).map(|ended| ended.expect("no panic"));
        ended.unwrap_or(Ok(()))
    }

    async fn stopped(mut self) -> Result<(), String> {
        self.stop.cancel();
        self.ended().await
    }
}

struct Rig {
    redis: Redis,
    look: MultiplexedConnection,
}

impl Rig {
    async fn new() -> Self {
        let redis = Redis::start().await;
        let look = redis.connection().await;
        Self { redis, look }
    }

    fn config() -> Config {
        Config::default()
            .queue("q")
            .batch_size(1)
            .heartbeat_interval(Duration::from_secs(1))
    }

    async fn storage(&self, config: Config) -> Storage {
        RedisStorage::new(self.redis.connection().await).with_config(config)
    }

    async fn push(&self, tasks: u32) {
        let mut storage = self.storage(Self::config()).await;
        for begin in (0..tasks).step_by(900) {
            let some = (begin..tasks.min(begin + 900)).collect();
            storage.push_bulk(some).await.expect("pushed");
        }
    }

    /// Starts a worker with workarounds for all defects but the tested one.
    async fn worker(&self, name: &str, config: Config, work: &Arc<Work>) -> Bare {
        let (stop, mut ended) = (CancellationToken::new(), JoinSet::new());
        let until = stop.clone();
        let worker = WorkerBuilder::new(name)
            .backend(self.storage(config).await.poll_with_interval(POLL))
            .data(Arc::clone(work))
            .concurrency(1)
            .build(handle);
        let signal = async move {
            until.cancelled().await;
            Ok::<_, WorkerError>(())
        };
        let running = worker.run_until(signal);
        ended.spawn(async move { running.await.map_err(|why| why.to_string()) });
        Bare { stop, ended }
    }

    async fn until_registered(&mut self) {
        let look = &mut self.look;
        eventually("a worker", async || {
            let workers: usize = look.zcard("q:workers").await.expect("read");
            (workers > 0).then_some(())
        })
        .await;
    }

    /// Members of a set of any kind.
    async fn size(&mut self, command: &str, key: &str) -> usize {
        let mut size = redis::cmd(command);
        let size = size.arg(key).query_async(&mut self.look).await;
        size.expect("a size")
    }

    async fn until_size(&mut self, command: &str, key: &str, wanted: usize) {
        let what = format!("{wanted} in {key}");
        let look = self.look.clone();
        eventually(&what, async || {
            let size: usize = redis::cmd(command)
                .arg(key)
                .query_async(&mut look.clone())
                .await
                .expect("a size");
            (size == wanted).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn p1_a_backlog_of_eight_thousand_ends_the_worker() {
    let rig = Rig::new().await;
    rig.push(8_100).await;
    let work = Work::new(10_000, false);
    let mut worker = rig.worker("p1", Rig::config(), &work).await;
    let ended = tokio::select! {
        ended = worker.ended() => ended,
        () = work.until_begun(1) => Ok(()),
    };
    let dead = ended.is_err_and(|why| why.contains("too many results to unpack"));
    still(
        dead && work.begun() == 0,
        "P1",
        "src/job/apalis/redis/reserve.lua",
    );
}

#[tokio::test]
async fn p2_any_error_of_redis_ends_the_worker() {
    let mut rig = Rig::new().await;
    let work = Work::new(10, false);
    let mut worker = rig.worker("p2", Rig::config(), &work).await;
    rig.until_registered().await;
    rig.redis.flush().await;
    rig.push(1).await;
    let dead = tokio::select! {
        ended = worker.ended() => ended.is_err(),
        () = work.until_begun(1) => false,
    };
    still(dead, "P2", "src/job/apalis/supervise.rs");
}

#[tokio::test]
async fn p4_a_name_stays_in_use_after_a_clean_stop() {
    let mut rig = Rig::new().await;
    let work = Work::new(10, false);
    let first = rig.worker("p4", Rig::config(), &work).await;
    rig.until_registered().await;
    assert_eq!(first.stopped().await, Ok(()));
    let left = rig.size("EXISTS", "q:workers:metadata:p4").await;
    still(
        left == 1,
        "P4 (metadata of workers)",
        "src/job/apalis/redis/remove_worker.lua",
    );
    let mut second = rig.worker("p4", Rig::config(), &work).await;
    let refused = tokio::time::timeout(LONG, second.ended()).await;
    let refused = refused
        .is_ok_and(|ended| ended.is_err_and(|why| why.contains("still active within threshold")));
    still(refused, "P4", QUEUE);
}

#[tokio::test]
async fn p6_a_failed_task_ignores_its_most_attempts() {
    let mut rig = Rig::new().await;
    let mut storage = rig.storage(Rig::config()).await;
    let once = TaskBuilder::new(1).max_attempts(1).build();
    storage.push_task(once).await.expect("pushed");
    let work = Work::new(10, true);
    let worker = rig.worker("p6", Rig::config(), &work).await;
    work.until_begun(2).await;
    still(work.begun() > 1, "P6", QUEUE);
    drop(worker.stopped().await);
    assert_eq!(rig.size("SCARD", "q:dead").await, 0);
}

#[tokio::test]
async fn p8_no_heartbeat_while_fetched_tasks_wait() {
    let mut rig = Rig::new().await;
    rig.push(5).await;
    let work = Work::new(0, false);
    let worker = rig.worker("p8", Rig::config().batch_size(10), &work).await;
    work.until_begun(1).await;
    let seen: u64 = rig.look.zscore("q:workers", "p8").await.expect("read");
    let begun = Instant::now();
    // Twice the time between two signs of life.
    while begun.elapsed() < 2 * LONG {
        tokio::time::sleep(POLL).await;
    }
    let last: u64 = rig.look.zscore("q:workers", "p8").await.expect("read");
    still(last <= seen + 1, "P8", QUEUE);
    work.gate.add_permits(10);
    drop(worker.stopped().await);
}

#[tokio::test]
async fn p9_an_idle_worker_sees_tasks_only_at_its_next_heartbeat() {
    let mut rig = Rig::new().await;
    let work = Work::new(10, false);
    let config = Rig::config().heartbeat_interval(2 * LONG);
    let worker = WorkerBuilder::new("p9")
        .backend(rig.storage(config).await)
        .data(Arc::clone(&work))
        .build(handle);
    let mut running = JoinSet::new();
    running.spawn(async move { worker.run().await.map_err(|why| why.to_string()) });
    rig.until_registered().await;
    // The worker has polled once and received nothing.
    tokio::time::sleep(LONG / 3).await;
    rig.push(1).await;
    let seen = tokio::time::timeout(LONG, work.until_begun(1)).await;
    still(seen.is_err(), "P9", QUEUE);
    work.until_begun(1).await;
}

#[tokio::test]
async fn p11_and_p12_a_vacuum_removes_retries_and_their_ids_end_the_worker() {
    let mut rig = Rig::new().await;
    rig.push(1).await;
    let work = Work::new(1, true);
    let worker = rig.worker("p11", Rig::config(), &work).await;
    work.until_begun(1).await;
    // Its failure is written down and the task waits for its second attempt.
    rig.until_size("SCARD", "q:inflight:p11", 0).await;
    drop(worker.stopped().await);
    let mut storage = rig.storage(Rig::config()).await;
    let deleted = storage.vacuum().await.expect("done");
    let waits = rig.size("ZCARD", "q:scheduled").await + rig.size("LLEN", "q:active").await;
    still(deleted == 1 && waits == 1, "P11", QUEUE);
    let mut next = rig.worker("p12", Rig::config(), &Work::new(1, false)).await;
    let dead = next.ended().await;
    let dead = dead.is_err_and(|why| why.contains("Invalid job data format"));
    still(dead, "P12", "src/job/apalis/redis/remove_worker.lua");
    let held = rig.size("SCARD", "q:inflight:p12").await;
    still(held == 1, "P12", "src/job/apalis/redis/remove_worker.lua");
}

#[tokio::test]
async fn p13_the_default_idempotency_key_refuses_nothing() {
    let mut rig = Rig::new().await;
    let mut storage = rig.storage(Rig::config()).await;
    for n in 0..3 {
        let task = TaskBuilder::new(n).idempotency_key("the same").build();
        storage.push_task(task).await.expect("pushed");
    }
    let queued = rig.size("ZCARD", "q:scheduled").await;
    still(queued == 3, "P13", "src/job/apalis/redis/reserve.lua");
}

#[tokio::test]
async fn p15_done_tasks_stay_for_ever() {
    let mut rig = Rig::new().await;
    rig.push(3).await;
    let work = Work::new(10, false);
    let worker = rig.worker("p15", Rig::config(), &work).await;
    rig.until_size("SCARD", "q:done", 3).await;
    drop(worker.stopped().await);
    let kept = rig.size("HLEN", "q:data").await;
    still(kept == 3, "P15", "src/job/apalis/redis/trim.lua");
    let mut storage = rig.storage(Rig::config()).await;
    storage.vacuum().await.expect("done");
    let listed = rig.size("SCARD", "q:done").await;
    still(listed == 3, "P15", "src/job/apalis/redis/trim.lua");
}

#[tokio::test]
async fn p18_without_results_no_task_is_acknowledged() {
    let mut rig = Rig::new().await;
    rig.push(1).await;
    let work = Work::new(10, false);
    let config = Rig::config().persist_results(false);
    let worker = rig.worker("p18", config, &work).await;
    work.until_begun(1).await;
    let done = tokio::time::timeout(LONG, rig.until_size("SCARD", "q:done", 1)).await;
    let held = rig.size("SCARD", "q:inflight:p18").await;
    still(done.is_err() && held == 1, "P18", QUEUE);
    drop(worker.stopped().await);
}

#[test]
fn p19_the_defaults_of_missed_heartbeats_disagree() {
    let read: Config = serde_json::from_str(r#"{"queue":"q"}"#).expect("a configuration");
    let agree = read.missed_heartbeats == Config::default().missed_heartbeats;
    still(!agree, "P19", QUEUE);
}
