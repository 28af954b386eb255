//! The results of parsing: blocks of rows, and the summary of a file.

use super::csv::Dialect;
use crate::model::{
    EventBlock, Proposal, Rejection,
    receipt::{ValueCounts, Warning},
};

/// A block of consecutive rows: at most 8,192 events and 1,000 rejections, of about 384 KiB each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParsedRows {
    /// The valid rows.
    pub events: EventBlock,
    /// The invalid rows.
    pub rejections: Vec<Rejection>,
}

/// How the lines of a file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnding {
    /// In LF.
    Lf,
    /// In CR LF.
    CrLf,
    /// In CR alone, as on old Macs.
    Cr,
    /// Some in LF, some in CR LF.
    Mixed,
}

/// The counts and properties of a completely read file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseSummary {
    /// Records below the header, and blank lines anywhere: the sum of the following three.
    pub received: u64,
    /// Events.
    pub inserted: u64,
    /// Rejections.
    pub failed: u64,
    /// Blank lines, records of blank cells, and repeated headers.
    pub blank: u64,
    /// Headers that are repeated among the rows; part of `blank`.
    pub repeated_headers: u64,
    /// Lines above the header, which are not rows.
    pub preamble_lines: u32,
    /// How lines end.
    pub line_ending: LineEnding,
    /// The dialect, stated or detected.
    pub dialect: Dialect,
    /// Options that would let rejected rows be read.
    pub proposals: Vec<Proposal>,
    /// How the values were read.
    pub values: ValueCounts,
    /// Warnings about how values were read.
    pub warnings: Vec<Warning>,
}
