//! The receipt of a sealed batch: row counts, the file or stream that its rows came from, and how they were understood.

mod stored;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{BatchId, Columns, FaultCode, IdentityBy, Instant, ProfileName};
use stored::StoredReceipt;

/// The `timestamp_format` that the unreadable timestamps of a file prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatProposal {
    /// The format.
    pub format: String,
    /// The physical line of a value that no other format can read.
    pub line: u32,
    /// This value, clipped.
    pub value: String,
    /// Rows whose timestamp this format can read.
    pub rows: u64,
}

impl fmt::Display for FormatProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            format,
            line,
            value,
            rows: _,
        } = self;
        write!(
            f,
            "line {line} has `{value}`: send `timestamp_format={format}`"
        )
    }
}

/// A warning about values that are stored as received, and are probably damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The kind of damage. The names are part of the interface and never change.
    pub code: String,
    /// The label of the column.
    pub column: String,
    /// Rows with such a value.
    pub rows: u64,
    /// The physical line of the first.
    pub line: u32,
    /// The first value, clipped.
    pub value: String,
    /// The damage in words, with its remedy.
    pub message: String,
}

/// The digest of the stored form of a batch's events, in hexadecimal: of its event file in the embedded store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventDigest(pub String);

/// The row counts of a batch: `received = inserted + failed + blank`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// All data lines.
    pub received: u64,
    /// Stored events.
    pub inserted: u64,
    /// Rejected rows.
    pub failed: u64,
    /// Blank lines, and repeated headers.
    pub blank: u64,
}

/// The properties of an uploaded file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOrigin {
    /// The name of the file, if the sender stated one.
    pub name: Option<String>,
    /// Bytes of the unpacked file.
    pub bytes: u64,
    /// SHA-256 of these bytes, in hexadecimal.
    pub sha256: String,
    /// Whether the file starts with a byte-order mark.
    pub bom: bool,
    /// The name of the encoding, in lower case.
    pub encoding: String,
    /// How the encoding is known: `set`, `detected` or `guessed`.
    pub encoding_source: String,
    /// The packing, if the file was packed: `gzip`, `zstd` or `zip`.
    pub packing: Option<String>,
    /// `lf`, `crlf`, `cr` or `mixed`.
    pub line_ending: String,
    /// The character between cells.
    pub delimiter: char,
    /// The character around quoted cells.
    pub quote: char,
    /// How a quoted cell contains the quote: `doubled` or `backslash`.
    pub escape: String,
    /// Lines above the header, which do not count as rows.
    pub preamble_lines: u32,
    /// Headers repeated among the rows. They count as blank.
    pub repeated_headers: u64,
}

/// The properties of a stream of events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamOrigin {
    /// The name of the stream, such as that of a topic.
    pub name: String,
}

/// Where the rows of a batch came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// One uploaded file.
    File(FileOrigin),
    /// A section of a stream.
    Stream(StreamOrigin),
}

impl Origin {
    /// Returns the file; `None` for a stream.
    #[must_use]
    pub fn file(&self) -> Option<&FileOrigin> {
        match self {
            Self::File(file) => Some(file),
            Self::Stream(_) => None,
        }
    }
}

/// The receipt of a sealed batch. Its rejections are stored separately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "StoredReceipt", into = "StoredReceipt")]
pub struct Receipt {
    /// The row counts.
    pub rows: RowCounts,
    /// Rejected rows by fault. A row counts once for each of its faults.
    pub errors_by_code: BTreeMap<FaultCode, u64>,
    /// Stored rejections: fewer than `rows.failed` if there were more than the limit.
    pub rejections_kept: u64,
    /// Where the rows came from.
    pub origin: Origin,
    /// The profile that supplied options, if any.
    pub profile: Option<ProfileName>,
    /// The columns.
    pub columns: Columns,
    /// The first and the last instant of the events, in microseconds since 1970 (UTC).
    pub event_time: (i64, i64),
    /// Different event types.
    pub event_types: u32,
    /// Different days (UTC).
    pub days: u32,
    /// The format that unreadable timestamps prove, if any.
    pub proposal: Option<FormatProposal>,
    /// Warnings about stored values.
    pub warnings: Vec<Warning>,
    /// The columns that identify an event.
    pub identity: IdentityBy,
    /// The batch whose rejected rows were corrected in this file, if any.
    pub parent: Option<BatchId>,
    /// The options that determine the meaning of the rows, as stated.
    pub options: BTreeMap<String, String>,
    /// The digest of the stored events; `None` if the store checks its documents itself, as MongoDB does, or if an older
    /// version stored them.
    pub event_digest: Option<EventDigest>,
    /// Whether any event has an identity to claim.
    pub claims: bool,
    /// The time at which the batch is deleted unless it is processed; `None` if never. Later if the file is uploaded again.
    pub expires_at: Option<Instant>,
}

#[cfg(test)]
mod tests;
