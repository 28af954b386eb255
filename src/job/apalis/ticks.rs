//! Arms what the clock asks for: cleanup at fixed intervals, the nightly check by cron text.
//! A slot is armed once, whoever fires; of what was missed, only the last slot is made good.

use std::{sync::Arc, time::Duration};

use apalis::prelude::{BoxDynError, Data, WorkerBuilder, WorkerContext};
use apalis_cron::{CronScheduler, Tick};
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;

use super::{stopped, supervise::supervise};
use crate::{
    clock::Clock,
    job::{Desk, cron::Cron},
    model::{Instant, JobId, Slot},
    store::Result,
};

/// Wait before an arming that the store refused is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What is armed by the clock.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Time between two cleanups.
    pub cleanup_every: Duration,
    /// When the nightly check runs, as cron text.
    pub reprocess_cron: String,
    /// The zone that the cron text is read in.
    pub zone: Tz,
}

/// Arms scheduled jobs until `stop`.
pub async fn schedule(
    schedule: Schedule,
    desk: Desk,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    let Schedule {
        cleanup_every,
        reprocess_cron,
        zone,
    } = schedule;
    let nightly = async {
        match Cron::parse(&reprocess_cron) {
            Ok(cron) => reprocess(cron, zone, &desk, &clock, &stop).await,
            Err(why) => {
                tracing::error!(
                    cron = reprocess_cron,
                    why,
                    "the nightly check is off: its cron text can't be read"
                );
            }
        }
    };
    let cleanup = stop.run_until_cancelled(cleanup(cleanup_every, &desk, clock.as_ref()));
    tokio::join!(nightly, cleanup);
}

async fn cleanup(every: Duration, desk: &Desk, clock: &dyn Clock) {
    let every = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1);
    // At the start too: what expired while nothing ran need not wait for the next slot.
    if let Err(why) = desk
        .arm_slot(JobId::Cleanup(Slot(clock.now().timestamp())))
        .await
    {
        tracing::warn!(error = %why, "can't arm the cleanup yet");
    }
    loop {
        let now = clock.now().timestamp();
        let slot = now - now.rem_euclid(every);
        let wait = match desk.arm_slot(JobId::Cleanup(Slot(slot))).await {
            Ok(()) => Duration::from_secs((slot.saturating_add(every) - now).unsigned_abs()),
            Err(why) => {
                tracing::warn!(error = %why, "can't arm the cleanup yet");
                AGAIN
            }
        };
        clock.sleep(wait).await;
    }
}

async fn reprocess(
    cron: Cron,
    zone: Tz,
    desk: &Desk,
    clock: &Arc<dyn Clock>,
    stop: &CancellationToken,
) {
    supervise("cron", "cron", stop, |name| {
        let ticks = Ticks {
            cron: cron.clone(),
            clock: Arc::clone(clock),
            last: Instant::default(),
        };
        let worker = WorkerBuilder::new(name)
            .backend(CronScheduler::new(ticks.clone()).with_timezone(zone))
            .data(desk.clone())
            .build(arm);
        let (desk, stop) = (desk.clone(), stop.clone());
        async move {
            ticks
                .catch_up(&desk, zone)
                .await
                .map_err(|why| why.to_string())?;
            worker
                .run_until(stopped(stop))
                .await
                .map_err(|why| why.to_string())
        }
    })
    .await;
}

/// Only arms: apalis-cron ends its worker when a tick has passed before it is polled.
async fn arm(
    tick: Tick<Tz>,
    desk: Data<Desk>,
    worker: WorkerContext,
) -> std::result::Result<(), BoxDynError> {
    let slot = Slot(i64::try_from(tick.get_timestamp())?);
    if let Err(why) = desk.arm_slot(JobId::Reprocess(slot)).await {
        tracing::warn!(error = %why, "can't arm the nightly check yet");
        // The next worker begins with the slot that was missed.
        worker.stop()?;
    }
    Ok(())
}

/// The ticks of one worker, on our clock and with our reading of cron.
#[derive(Clone)]
struct Ticks {
    cron: Cron,
    clock: Arc<dyn Clock>,
    last: Instant,
}

impl Ticks {
    async fn catch_up(&self, desk: &Desk, zone: Tz) -> Result<()> {
        match self.cron.last(self.clock.now(), zone) {
            Some(missed) => {
                desk.arm_slot(JobId::Reprocess(Slot(missed.timestamp())))
                    .await
            }
            None => Ok(()),
        }
    }
}

impl apalis_cron::Schedule<Tz> for Ticks {
    fn next_tick(&mut self, zone: &Tz) -> Option<Tick<Tz>> {
        // A timer that fires a little early must not give the same tick twice.
        let after = self.clock.now().max(self.last);
        let next = self.cron.next(after, *zone)?;
        self.last = next;
        u64::try_from(next.timestamp()).ok().map(Tick::new)
    }
}
