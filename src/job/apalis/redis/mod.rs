//! The queue that all processes share: apalis-redis, with the additions that its version 1.0.0 needs.
//! Redis may be flushed at any time: the reconciler fills the queue again from the ledger.

mod heartbeat;
mod scripts;

use std::{sync::Arc, time::Duration};

use apalis::{
    layers::WorkerBuilderExt,
    prelude::{BoxDynError, Data, TaskSink, WorkerBuilder},
};
use apalis_core::backend::ext::BackendExt;
use apalis_redis::{Config, RedisStorage};
use async_trait::async_trait;
use redis::{RedisError, aio::ConnectionManager};
use tokio_util::sync::CancellationToken;

use super::{Backend, Lanes, NudgeHandler, Runs, WorkerPool, stopped, supervise::supervise};
use crate::{
    clock::Clock,
    job::{Dispatch, DispatchError},
    model::JobId,
    redis_client::{Cause, RedisAddress, RedisClient},
};
use heartbeat::HeartbeatMonitor;
use scripts::{QueueScripts, Reservation};

/// The names of the lanes: the prefix of their keys, after the namespace.
const MAIN: &str = "jobs";
const EXPRESS: &str = "express";
/// Longest duration of a nudge. The request for a job waits for it.
const NUDGE_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest response time for a worker's connection. A timeout is an error, and any error ends a worker.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time between two polls for nudges. A nudge waits half as long on average.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Time between two heartbeats of a worker. It sends none while it hands over a task.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// Heartbeats that a worker may miss before other workers get its tasks: a minute, since clocks differ.
const MISSED_HEARTBEATS: usize = 30;
/// Time between two removals of done tasks.
const TRIM_INTERVAL: Duration = Duration::from_secs(1);
/// Removals of done tasks between two searches for orphaned keys.
const TRIMS_PER_PASS: u32 = 60;
/// Longest duration of a maintenance pass: the search, [`TRIMS_PER_PASS`] removals, and a margin.
const PASS_TIMEOUT: Duration = Duration::from_secs(90);
/// Longest time for the removal of an ended worker, since Redis may be unavailable.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Both halves of the queue.
pub(super) struct RedisQueue {
    address: RedisAddress,
    /// The name of the lane.
    lane: &'static str,
    client: Arc<RedisClient>,
    clock: Arc<dyn Clock>,
    scripts: QueueScripts,
    /// The prefix of the names of this start's workers; no other start of any process has it.
    worker_prefix: String,
}

/// Returns both halves of a queue in Redis. Opens no connection, so Redis may be unavailable.
///
/// # Errors
/// [`RedisError`] if a connection can't be prepared.
pub fn redis(
    address: RedisAddress,
    clock: Arc<dyn Clock>,
    worker_prefix: String,
) -> Result<(Arc<dyn Dispatch>, WorkerPool), RedisError> {
    let consequence = "jobs wait in the ledger until it is back";
    // One client, so that an outage is one incident.
    let client = RedisClient::new(address.clone(), Arc::clone(&clock), consequence)?;
    let client = Arc::new(client);
    let lane = |lane| {
        Arc::new(RedisQueue {
            client: Arc::clone(&client),
            scripts: QueueScripts::new(config(&address, lane)),
            lane,
            address: address.clone(),
            clock: Arc::clone(&clock),
            worker_prefix: worker_prefix.clone(),
        })
    };
    let (main, express) = (lane(MAIN), lane(EXPRESS));
    let lanes = Lanes {
        main: main.clone(),
        express: express.clone(),
    };
    let pool = WorkerPool {
        main: Backend::Redis(main),
        express: Backend::Redis(express),
    };
    Ok((Arc::new(lanes), pool))
}

fn config(address: &RedisAddress, lane: &str) -> Config {
    Config::default()
        .queue(format!("{}:{lane}", address.namespace()))
        // A larger batch would wait in one worker while others are idle, and delay its heartbeats.
        .batch_size(1)
        .heartbeat_interval(HEARTBEAT_INTERVAL)
        .missed_heartbeats(MISSED_HEARTBEATS)
        // The ledger has the leases. A lock in Redis could only end a worker by its errors.
        .lock_tasks(false)
        .emit_events(false)
}

#[async_trait]
impl Dispatch for RedisQueue {
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
        let pushed = self
            .client
            .call(
                NUDGE_TIMEOUT,
                |redis| self.push(redis, job),
                |pushed| *pushed,
            )
            .await;
        pushed.map(drop).map_err(|error| DispatchError {
            job,
            source: error.into(),
        })
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    async fn answers(&self) -> bool {
        self.client.answers().await
    }
}

impl RedisQueue {
    /// Returns whether a nudge was stored: not if one of the job waits already, or the queue is full.
    async fn push(&self, mut redis: ConnectionManager, job: JobId) -> Result<bool, Cause> {
        let push = uuid::Uuid::now_v7().to_string();
        let reservation = self.scripts.reserve(&mut redis, job, &push).await?;
        match reservation {
            Reservation::Granted => {
                self.storage(redis.clone()).push(job).await?;
                self.scripts.record_push(&mut redis, job, &push).await?;
            }
            Reservation::AlreadyWaiting => {}
            Reservation::QueueFull => {
                tracing::debug!(job.id = %job, "queue is full, the reconciler will nudge job {job} again");
            }
        }
        Ok(matches!(reservation, Reservation::Granted))
    }

