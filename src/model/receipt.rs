//! The receipt of a sealed batch: row counts, the file or stream that its rows came from, and how they were understood.

mod stored;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    BatchId, Columns, Evidence, Fault, FaultCode, IdentityBy, Instant, ProfileName, Proposal,
};
use stored::StoredReceipt;

/// A warning about values that are stored as received and are probably not meant so, or about how they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// The kind. The names are part of the interface and never change.
    pub code: String,
    /// The label of the column; empty if the warning is not of one column.
    pub column: String,
    /// Rows with such a value.
    pub rows: u64,
    /// The physical line of the first.
    pub line: u32,
    /// The first value, clipped.
    pub value: String,
    /// What is wrong in words, with its remedy.
    pub message: String,
    /// The first such values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Evidence>,
    /// Options that would settle it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposals: Vec<Proposal>,
}

/// How many values of one kind a file has, and the first of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sightings {
    /// Rows with such a value.
    pub rows: u64,
    /// The first of them.
    pub first: Vec<Evidence>,
}

impl Sightings {
    /// Maximum values kept.
    const FIRST: usize = 5;

    /// Adds a value.
    pub fn add(&mut self, row: u32, line: u32, value: &[u8]) {
        self.rows += 1;
        if self.first.len() < Self::FIRST {
            let value = Fault::clip(value);
            self.first.push(Evidence { row, line, value });
        }
    }

    /// Returns the warning about the values; none if there are none.
    #[must_use]
    pub fn warning(
        &self,
        code: &str,
        column: &str,
        message: impl FnOnce(&Evidence) -> String,
    ) -> Option<Warning> {
        let first = self.first.first()?;
        Some(Warning {
            code: code.to_owned(),
            column: column.to_owned(),
            rows: self.rows,
            line: first.line,
            value: first.value.clone(),
            message: message(first),
            examples: self.first.clone(),
            proposals: Vec::new(),
        })
    }
}

/// How the values of a file were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ValueCounts {
    /// The zone of times without an offset.
    pub time_zone: String,
    /// Events whose time has no offset, and was read in that zone.
    pub local_times: u64,
    /// Events with a day and no time, which count on that day.
    pub days: u64,
    /// Values that stand for no value, such as `null` and `N/A`, in the known columns of the events.
    pub null_values: u64,
    /// Byte-order marks and zero-width marks that were removed from the known columns.
    pub marks_removed: u64,
    /// Events without a user, which `anonymous=keep` keeps.
    pub anonymous: u64,
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
    /// The character around quoted cells; a line feed if there is none.
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
    /// Options that would let rejected rows be read.
    pub proposals: Vec<Proposal>,
    /// How the values were read; `None` for a batch of an older version, or of a stream.
    pub values: Option<ValueCounts>,
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
