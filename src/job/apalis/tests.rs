use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use chrono_tz::Tz;
use tokio::{sync::Semaphore, task::JoinSet};

use super::*;
use crate::{
    clock::{Clock, Fixed},
    job::{Desk, Limits},
    model::{BatchId, JobKind, JobState, Slot},
    store::{
        Store,
        embedded::{EmbeddedStore, Mode},
    },
};

/// Longer than any of these takes; only a broken one gets there.
const PATIENCE: Duration = Duration::from_secs(20);

/// Counts runs; each waits for a permit of the gate.
struct Runs {
    begun: AtomicUsize,
    ended: AtomicUsize,
    gate: Semaphore,
}

impl Runs {
    fn new(permits: usize) -> Arc<Self> {
        Arc::new(Self {
            begun: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            gate: Semaphore::new(permits),
        })
    }

    fn handler(self: &Arc<Self>) -> Handler {
        let runs = Arc::clone(self);
        Arc::new(move |_| {
            let runs = Arc::clone(&runs);
            Box::pin(async move {
                let begun = runs.begun.fetch_add(1, Ordering::SeqCst);
                runs.gate.acquire().await.expect("open").forget();
                assert!(begun != 0 || runs.gate.available_permits() < 900, "a panic");
                runs.ended.fetch_add(1, Ordering::SeqCst);
            })
        })
    }
}

fn job(n: u8) -> JobId {
    JobId::Process(BatchId::from_bytes([n; 16]))
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect(what);
}

fn served(queue: Queue, runs: &Arc<Runs>, stop: &CancellationToken) -> JoinSet<()> {
    let mut pool = JoinSet::new();
    pool.spawn(queue.serve(runs.handler(), 2, stop.clone()));
    pool
}

