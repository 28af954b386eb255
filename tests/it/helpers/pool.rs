//! A worker pool whose runs are counted and wait for permits of a test.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use tallymill::{
    job::{
        Dispatch,
        apalis::{NudgeHandler, WorkerPool},
    },
    model::{JobId, Slot},
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::process::eventually;

/// The runs of some pools.
#[derive(Default)]
pub(crate) struct Runs {
    pub(crate) begun: AtomicUsize,
    ended: AtomicUsize,
    at_once: AtomicUsize,
    pub(crate) most_at_once: AtomicUsize,
    pub(crate) jobs: Mutex<HashSet<JobId>>,
}

/// A running pool.
pub(crate) struct Pool {
    pub(crate) runs: Arc<Runs>,
    pub(crate) gate: Arc<Semaphore>,
    pub(crate) stop: CancellationToken,
    pub(crate) working: JoinSet<()>,
}

/// The job whose run panics.
pub(crate) const PANICS: JobId = JobId::Cleanup(Slot(-1));

pub(crate) fn job(n: i64) -> JobId {
    JobId::Cleanup(Slot(n))
}

impl Pool {
    /// Starts the pool of a queue; every run acquires a permit of the gate.
    pub(crate) fn start(queue: WorkerPool, concurrency: usize, permits: usize) -> Self {
        let runs = Arc::new(Runs::default());
        let gate = Arc::new(Semaphore::new(permits));
        let stop = CancellationToken::new();
        let handler = handler(Arc::clone(&runs), Arc::clone(&gate));
        let mut working = JoinSet::new();
        working.spawn(queue.serve(handler, concurrency, stop.clone()));
        Self {
            runs,
            gate,
            stop,
            working,
        }
    }

    pub(crate) fn ended(&self) -> usize {
        self.runs.ended.load(Ordering::SeqCst)
    }

    pub(crate) fn has_run(&self, job: JobId) -> bool {
        self.runs
            .jobs
            .lock()
            .expect("no panic within")
            .contains(&job)
    }

    pub(crate) async fn until_begun(&self, wanted: usize) {
        let what = format!("{wanted} runs begun");
        eventually(&what, async || {
            (self.runs.begun.load(Ordering::SeqCst) >= wanted).then_some(())
        })
        .await;
    }

    /// Waits until each of these jobs has been run.
    pub(crate) async fn until_ran(&self, jobs: &[JobId]) {
        let what = format!("runs of {} jobs", jobs.len());
        eventually(&what, async || {
            let ran = self.runs.jobs.lock().expect("no panic within");
            jobs.iter().all(|job| ran.contains(job)).then_some(())
        })
        .await;
    }

    /// Nudges these jobs as the reconciler does, until each has been run.
    pub(crate) async fn reconcile(&self, sender: &dyn Dispatch, jobs: &[JobId]) {
        let what = format!("runs of {} jobs, swept", jobs.len());
        eventually(&what, async || {
            let due: Vec<_> = {
                let ran = self.runs.jobs.lock().expect("no panic within");
                jobs.iter()
                    .filter(|job| !ran.contains(job))
                    .copied()
                    .collect()
            };
            for job in &due {
                // A sweep does not mind either.
                drop(sender.nudge(*job).await);
            }
            due.is_empty().then_some(())
        })
        .await;
    }

    /// Stops the pool; returns when all runs have ended.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.working.join_next().await {
            ended.expect("no panic");
        }
    }
}

fn handler(runs: Arc<Runs>, gate: Arc<Semaphore>) -> NudgeHandler {
    Arc::new(move |job| {
        let (runs, gate) = (Arc::clone(&runs), Arc::clone(&gate));
        Box::pin(async move {
            runs.begun.fetch_add(1, Ordering::SeqCst);
            let now = runs.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            runs.most_at_once.fetch_max(now, Ordering::SeqCst);
            gate.acquire().await.expect("open").forget();
            runs.at_once.fetch_sub(1, Ordering::SeqCst);
            assert!(job != PANICS, "a panic of a run");
            runs.jobs.lock().expect("no panic within").insert(job);
            runs.ended.fetch_add(1, Ordering::SeqCst);
        })
    })
}
