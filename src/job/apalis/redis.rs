//! The queue that many processes share: apalis-redis, with what its version 1.0.0 needs around it.
//! All that it keeps may be flushed at any time; the ledger and the sweep fill it anew.

mod keys;
mod pulse;

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

use super::{Handler, Kind, Queue, Runs, stopped, supervise::supervise};
use crate::{
    clock::Clock,
    job::{Dispatch, DispatchError},
    link::{Address, Cause, Link},
    model::JobId,
};
use keys::{Keys, Room};
use pulse::Pulse;

/// Begins the name of every key.
const QUEUE: &str = "jobs";
/// Longest wait of a nudge; whoever asks for a job waits for it.
const NUDGE: Duration = Duration::from_millis(300);
/// A worker outlives a Redis that stands still for less than this: any error ends it.
const RESPONSE: Duration = Duration::from_secs(5);
/// Time between two looks for nudges; a job is picked up after half of it, on average.
const POLL: Duration = Duration::from_millis(100);
/// Time between two signs of life of a worker; it sends none while it hands over a task.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// Signs of life that a worker may miss before its tasks are given to others: a minute, since clocks differ.
const MISSED: usize = 30;
/// Time between two removals of what is done.
const TRIM: Duration = Duration::from_secs(1);
/// Removals of what is done between two searches for what killed processes left.
const TRIMS: u32 = 60;
/// Time for one pass of tidying up: its search, its removals, and then some.
const TIDY: Duration = Duration::from_secs(90);
/// Time for a worker to say goodbye once its runs are over; Redis may be away.
const GOODBYE: Duration = Duration::from_secs(1);

/// Both halves.
pub(super) struct Shared {
    address: Address,
    link: Link,
    clock: Arc<dyn Clock>,
    keys: Keys,
    /// Begins the names of workers; no other start of any process has it.
    worker: String,
}

/// A queue in Redis. Opens no connection yet: it may be away.
///
/// # Errors
/// [`RedisError`] if a connection can't even be prepared.
pub fn redis(
    address: Address,
    clock: Arc<dyn Clock>,
    worker: String,
) -> Result<(Arc<dyn Dispatch>, Queue), RedisError> {
    let without = "jobs wait in the ledger until it is back";
    let queue = Arc::new(Shared {
        link: Link::new(address.clone(), Arc::clone(&clock), without)?,
        keys: Keys::new(config(&address)),
        address,
        clock,
        worker,
    });
    let sender: Arc<dyn Dispatch> = queue.clone();
    Ok((sender, Queue(Kind::Redis(queue))))
}

fn config(address: &Address) -> Config {
    Config::default()
        .queue(format!("{}:{QUEUE}", address.space()))
        // More would lie in a worker while others are idle, and keep it from its signs of life.
        .batch_size(1)
        .heartbeat_interval(HEARTBEAT)
        .missed_heartbeats(MISSED)
        // Leases are the ledger's; each one here would be a further way for a worker to end.
        .lock_tasks(false)
        .emit_events(false)
}

#[async_trait]
impl Dispatch for Shared {
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
        let pushed = self.link.call(NUDGE, |redis| self.push(redis, job)).await;
        pushed.map_err(|why| DispatchError {
            job,
            source: why.into(),
        })
    }

    fn kind(&self) -> &'static str {
        "redis"
    }

    async fn answers(&self) -> bool {
        self.link.answers().await
    }
}

impl Shared {
    async fn push(&self, mut redis: ConnectionManager, job: JobId) -> Result<(), Cause> {
        let push = uuid::Uuid::now_v7().to_string();
        match self.keys.reserve(&mut redis, job, &push).await? {
            Room::Push => {
                self.storage(redis.clone()).push(job).await?;
                self.keys.pushed(&mut redis, job, &push).await?;
            }
            Room::Waits => {}
            Room::Full => {
                tracing::debug!(job.id = %job, "the queue is full: the sweep will nudge job {job} again");
            }
        }
        Ok(())
    }

    fn storage(&self, redis: ConnectionManager) -> RedisStorage<JobId> {
        RedisStorage::new(redis).with_config(config(&self.address))
    }

