//! The tasks of a process that runs jobs: the worker pool, the schedule and the reconciler.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::heartbeat::Heartbeat;
use crate::{
    clock::Clock,
    job::{JobQueue, NudgeTimers, Reconciler, Runner, apalis::WorkerPool, schedule::Schedule},
};

/// The worker pool, the reconciler and the schedule.
pub(super) struct Workers {
    pub(super) pool: WorkerPool,
    pub(super) timers: NudgeTimers,
    pub(super) runner: Arc<Runner>,
    pub(super) reconciler: Reconciler,
    pub(super) reconcile_every: Duration,
    pub(super) heartbeat: Arc<Heartbeat>,
    pub(super) schedule: Schedule,
    pub(super) jobs: JobQueue,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) concurrency: usize,
    pub(super) stop: CancellationToken,
}

impl Workers {
    /// Starts all tasks of the workers.
    pub(super) fn start(self, tasks: &TaskTracker) {
        let Self {
            pool,
            timers,
            runner,
            reconciler,
            reconcile_every,
            heartbeat,
            schedule,
            jobs,
            clock,
            concurrency,
            stop,
        } = self;
        tasks.spawn(timers.run(stop.clone()));
        tasks.spawn(pool.run(runner, concurrency, stop.clone()));
        tasks.spawn(schedule.run(jobs, clock.clone(), stop.clone()));
        tasks.spawn(reconcile(
            reconciler,
            reconcile_every,
            heartbeat,
            clock,
            stop,
        ));
    }
}

/// Runs a pass of the reconciler at once, and again after each interval, until `stop`.
async fn reconcile(
    mut reconciler: Reconciler,
    interval: Duration,
    heartbeat: Arc<Heartbeat>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        match AssertUnwindSafe(reconciler.pass()).catch_unwind().await {
            Ok(Ok(())) => heartbeat.record_pass().await,
            Ok(Err(error)) if error.is_known_outage() => {
                tracing::debug!(%error, "reconciler pass failed, the next pass will complete it")
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "reconciler pass failed, the next pass will complete it")
            }
            Err(_) => tracing::error!("reconciler pass panicked, the next pass starts over"),
        }
        tokio::select! {
            () = clock.sleep(interval) => {}
            () = stop.cancelled() => return,
        }
    }
}
