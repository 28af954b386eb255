//! The bounds of a run, filled from the settings by `app`.

use std::{path::PathBuf, time::Duration};

use chrono_tz::Tz;

/// The bounds of a job's life and of each run.
#[derive(Debug, Clone)]
pub struct JobLimits {
    /// Attempts in all, the first included.
    pub attempts: u32,
    /// Expired leases in a row, without progress between, after which the job is dead.
    pub crashes: u32,
    /// Delay before the second attempt; doubled for each further one, ± 20 %.
    pub backoff: Duration,
    /// Time without a renewal after which a lease has expired.
    pub lease: Duration,
    /// Time between two passes of the reconciler.
    pub sweep: Duration,
    /// Age at which a batch that was never processed expires; `None` is never.
    pub batch_ttl: Option<Duration>,
    /// Time for which deleted batches are remembered; `None` is for ever.
    pub tombstone_retention: Option<Duration>,
    /// Time for which entries of the audit log are retained; `None` is for ever.
    pub audit_retention: Option<Duration>,
    /// Time that one scheduled verification may take.
    pub reprocess_budget: Duration,
    /// The zone whose midnights separate the days of metrics.
    pub time_zone: Tz,
    /// The directory for spilled sort runs.
    pub scratch: PathBuf,
    /// Bytes that one sort holds in memory before it spills.
    pub sort_memory: usize,
    /// Partials that one fold holds in memory.
    pub fold_groups: usize,
    /// Identities claimed in one transaction: few enough that lease renewals and seals wait briefly.
    pub claims_at_once: usize,
}