    pub(super) async fn serve(
        self: Arc<Self>,
        handler: Handler,
        concurrency: usize,
        stop: CancellationToken,
    ) {
        let runs = Runs::new(handler, concurrency);
        let work = supervise("jobs", &self.worker, &stop, |name| {
            let (queue, runs, stop) = (Arc::clone(&self), runs.clone(), stop.clone());
            async move {
                let ended = queue.work(&name, runs, concurrency, stop).await;
                queue.leave(&name).await;
                ended
            }
        });
        let over = async {
            stop.cancelled().await;
            runs.over().await;
            self.clock.sleep(GOODBYE).await;
        };
        let work = async {
            tokio::select! {
                () = work => {}
                () = over => {}
            }
        };
        tokio::join!(work, stop.run_until_cancelled(self.tidy()));
        runs.over().await;
    }

    /// One worker, until it ends.
    async fn work(
        self: &Arc<Self>,
        name: &str,
        runs: Runs,
        concurrency: usize,
        stop: CancellationToken,
    ) -> Result<(), String> {
        // A connection of its own: one that broke with the last worker is gone with it.
        let redis = self.address.connection(RESPONSE);
        let storage = self.storage(redis.map_err(|why| why.to_string())?);
        let worker = WorkerBuilder::new(name)
            .backend(storage.poll_with_interval(POLL))
            .data(Arc::clone(self))
            .data(runs.clone())
            .concurrency(concurrency)
            .build(take);
        tokio::select! {
            ended = worker.run_until(stopped(stop)) => ended.map_err(|why| why.to_string()),
            () = self.deaf(name, &runs) => Err("it gave no sign of life though it is idle".into()),
        }
    }

    /// Returns when the worker has fallen silent.
    async fn deaf(&self, worker: &str, runs: &Runs) {
        let mut pulse = Pulse::new(self.clock.elapsed());
        loop {
            self.clock.sleep(HEARTBEAT).await;
            let sign = self.link.call(NUDGE, async |mut redis| {
                Ok(self.keys.sign(&mut redis, worker).await?)
            });
            let (sign, now) = (sign.await, self.clock.elapsed());
            match sign {
                Ok(sign) if pulse.is_silent(sign, runs.are_full(), now) => return,
                Ok(_) => {}
                Err(_) => pulse.unknown(now),
            }
        }
    }

    /// Removes what is done, and from time to time what killed processes left.
    async fn tidy(&self) {
        loop {
            self.tidied(TIDY, async |mut redis| {
                let keys = self.keys.leftovers(&mut redis).await?;
                tracing::debug!(keys, "removed what killed processes left");
                for _ in 0..TRIMS {
                    self.keys.trim(&mut redis).await?;
                    self.clock.sleep(TRIM).await;
                }
                Ok(())
            })
            .await;
            self.clock.sleep(TRIM).await;
        }
    }

    async fn leave(&self, worker: &str) {
        self.tidied(GOODBYE, async |mut redis| {
            self.keys.leave(&mut redis, worker).await?;
            Ok(self.keys.trim(&mut redis).await?)
        })
        .await;
    }

    /// Tidies up; what fails is made good by a later pass. Not over the link: a search that takes long in a Redis
    /// full of other things must not pass for one that is away.
    async fn tidied<F>(&self, within: Duration, pass: impl FnOnce(ConnectionManager) -> F)
    where
        F: Future<Output = Result<(), Cause>>,
    {
        let pass = async { pass(self.address.connection(RESPONSE)?).await };
        let why = match tokio::time::timeout(within, pass).await {
            Ok(Ok(())) => return,
            Ok(Err(why)) => why.to_string(),
            Err(late) => late.to_string(),
        };
        tracing::debug!(why, "can't tidy up the queue yet");
    }
}

/// Always well for apalis: what a run came to is in the ledger, so its own retries have nothing to do.
async fn take(job: JobId, queue: Data<Arc<Shared>>, runs: Data<Runs>) -> Result<(), BoxDynError> {
    // Before the run: a nudge that comes while it runs may be about something it has not seen.
    let taken = queue.link.call(NUDGE, async |mut redis| {
        Ok(queue.keys.taken(&mut redis, job).await?)
    });
    // If that failed, the next nudges about this job are dropped for some seconds.
    if let Err(why) = taken.await {
        tracing::debug!(job.id = %job, error = %why, "can't note that job {job} was taken");
    }
    runs.run(job).await;
    Ok(())
}
