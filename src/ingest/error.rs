//! Why an upload fails. Nothing of a failed upload is visible, but for [`IngestError::OutcomeUnknown`].

use super::{ErrorTolerance, OptionFault};
use crate::{
    model::{BatchId, Columns, Proposal, Rejection, proposal},
    parse::ParseError,
    receive::ReceiveError,
    store::StoreError,
};

/// Seconds after which an upload whose idempotency key is busy may be sent again.
pub const KEY_BUSY_SECONDS: u64 = 5;

/// The rejected rows of a file that is refused because of them.
#[derive(Debug)]
pub struct BadRows {
    /// How many rows were rejected.
    pub failed: u64,
    /// The first of them.
    pub first: Vec<Rejection>,
    /// The columns of the file.
    pub columns: Columns,
    /// Options that would let the rows be read.
    pub proposals: Vec<Proposal>,
}

impl BadRows {
    /// Returns the first fault, and the option that would correct many.
    fn reason(&self) -> String {
        let first = self.first.first().map_or_else(
            || "all lines are blank".to_owned(),
            |r| format!("line {}: {}", r.line, r.reason()),
        );
        match self.proposals.as_slice() {
            [] => first,
            proposals => format!("{first}; {}", proposal::in_words(proposals)),
        }
    }
}

/// Why the bytes of a body end before the end of the file, or are more than one file.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The client closed the connection, or its bytes violate the protocol.
    #[error("the body broke off before its end ({cause}); nothing was stored")]
    Broken {
        /// The message of the HTTP server.
        cause: String,
    },
    /// The body ended without an error, but before its end.
    #[error("the body ended before its end")]
    EndedEarly,
    /// The client sent nothing for too long.
    #[error("the upload was given up: nothing arrived for {seconds} seconds; nothing was stored")]
    Idle {
        /// The limit.
        seconds: u64,
    },
    /// The client sent too few bytes a second.
    #[error(
        "the upload was given up: it came slower than {bytes_per_second} bytes a second; nothing was stored"
    )]
    TooSlow {
        /// The limit.
        bytes_per_second: u64,
    },
    /// The body took too long in all.
    #[error(
        "the upload was given up: it took longer than {seconds} seconds (setting UPLOAD_SECONDS); nothing was stored; send a large file in parts, to /uploads/tus"
    )]
    TooLong {
        /// The limit.
        seconds: u64,
    },
    /// The form did not end after its file.
    #[error(
        "the upload was given up: the form did not end within {seconds} seconds; nothing was stored"
    )]
    FormNotEnded {
        /// The limit.
        seconds: u64,
    },
    /// The form has a second file.
    #[error("the form has more than one file: send one file per upload")]
    SeveralFiles,
    /// The form has an option after its file.
    #[error(
        "the option `{name}` stands after the file, which is read as it arrives: put the options before it"
    )]
    LateOption {
        /// The name of the option.
        name: String,
    },
    /// The body is read from the store, which failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BodyError {
    /// Returns whether the request itself is at fault, and the client still waits for the reply. Such an error is
    /// reported even if the bytes before it are not a valid file either.
    #[must_use]
    pub fn is_of_request(&self) -> bool {
        match self {
            Self::Idle { .. }
            | Self::TooSlow { .. }
            | Self::TooLong { .. }
            | Self::FormNotEnded { .. }
            | Self::SeveralFiles
            | Self::LateOption { .. } => true,
            Self::Broken { .. } | Self::EndedEarly | Self::Store(_) => false,
        }
    }
}

/// Why an upload fails.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// An option is invalid.
    #[error(transparent)]
    Options(#[from] OptionFault),
    /// The body is rejected.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The file cannot be parsed.
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
        /// What the sender allows.
        allowed: ErrorTolerance,
        /// The rows rejected before the upload was stopped.
        rows: Box<BadRows>,
    },
    /// Too many event types; probably another column is mapped to the type.
    #[error(
        "more than {limit} different event types by line {line}: is `{column}` really the column that names the type? \
         map another one with `columns=event_type:<name>`, or raise EVENT_TYPES_LIMIT"
    )]
    TooManyEventTypes {
        /// The limit.
        limit: usize,
        /// The line that exceeds it.
        line: u32,
        /// The column used as the type.
        column: String,
    },
    /// Too many days; probably the timestamps are read in a wrong format.
    #[error(
        "events on more than {limit} different days by line {line}: are the timestamps in `{column}` read rightly? \
         state `timestamp_format`, split the file, or raise DAYS_LIMIT"
    )]
    TooManyDays {
        /// The limit.
        limit: usize,
        /// The line that exceeds it.
        line: u32,
        /// The column used as the timestamp.
        column: String,
    },
    /// The body is incomplete, or more than one file.
    #[error(transparent)]
    Body(BodyError),
    /// The store failed before the seal.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store failed during the seal.
    #[error(
        "whether batch {id} was stored is not known: look at it, and upload again if it is not there"
    )]
    OutcomeUnknown {
        /// The batch, which may be visible.
        id: BatchId,
        /// The error of the store.
        #[source]
        source: StoreError,
    },
    /// Another upload with the same idempotency key is under way, or died and is not abandoned yet.
    #[error(
        "an upload with this Idempotency-Key is still under way: send it again in {} seconds",
        KEY_BUSY_SECONDS
    )]
    KeyBusy,
    /// The idempotency key belongs to another file, or to the same file with other options.
    #[error(
        "this Idempotency-Key was used for another file or other options: send each upload with a key of its own"
    )]
    KeyReused,
    /// The lease of the upload expired, and the reconciler deleted its batch.
    #[error("the upload was given up since nothing of it arrived for too long: upload it again")]
    Abandoned,
    /// The parser thread panicked.
    #[error("the parser broke down: this is a fault of the service, not of the file")]
    ParserPanicked,
}

impl From<BodyError> for IngestError {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::Store(error) => Self::Store(error),
            error @ (BodyError::Broken { .. }
            | BodyError::EndedEarly
            | BodyError::Idle { .. }
            | BodyError::TooLong { .. }
            | BodyError::TooSlow { .. }
            | BodyError::FormNotEnded { .. }
            | BodyError::SeveralFiles
            | BodyError::LateOption { .. }) => Self::Body(error),
        }
    }
}

impl IngestError {
    /// Returns whether the file or its options are at fault, so that a repeated upload fails in the same way.
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
            | Self::Abandoned
            | Self::ParserPanicked => false,
        }
    }
}
