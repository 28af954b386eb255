//! Uploads: turns the bytes of a file into a sealed batch, a duplicate, a dry run or an error.
//! Receiving, parsing and storing run in parallel, joined by bounded channels, so memory stays flat.
//! A batch is visible only once all its rows are durable. An upload that fails before leaves nothing visible.

mod batch_writer;
mod content_key;
mod dry_run;
mod error;
mod error_tolerance;
mod event_sink;
mod idempotent_upload;
mod option_defaults;
mod options;
mod parsed_file;
mod parser_thread;
mod rejection_tally;
mod survey;
mod upload;
mod value_warnings;

pub use batch_writer::{BatchSummary, BatchWriter, UploadLease};
pub use dry_run::DryRun;
pub use error::{BadRows, BodyError, IngestError, KEY_BUSY_SECONDS};
pub use error_tolerance::ErrorTolerance;
pub use option_defaults::{ResolvedOptions, check_profile};
pub use options::{Dedupe, OptionFault, OptionName, OptionScope, UploadOptions};
pub use survey::{EventStatistics, LimitExceeded, Survey};
pub use upload::{Ingest, UploadOutcome};

use std::time::Duration;

use crate::{parse, receive};

/// The limits of an upload.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Limits of the body.
    pub receive: receive::Limits,
    /// Limits of records and cells.
    pub parse: parse::Limits,
    /// The zone of the service: of days, and of times without an offset unless an upload states another.
    pub time_zone: chrono_tz::Tz,
    /// Maximum rejections stored per batch. Further ones are only counted.
    pub rejections: u64,
    /// Maximum different event types in a file.
    pub event_types: usize,
    /// Maximum different days in a file.
    pub days: usize,
    /// The time after which an unprocessed batch is deleted; `None` if never.
    pub batch_ttl: Option<Duration>,
    /// The time after which the lease of an upload expires without a renewal.
    pub lease: Duration,
}
