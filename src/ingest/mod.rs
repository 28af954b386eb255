//! From a body to a sealed batch: receive, parse and store joined by bounded channels.
//! A batch is visible only when all of it is stored and durable; whatever fails before leaves nothing.

mod content;
mod dry_run;
mod keyed;
mod options;
mod parsing;
mod pipeline;
mod profile;
mod strictness;
mod survey;
mod taken;

pub use dry_run::DryRun;
pub use keyed::Kept;
pub use options::{Dedupe, OptionFault, UploadOptions};
pub use pipeline::{Accepted, Ingest};
pub use profile::check_profile;
pub use strictness::Strictness;

use std::time::Duration;

use crate::{
    model::{BatchId, Columns, Rejection, receipt::FormatProposal},
    parse::{self, ParseError},
    receive::{self, ReceiveError},
    store::StoreError,
};

/// Seconds after which an upload whose key is busy may be sent again.
pub const KEY_BUSY: u64 = 5;

/// What bounds an upload.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Of the body.
    pub receive: receive::Limits,
    /// Of records and cells.
    pub parse: parse::Limits,
    /// Rejections kept per batch; beyond it they are counted.
    pub rejections: u64,
    /// Different event types in a file.
    pub event_types: usize,
    /// Different days in a file.
    pub days: usize,
    /// How long an unprocessed batch is kept; none = for ever.
    pub batch_ttl: Option<Duration>,
    /// How long an upload's lease may stand still.
    pub lease: Duration,
}

/// The rejected rows of a file of which nothing was stored.
#[derive(Debug)]
pub struct BadRows {
    /// How many there are.
    pub failed: u64,
    /// The first of them.
    pub first: Vec<Rejection>,
    /// The columns as they were understood.
    pub columns: Columns,
    /// The format that timestamps which could not be read prove.
    pub proposal: Option<FormatProposal>,
}

impl BadRows {
    /// The first fault, and what would mend many, in words.
    fn reason(&self) -> String {
        let first = self.first.first().map_or_else(
            || "all lines are blank".to_owned(),
            |r| format!("line {}: {}", r.line, r.reason()),
        );
        match &self.proposal {
            Some(proposal) => format!("{first}; {proposal}"),
            None => first,
        }
    }
}

/// Why nothing of an upload was stored.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Options that make no sense.
    #[error(transparent)]
    Options(#[from] OptionFault),
    /// The body is not one we take.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The file is not one we can read.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// Every row was rejected.
    #[error("none of the {} rows is valid: {}", .0.failed, .0.reason())]
    NoValidRows(Box<BadRows>),
    /// More rows were rejected than the sender allows.
    #[error(
        "{} rows can't be taken, which is more than `{allowed}` allows; nothing was stored: mend the rows, or allow more", .rows.failed
    )]
    TooManyErrors {
        /// What the sender allowed.
        allowed: Strictness,
        /// The rows, as far as they were read before it was given up.
        rows: Box<BadRows>,
    },
    /// Most likely another column is mapped to the type.
    #[error(
        "more than {limit} different event types by line {line}: is `{column}` really the column that names the type? \
         map another one with `columns=event_type:<name>`, or raise EVENT_TYPES_LIMIT"
    )]
    TooManyEventTypes {
        /// The limit.
        limit: usize,
        /// Where it was passed.
        line: u32,
        /// The column that was taken for the type.
        column: String,
    },
    /// Most likely timestamps are read wrongly.
    #[error(
        "events on more than {limit} different days by line {line}: are the timestamps in `{column}` read rightly? \
         state `timestamp_format`, split the file, or raise DAYS_LIMIT"
    )]
    TooManyDays {
        /// The limit.
        limit: usize,
        /// Where it was passed.
        line: u32,
        /// The column that was taken for the timestamp.
        column: String,
    },
    /// The body ended early or was not what its head said.
    #[error("{0}")]
    Body(String),
    /// The store refused; nothing is visible.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store went away while the batch was being sealed.
    #[error(
        "whether batch {id} was stored is not known: look at it, and upload again if it is not there"
    )]
    OutcomeUnknown {
        /// The batch to look at.
        id: BatchId,
        /// The cause.
        #[source]
        source: StoreError,
    },
    /// An upload with the same key is under way, or was cut off and has not been given up yet.
    #[error(
        "an upload with this Idempotency-Key is still under way: send it again in {} seconds",
        KEY_BUSY
    )]
    KeyBusy,
    /// The key stands for another file, or for the same with other options.
    #[error(
        "this Idempotency-Key was used for another file or other options: send each upload with a key of its own"
    )]
    KeyReused,
    /// It took so long between two chunks that cleanup took it for lost.
    #[error("the upload was given up since nothing of it arrived for too long: upload it again")]
    GivenUp,
}

impl IngestError {
    /// Whether the file itself is refused, so that sending it again comes to the same.
    #[must_use]
    pub fn is_of_file(&self) -> bool {
        match self {
            Self::Options(_)
            | Self::Receive(_)
            | Self::Parse(_)
            | Self::NoValidRows(_)
            | Self::TooManyErrors { .. }
            | Self::TooManyEventTypes { .. }
            | Self::TooManyDays { .. } => true,
            Self::Body(_)
            | Self::Store(_)
            | Self::OutcomeUnknown { .. }
            | Self::KeyBusy
            | Self::KeyReused
            | Self::GivenUp => false,
        }
    }
}
