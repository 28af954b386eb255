//! The contract of every queue, run on both: a lost nudge costs delay, never work, and no nudge is lost without reason.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tallymill::job::{
    Dispatch,
    apalis::{self, MAX_WAITING, WorkerPool},
};

use crate::helpers::{
    pool::{PANICS, Pool, job},
    process::eventually,
    servers::Redis,
};

/// More than any test uses.
const ENOUGH: usize = 100_000;

/// A queue and its server, if any.
struct Case {
    sender: Arc<dyn Dispatch>,
    queue: WorkerPool,
    redis: Option<Redis>,
}

impl Case {
    async fn in_process() -> Self {
        let (sender, queue) = apalis::in_process();
        Self {
            sender,
            queue,
            redis: None,
        }
    }

    async fn redis() -> Self {
        let redis = Redis::start().await;
        let (sender, queue) = crate::queue::open(&redis, "contract");
        Self {
            sender,
            queue,
            redis: Some(redis),
        }
    }
}

macro_rules! dispatch_contract {
    ($($case:ident),*) => {$(
        mod $case {
            #[tokio::test]
            async fn every_nudge_reaches_a_runner() {
                super::every_nudge_reaches_a_runner(super::Case::$case().await).await;
            }

            #[tokio::test]
            async fn waiting_nudges_are_unique_and_received_ones_may_repeat() {
                super::a_doubled_nudge_waits_once(super::Case::$case().await).await;
            }

            #[tokio::test]
            async fn a_full_queue_drops_nudges_until_there_is_room() {
                super::a_full_queue_drops_nudges(super::Case::$case().await).await;
            }

            #[tokio::test]
            async fn a_panicking_run_leaves_the_pool_running() {
                super::a_panicking_run_leaves_the_pool_running(super::Case::$case().await).await;
            }

            #[tokio::test]
            async fn concurrency_is_bounded_and_a_stop_waits_for_runs() {
                super::a_stop_waits_for_runs(super::Case::$case().await).await;
            }

            #[tokio::test]
            async fn an_idle_pool_stops_at_once() {
                super::an_idle_pool_stops_at_once(super::Case::$case().await).await;
            }
        }
    )*};
}

dispatch_contract!(in_process, redis);

async fn every_nudge_reaches_a_runner(case: Case) {
    let jobs: Vec<_> = (0..200).map(job).collect();
    for job in &jobs[..100] {
        case.sender.nudge(*job).await.expect("taken");
    }
    let pool = Pool::start(case.queue, 4, ENOUGH);
    for job in &jobs[100..] {
        case.sender.nudge(*job).await.expect("taken");
    }
    pool.until_ran(&jobs).await;
    assert!(case.sender.answers().await);
    pool.end().await;
}

async fn a_doubled_nudge_waits_once(case: Case) {
    for _ in 0..5 {
        case.sender.nudge(job(1)).await.expect("taken");
    }
    let pool = Pool::start(case.queue, 1, 0);
    pool.until_begun(1).await;
    // It runs now, so what it is nudged for may be something it has not seen.
    case.sender.nudge(job(1)).await.expect("taken");
    case.sender.nudge(job(2)).await.expect("taken");
    pool.gate.add_permits(ENOUGH);
    pool.until_ran(&[job(2)]).await;
    assert_eq!(pool.runs.begun.load(Ordering::SeqCst), 3);
    pool.end().await;
}

async fn a_full_queue_drops_nudges(case: Case) {
    for n in 0..1_500 {
        let nudged = case.sender.nudge(job(n)).await;
        nudged.expect("dropped, not refused");
    }
    let pool = Pool::start(case.queue, 4, ENOUGH);
    let first: Vec<_> = (0..1_000).map(job).collect();
    pool.until_ran(&first).await;
    assert_eq!(pool.ended(), MAX_WAITING, "the others were dropped");
    let others: Vec<_> = (1_000..1_500).map(job).collect();
    pool.reconcile(case.sender.as_ref(), &others).await;
    pool.end().await;
}

async fn a_panicking_run_leaves_the_pool_running(case: Case) {
    let pool = Pool::start(case.queue, 2, ENOUGH);
    let jobs = [job(1), job(2), job(3)];
    for job in [PANICS].into_iter().chain(jobs) {
        case.sender.nudge(job).await.expect("taken");
    }
    pool.until_ran(&jobs).await;
    pool.end().await;
}

async fn a_stop_waits_for_runs(case: Case) {
    let mut pool = Pool::start(case.queue, 2, 0);
    for n in 0..6 {
        case.sender.nudge(job(n)).await.expect("taken");
    }
    pool.until_begun(2).await;
    pool.stop.cancel();
    let early = tokio::time::timeout(Duration::from_millis(300), pool.working.join_next()).await;
    assert!(early.is_err(), "runs are under way");
    assert_eq!(pool.ended(), 0);
    pool.gate.add_permits(ENOUGH);
    let ended = tokio::time::timeout(Duration::from_secs(5), pool.working.join_next()).await;
    ended.expect("soon").expect("the pool").expect("no panic");
    assert_eq!(pool.ended(), pool.runs.begun.load(Ordering::SeqCst));
    assert!(pool.runs.most_at_once.load(Ordering::SeqCst) <= 2);
}

async fn an_idle_pool_stops_at_once(case: Case) {
    let pool = Pool::start(case.queue, 2, ENOUGH);
    case.sender.nudge(job(1)).await.expect("taken");
    pool.until_ran(&[job(1)]).await;
    let ended = tokio::time::timeout(Duration::from_secs(2), pool.end()).await;
    ended.expect("promptly");
    // Also while Redis is unavailable, so that the worker cannot be removed from it.
    if let Some(mut redis) = case.redis {
        let (_, queue) = crate::queue::open(&redis, "second");
        let pool = Pool::start(queue, 2, ENOUGH);
        eventually("a worker", async || {
            let keys = redis.keys().await;
            keys.iter().any(|key| key.contains("second")).then_some(())
        })
        .await;
        redis.pause();
        let ended = tokio::time::timeout(Duration::from_secs(4), pool.end()).await;
        redis.resume();
        ended.expect("soon");
        redis.stop();
    }
}
