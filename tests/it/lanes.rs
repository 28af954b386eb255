//! Short jobs do not wait for long ones, however many are queued before them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono_tz::Tz;
use tallymill::{
    clock::{Clock, System},
    job::{
        Dispatch, JobBodies, JobContext, JobLimits, JobQueue, RunEnd, RunError, Runner,
        apalis::{self, WorkerPool},
    },
    model::{JobId, JobState},
    store::{Result, Store, embedded::Mode},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::helpers::{
    process::eventually,
    servers::Redis,
    store_fixtures::{TestStore, id},
};

/// Runs of `process` jobs, which wait for a permit; those of even batches are long.
struct Bodies(Arc<Semaphore>);

#[async_trait]
impl JobBodies for Bodies {
    async fn run(&self, job: JobId, _: &JobContext<'_>) -> std::result::Result<RunEnd, RunError> {
        if !is_short(job) {
            self.0.acquire().await.expect("open").forget();
        }
        Ok(RunEnd::Completed)
    }

    async fn is_short(&self, job: JobId, _: &dyn Store) -> Result<bool> {
        Ok(is_short(job))
    }

    async fn end_without_run(&self, _: JobId, _: &JobContext<'_>) -> Result<Option<RunEnd>> {
        Ok(None)
    }

    async fn abandon(&self, _: JobId, _: &JobContext<'_>, _: &str) -> Result<()> {
        Ok(())
    }
}

fn is_short(job: JobId) -> bool {
    match job {
        JobId::Process(batch) => batch == id(500),
        JobId::Undo(_) | JobId::Rollup(_) => true,
        JobId::Reprocess(_) | JobId::Cleanup(_) | JobId::Retry(_) => false,
    }
}

async fn short_jobs_get_their_turn(dispatch: Arc<dyn Dispatch>, pool: WorkerPool) {
    let home = TestStore::open(Mode::Durable).await;
    let (store, clock) = (home.store.clone(), Arc::new(System::start()));
    let (gate, stop) = (Arc::new(Semaphore::new(0)), CancellationToken::new());
    let limits = JobLimits {
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
        scratch: "unused".into(),
        sort_memory: 1 << 20,
        fold_groups: 1_000,
        claims_at_once: 1_000,
    };
    let runner = Runner::new(
        store.clone(),
        clock.clone(),
        dispatch.clone(),
        Arc::new(Bodies(gate.clone())),
        limits,
        "boot-1/w".into(),
        stop.clone(),
    );
    let jobs = JobQueue::new(store.clone(), clock.clone(), dispatch);
    let long: Vec<_> = (0..200).map(|n| JobId::Process(id(n))).collect();
    let short = [
        JobId::Undo(id(1)),
        JobId::Process(id(500)),
        JobId::Rollup("2025-11-10".parse().expect("a day")),
    ];
    for job in long.iter().chain(&short) {
        jobs.arm(*job).await.expect("arms");
    }
    let mut working = JoinSet::new();
    working.spawn(pool.run(Arc::new(runner), 2, stop.clone()));
    for job in short {
        eventually("the end of a short job", async || {
            let state = store
                .job(job)
                .await
                .expect("reads")
                .expect("is there")
                .state;
            (state == JobState::Completed).then_some(())
        })
        .await;
    }
    let running = store
        .jobs_in(JobState::Running, None, 10)
        .await
        .expect("lists");
    assert_eq!(
        running.len(),
        2,
        "the long ones have no more than their share"
    );
    assert!(clock.elapsed() < Duration::from_secs(20));
    stop.cancel();
    gate.add_permits(1_000);
    working
        .join_next()
        .await
        .expect("the pool")
        .expect("no panic");
}

#[tokio::test]
async fn short_jobs_get_their_turn_in_process() {
    let (dispatch, pool) = apalis::in_process();
    short_jobs_get_their_turn(dispatch, pool).await;
}

#[tokio::test]
async fn short_jobs_get_their_turn_over_redis() {
    let redis = Redis::start().await;
    let (dispatch, pool) = crate::queue::open(&redis, "lanes");
    short_jobs_get_their_turn(dispatch, pool).await;
}
