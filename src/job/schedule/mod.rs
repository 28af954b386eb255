//! Arms the jobs of the schedule: cleanup at fixed intervals, verification by cron text. Each slot is armed once,
//! whichever process fires it; of missed slots only the last one is armed.

pub mod cron;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use chrono_tz::Tz;
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::JobQueue;
use crate::{
    clock::Clock,
    model::{Instant, JobId, Slot},
    store::{Result, StoreError},
};
use cron::Cron;

/// Wait before a slot that the ledger did not accept is armed again.
const RETRY: Duration = Duration::from_secs(5);
/// Longest sleep before the wall clock is read again, since it may be set while a loop waits for its slot.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// When the jobs of the schedule are due.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// Time between two cleanups.
    pub cleanup_every: Duration,
    /// When the verification runs.
    pub reprocess: Cron,
    /// The zone in which `reprocess` is read.
    pub zone: Tz,
}

impl Schedule {
    /// Arms due jobs until `stop`.
    pub async fn run(self, jobs: JobQueue, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let arming = async {
            loop {
                let both = async {
                    tokio::join!(
                        self.arm_verifications(&jobs, clock.as_ref()),
                        self.arm_cleanups(&jobs, clock.as_ref()),
                    )
                };
                if AssertUnwindSafe(both).catch_unwind().await.is_err() {
                    tracing::error!("schedule panicked, it starts over in {RETRY:?}");
                }
                clock.sleep(RETRY).await;
            }
        };
        stop.run_until_cancelled(arming).await;
    }

    async fn arm_cleanups(&self, jobs: &JobQueue, clock: &dyn Clock) {
        let every = i64::try_from(self.cleanup_every.as_secs()).unwrap_or(i64::MAX);
        let every = every.max(1);
        // At start too: batches that expired while nothing ran need not wait for the next slot.
        let at_start = Slot(clock.now().timestamp());
        if let Err(error) = jobs.arm_once(JobId::Cleanup(at_start)).await {
            log_refused("cleanup", &error);
        }
        loop {
            let now = clock.now().timestamp();
            let slot = now - now.rem_euclid(every);
            let wait = match jobs.arm_once(JobId::Cleanup(Slot(slot))).await {
                Ok(()) => Duration::from_secs((slot.saturating_add(every) - now).unsigned_abs()),
                Err(error) => {
                    log_refused("cleanup", &error);
                    RETRY
                }
            };
            clock.sleep(wait).await;
        }
    }

    async fn arm_verifications(&self, jobs: &JobQueue, clock: &dyn Clock) {
        let mut armed = None;
        loop {
            let now = clock.now();
            let last = self.reprocess.last(now, self.zone);
            let due = last.filter(|slot| armed != Some(*slot));
            let wait = match arm_verification(jobs, due).await {
                Ok(()) => {
                    armed = last;
                    let next = self.reprocess.next(now, self.zone);
                    next.map_or(LONGEST_SLEEP, |next| {
                        (next - now).to_std().unwrap_or_default()
                    })
                }
                Err(error) => {
                    log_refused("verification", &error);
                    RETRY
                }
            };
            clock.sleep(wait.min(LONGEST_SLEEP)).await;
        }
    }
}

async fn arm_verification(jobs: &JobQueue, slot: Option<Instant>) -> Result<()> {
    match slot {
        Some(slot) => {
            let slot = Slot(slot.timestamp());
            jobs.arm_once(JobId::Reprocess(slot)).await
        }
        None => Ok(()),
    }
}

fn log_refused(job: &str, error: &StoreError) {
    if error.is_known_outage() {
        tracing::debug!(%error, "{job} could not be armed, will try again in {RETRY:?}");
    } else {
        tracing::warn!(%error, "{job} could not be armed, will try again in {RETRY:?}");
    }
}
