use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use chrono_tz::Tz;
use tokio::task::JoinSet;

use super::{supervise::supervise, *};
use crate::{
    clock::{Clock, Fixed},
    job::{
        JobLimits, JobQueue,
        schedule::{Schedule, cron::Cron},
        work::Bodies,
    },
    model::{JobKind, JobState, Slot},
    store::{
        Store,
        embedded::{EmbeddedStore, Mode},
    },
};

/// Longer than any of these takes; only a broken one gets there.
const PATIENCE: Duration = Duration::from_secs(20);

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect(what);
}

#[tokio::test]
async fn an_ended_worker_is_replaced() {
    let (starts, stop) = (AtomicUsize::new(0), CancellationToken::new());
    supervise("host-1", &stop, |name| {
        let n = starts.fetch_add(1, Ordering::SeqCst);
        assert_eq!(name, format!("host-1-{n}"));
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

#[tokio::test(start_paused = true)]
async fn a_healthy_worker_is_replaced_soon() {
    let (stop, begun) = (CancellationToken::new(), tokio::time::Instant::now());
    let (starts, lately) = (AtomicUsize::new(0), AtomicUsize::new(0));
    supervise("test", &stop, |_| {
        let n = starts.fetch_add(1, Ordering::SeqCst);
        let now = usize::try_from(begun.elapsed().as_millis()).expect("small");
        let waited = now - lately.load(Ordering::SeqCst);
        match n {
            // Ten in a row that end at once: at last three seconds apart.
            9 => assert!((2_900..3_200).contains(&waited), "{waited}"),
            // The tenth lives for a minute, so the next need not wait.
            10 => assert!((60_000..60_300).contains(&waited), "{waited}"),
            _ => {}
        }
        lately.store(now, Ordering::SeqCst);
        let stop = stop.clone();
        async move {
            match n {
                9 => tokio::time::sleep(Duration::from_secs(60)).await,
                10 => stop.cancel(),
                _ => {}
            }
            Err::<(), _>("away")
        }
    })
    .await;
    assert_eq!(starts.load(Ordering::SeqCst), 11);
}

fn limits() -> JobLimits {
    JobLimits {
        attempts: 4,
        crashes: 5,
        backoff: Duration::from_secs(5),
        lease: Duration::from_secs(30),
        sweep: Duration::from_secs(5),
        batch_ttl: None,
        tombstone_retention: Some(Duration::from_secs(90 * 86_400)),
        audit_retention: None,
        reprocess_budget: Duration::from_secs(600),
        time_zone: Tz::UTC,
        scratch: PathBuf::from("unused"),
        sort_memory: 1 << 20,
        fold_groups: 1_000,
        claims_at_once: 1_000,
    }
}

#[tokio::test]
async fn the_schedule_arms_each_slot_once_and_the_last_missed_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(dir.path(), Tz::UTC, Mode::Simulated).await;
    let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
    let clock = Fixed::default();
    let time: Arc<dyn Clock> = Arc::new(clock.clone());
    let (sender, pool) = in_process();
    let jobs = JobQueue::new(Arc::clone(&store), Arc::clone(&time), sender.clone());
    let stop = CancellationToken::new();
    let runner = Runner::new(
        Arc::clone(&store),
        Arc::clone(&time),
        sender,
        Arc::new(Bodies),
        limits(),
        "test".into(),
        stop.clone(),
    );
    let every = Schedule {
        cleanup_every: Duration::from_secs(3_600),
        reprocess: Cron::parse("30 23 * * *").expect("cron text"),
        zone: Tz::UTC,
    };
    let mut parts = JoinSet::new();
    parts.spawn(pool.run(Arc::new(runner), 2, stop.clone()));
    parts.spawn(every.run(jobs, Arc::clone(&time), stop.clone()));

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
async fn the_clock_of_the_machine_arms_the_next_slot() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = EmbeddedStore::open(dir.path(), Tz::UTC, Mode::Simulated).await;
    let store: Arc<dyn Store> = Arc::new(store.expect("a store"));
    let clock: Arc<dyn Clock> = Arc::new(crate::clock::System::start());
    let jobs = JobQueue::new(Arc::clone(&store), Arc::clone(&clock), in_process().0);
    let stop = CancellationToken::new();
    let every = Schedule {
        cleanup_every: Duration::from_secs(3_600),
        reprocess: Cron::parse("* * * * *").expect("cron text"),
        zone: Tz::Europe__Berlin,
    };
    let begun = clock.now().timestamp();
    let mut parts = JoinSet::new();
    parts.spawn(every.run(jobs, Arc::clone(&clock), stop.clone()));
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