    fn storage(&self, redis: ConnectionManager) -> RedisStorage<JobId> {
        RedisStorage::new(redis).with_config(config(&self.address, self.lane))
    }

    pub(super) async fn serve(
        self: Arc<Self>,
        handler: NudgeHandler,
        concurrency: usize,
        stop: CancellationToken,
    ) {
        let runs = Runs::new(handler, concurrency);
        let workers = supervise(&self.worker_prefix, &stop, |name| {
            let (queue, runs, stop) = (Arc::clone(&self), runs.clone(), stop.clone());
            async move {
                let ended = queue.run_worker(&name, runs, concurrency, stop).await;
                queue.remove_worker(&name).await;
                ended
            }
        });
        let stopped = async {
            stop.cancelled().await;
            runs.close().await;
            self.clock.sleep(REMOVAL_TIMEOUT).await;
        };
        let workers = async {
            tokio::select! {
                () = workers => {}
                () = stopped => {}
            }
        };
        tokio::join!(workers, stop.run_until_cancelled(self.maintain()));
        runs.close().await;
    }

    /// Runs one worker until it ends.
    async fn run_worker(
        self: &Arc<Self>,
        name: &str,
        runs: Runs,
        concurrency: usize,
        stop: CancellationToken,
    ) -> Result<(), String> {
        // A connection per worker: a broken one ends with its worker.
        let redis = self.address.connection(RESPONSE_TIMEOUT);
        let mut redis = redis.map_err(|error| error.to_string())?;
        let recorded = self.scripts.record_worker(&mut redis, name).await;
        recorded.map_err(|error| error.to_string())?;
        let storage = self.storage(redis);
        let worker = WorkerBuilder::new(name)
            .backend(storage.poll_with_interval(POLL_INTERVAL))
            .data(Arc::clone(self))
            .data(runs.clone())
            .concurrency(concurrency)
            .build(handle);
        tokio::select! {
            ended = worker.run_until(stopped(stop)) => ended.map_err(|error| error.to_string()),
            () = self.heartbeats_stopped(name, &runs) => Err("it is idle and sent no heartbeat".into()),
        }
    }

    /// Returns once an idle worker has stopped sending heartbeats.
    async fn heartbeats_stopped(&self, worker: &str, runs: &Runs) {
        let mut monitor = HeartbeatMonitor::new(self.clock.elapsed());
        loop {
            self.clock.sleep(HEARTBEAT_INTERVAL).await;
            let heartbeat = self.client.query(NUDGE_TIMEOUT, async |mut redis| {
                Ok(self.scripts.last_heartbeat(&mut redis, worker).await?)
            });
            let (heartbeat, now) = (heartbeat.await, self.clock.elapsed());
            match heartbeat {
                Ok(heartbeat) if monitor.is_silent(heartbeat, runs.are_full(), now) => return,
                Ok(_) => {}
                Err(_) => monitor.reset(now),
            }
        }
    }

    /// Runs maintenance passes without end. Each removes the orphaned keys of killed processes, and then done tasks once
    /// a second.
    async fn maintain(&self) {
        loop {
            self.maintenance_pass(PASS_TIMEOUT, async |mut redis| {
                let keys = self.scripts.remove_orphans(&mut redis).await?;
                tracing::debug!(keys, "removed orphaned keys of the queue");
                for _ in 0..TRIMS_PER_PASS {
                    // A full Redis answers reads: only a write shows that it accepts them again.
                    self.client.answers().await;
                    self.scripts.trim(&mut redis).await?;
                    self.clock.sleep(TRIM_INTERVAL).await;
                }
                Ok(())
            })
            .await;
            self.clock.sleep(TRIM_INTERVAL).await;
        }
    }

    async fn remove_worker(&self, worker: &str) {
        self.maintenance_pass(REMOVAL_TIMEOUT, async |mut redis| {
            self.scripts.remove_worker(&mut redis, worker).await?;
            Ok(self.scripts.trim(&mut redis).await?)
        })
        .await;
    }

    /// Runs a maintenance pass; a later pass repairs a failed one. Uses a connection of its own, because a long search in
    /// a large Redis must not mark the shared client as unavailable.
    async fn maintenance_pass<F>(
        &self,
        timeout: Duration,
        pass: impl FnOnce(ConnectionManager) -> F,
    ) where
        F: Future<Output = Result<(), Cause>>,
    {
        let pass = async { pass(self.address.connection(RESPONSE_TIMEOUT)?).await };
        let error = match tokio::time::timeout(timeout, pass).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(elapsed) => elapsed.to_string(),
        };
        tracing::debug!(
            error,
            "maintenance of the queue failed, the next pass will repeat it"
        );
    }
}

/// Runs a job. Returns `Ok` always: the ledger has the outcome, so apalis must not retry.
async fn handle(
    job: JobId,
    queue: Data<Arc<RedisQueue>>,
    runs: Data<Runs>,
) -> Result<(), BoxDynError> {
    // Before the run: a nudge during the run may be about work that the run has not seen.
    let received = queue.client.query(NUDGE_TIMEOUT, async |mut redis| {
        Ok(queue.scripts.record_receipt(&mut redis, job).await?)
    });
    if let Err(error) = received.await {
        tracing::debug!(job.id = %job, %error, "receipt of job {job} was not recorded, its nudges are dropped for some seconds");
    }
    runs.run(job).await;
    Ok(())
}