#[tokio::test]
async fn a_nudge_that_waits_already_is_not_doubled() {
    let (sender, queue) = in_process();
    for _ in 0..5 {
        sender.nudge(job(1)).await.expect("in process");
    }
    sender.nudge(job(2)).await.expect("in process");
    let (runs, stop) = (Runs::new(100), CancellationToken::new());
    let mut pool = served(queue, &runs, &stop);
    until("two runs", async || runs.ended.load(Ordering::SeqCst) == 2).await;
    sender.nudge(job(1)).await.expect("in process");
    until("a third run", async || {
        runs.ended.load(Ordering::SeqCst) == 3
    })
    .await;
    stop.cancel();
    assert!(pool.join_next().await.is_some());
    assert_eq!(runs.begun.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_full_queue_drops_nudges_and_takes_them_again_later() {
    let (sender, _queue) = in_process();
    for n in 0..1_500 {
        let job = JobId::Cleanup(Slot(n));
        sender.nudge(job).await.expect("dropped, not refused");
    }
    assert_eq!(lock(&sender.waiting).len(), WAITING);
}

#[tokio::test]
async fn a_job_that_panics_does_not_end_the_pool() {
    let (sender, queue) = in_process();
    let (runs, stop) = (Runs::new(1_000), CancellationToken::new());
    let mut pool = served(queue, &runs, &stop);
    for n in 0..4 {
        sender.nudge(job(n)).await.expect("in process");
    }
    until("the others", async || {
        runs.ended.load(Ordering::SeqCst) == 3
    })
    .await;
    stop.cancel();
    pool.join_next().await.expect("the pool").expect("no panic");
}

#[tokio::test]
async fn no_more_run_at_once_than_allowed_and_a_stop_waits_for_them() {
    let (sender, queue) = in_process();
    let (runs, stop) = (Runs::new(0), CancellationToken::new());
    let mut pool = served(queue, &runs, &stop);
    for n in 0..4 {
        sender.nudge(job(n)).await.expect("in process");
    }
    until("two runs", async || runs.begun.load(Ordering::SeqCst) == 2).await;
    stop.cancel();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(pool.try_join_next().is_none(), "runs are under way");
    runs.gate.add_permits(2);
    pool.join_next().await.expect("the pool").expect("no panic");
    let counts = (&runs.begun, &runs.ended);
    assert_eq!(
        (
            counts.0.load(Ordering::SeqCst),
            counts.1.load(Ordering::SeqCst)
        ),
        (2, 2)
    );
}

#[tokio::test]
async fn a_worker_that_ends_is_started_again() {
    let (starts, stop) = (AtomicUsize::new(0), CancellationToken::new());
    supervise("test", &stop, |name| {
        let n = starts.fetch_add(1, Ordering::SeqCst);
        assert_eq!(name, format!("test-{n}"));
        let stop = stop.clone();
        async move {
            match n {
                0 => Err("away"),
                1 => panic!("a bug"),
                _ => {
                    stop.cancel();
                    Ok(())
                }
            }
        }
    })
    .await;
    assert_eq!(starts.load(Ordering::SeqCst), 3);
}

fn limits() -> Limits {
    Limits {
        attempts: 4,
        crashes: 5,
        backoff: Duration::from_secs(5),
        lease: Duration::from_secs(30),
        sweep: Duration::from_secs(5),
        batch_ttl: None,
        reprocess_budget: Duration::from_secs(600),
        time_zone: Tz::UTC,
        scratch: PathBuf::from("unused"),
        sort_memory: 1 << 20,
        fold_groups: 1_000,
        claims_at_once: 1_000,
    }
}

#[tokio::test]
async fn the_clock_arms_cleanup_and_the_missed_night_once_and_the_runner_settles_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(dir.path(), Tz::UTC, Mode::Simulated).await;
    let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
    let clock = Fixed::default();
    let time: Arc<dyn Clock> = Arc::new(clock.clone());
    let (sender, queue) = in_process();
    let desk = Desk::new(Arc::clone(&store), Arc::clone(&time), sender.clone());
    let stop = CancellationToken::new();
    let runner = Runner::new(
        Arc::clone(&store),
        Arc::clone(&time),
        sender,
        limits(),
        "test".into(),
        stop.clone(),
    );
    let every = Schedule {
        cleanup_every: Duration::from_secs(3_600),
        reprocess_cron: "30 23 * * *".into(),
        zone: Tz::UTC,
    };
    let mut parts = JoinSet::new();
    parts.spawn(queue.run(Arc::new(runner), 2, stop.clone()));
    parts.spawn(schedule(every, desk, Arc::clone(&time), stop.clone()));

    let settled = async |wanted: usize| {
        until("settled", async || {
            let done = store.jobs_in(JobState::Completed, None, 100).await;
            done.expect("a page").len() == wanted
        })
        .await;
    };
    settled(2).await;
    clock.advance(Duration::from_secs(3_600));
    settled(3).await;
    let night = Fixed::epoch().timestamp() - 1_800;
    let done = store.jobs_in(JobState::Completed, None, 100).await;
    let done = done.expect("a page");
    assert!(done.iter().any(|j| j.id == JobId::Reprocess(Slot(night))));
    let cleanups = done.iter().filter(|j| j.id.kind() == JobKind::Cleanup);
    assert_eq!(cleanups.count(), 2);
    stop.cancel();
    while let Some(part) = parts.join_next().await {
        part.expect("no panic");
    }
}

#[tokio::test]
#[ignore = "waits up to a minute for a tick of the machine's clock"]
async fn a_tick_of_the_machines_clock_arms_its_slot() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(dir.path(), Tz::UTC, Mode::Simulated).await;
    let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::System::start());
    let desk = Desk::new(Arc::clone(&store), Arc::clone(&clock), in_process().0);
    let stop = CancellationToken::new();
    let every = Schedule {
        cleanup_every: Duration::from_secs(3_600),
        reprocess_cron: "* * * * *".into(),
        zone: Tz::Europe__Berlin,
    };
    let begun = clock.now().timestamp();
    let mut parts = JoinSet::new();
    parts.spawn(schedule(every, desk, Arc::clone(&clock), stop.clone()));
    let next = JobId::Reprocess(Slot(begun - begun.rem_euclid(60) + 60));
    while store.job(next).await.expect("an answer").is_none() {
        assert!(clock.now().timestamp() < begun + 65, "the tick was missed");
        clock.sleep(Duration::from_millis(100)).await;
    }
    stop.cancel();
    parts
        .join_next()
        .await
        .expect("the schedule")
        .expect("no panic");
}
