//! The life of a job: armed in the ledger, claimed under a lease, worked on, settled.
//! The queue only carries ids, and may lose, delay or double them.

pub mod apalis;
pub mod cron;
pub mod engine;
pub mod work;

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use chrono_tz::Tz;

use crate::{model::JobId, store::StoreError};

pub use cron::check_cron;
pub use engine::{
    desk::{Desk, Keyed, Undone},
    runner::{Ran, Runner},
    sweep::Sweep,
};

/// The queue did not take a nudge; the sweep will see to it.
#[derive(Debug, thiserror::Error)]
#[error("the queue did not take job {job}")]
pub struct DispatchError {
    /// The job.
    pub job: JobId,
    /// The cause.
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// The way to the worker pool.
#[async_trait]
pub trait Dispatch: Send + Sync {
    /// Asks some worker to look at `job`. Losing it costs delay, never work.
    ///
    /// # Errors
    /// [`DispatchError`] if the queue is away.
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError>;

    /// Its kind, as `/ready` and the log name it.
    fn kind(&self) -> &'static str {
        "in-process"
    }

    /// Whether it answers now, within a second or so; a queue within the process always does.
    async fn answers(&self) -> bool {
        true
    }
}

/// What bounds the life of a job.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Crashes without progress between before a job is given up.
    pub crashes: u32,
    /// Delay before the second attempt; doubled for each further one, ± 20 %.
    pub backoff: Duration,
    /// How long a lease may stand still.
    pub lease: Duration,
    /// Time between two sweeps.
    pub sweep: Duration,
    /// How long an unprocessed batch is kept; none = for ever.
    pub batch_ttl: Option<Duration>,
    /// How long one midnight run may take.
    pub reprocess_budget: Duration,
    /// The zone that days are counted in.
    pub time_zone: Tz,
    /// Where sorts spill.
    pub scratch: PathBuf,
    /// Bytes that one sort holds.
    pub sort_memory: usize,
    /// Partials that one fold holds.
    pub fold_groups: usize,
    /// Identities claimed in one transaction, short enough that leases and seals need not wait.
    pub claims_at_once: usize,
}

/// Why a run stopped.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The store said so.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A newer run or an undo has the batch: nothing may be changed any more.
    #[error("a newer run or an undo has it")]
    Superseded,
    /// No room to sort.
    #[error("sorting identities failed: {0}")]
    Sort(#[from] std::io::Error),
    /// Sums that must agree do not.
    #[error("{0}")]
    Inconsistent(String),
}

/// What a run came to, short of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// All that was wanted.
    Completed,
    /// More was asked for meanwhile.
    Again,
    /// Nobody wants it any more.
    Cancelled,
    /// Its batch was given up before this run.
    GivenUp,
}
