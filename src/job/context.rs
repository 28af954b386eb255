//! The context that the engine passes to the body of a job.

use std::sync::{Mutex, PoisonError};

use super::{JobLimits, JobQueue};
use crate::{
    clock::Clock,
    model::{
        Instant,
        job::{JobPhase, JobProgress},
    },
    store::{self, ClockReading, Store},
};

/// The parts of the service that one run uses.
pub struct JobContext<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Arms and nudges other jobs.
    pub jobs: &'a JobQueue,
    /// The bounds of the run.
    pub limits: &'a JobLimits,
    /// The fencing token of the run: a write under an older token is refused.
    pub token: i64,
    /// Receives the progress of the run.
    pub progress: &'a ProgressReporter,
}

impl JobContext<'_> {
    /// Returns the latest time that is certain, by which things expire.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the store is unavailable.
    pub async fn certain_time(&self) -> store::Result<Instant> {
        certain_time(self.store, self.clock).await
    }
}

/// Returns the latest time that is certain.
pub(super) async fn certain_time(store: &dyn Store, clock: &dyn Clock) -> store::Result<Instant> {
    let reading = ClockReading {
        wall: clock.now(),
        running: clock.elapsed(),
    };
    store.certain_time(reading).await
}

/// The latest progress of a run. The next renewal of the lease stores it in the ledger.
#[derive(Debug, Default)]
pub struct ProgressReporter(Mutex<Reported>);

#[derive(Debug, Default)]
struct Reported {
    latest: Option<JobProgress>,
    rows: Option<u64>,
}

impl ProgressReporter {
    /// Replaces the progress: `done` of `total` rows, days or batches of a phase.
    pub fn report(&self, phase: JobPhase, done: u64, total: u64) {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reported.latest = Some(JobProgress { phase, done, total });
        match phase {
            JobPhase::Sort | JobPhase::Claim | JobPhase::Fold => reported.rows = Some(total),
            JobPhase::Rollup | JobPhase::Check | JobPhase::Remove | JobPhase::Retry => {}
        }
    }

    /// Returns the number of rows of the run, if it had a phase that counts rows.
    #[must_use]
    pub fn rows(&self) -> Option<u64> {
        let reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reported.rows
    }

    /// Returns the latest progress, if any was reported.
    #[must_use]
    pub fn latest(&self) -> Option<JobProgress> {
        let reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        reported.latest
    }
}
