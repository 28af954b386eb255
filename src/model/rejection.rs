//! Rejected rows: position, original cells, and every fault.

use serde::{Deserialize, Serialize};

/// The kind of a fault. The names are stored and part of the interface, so they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// The row has fewer cells than the header.
    MissingCell,
    /// The row has more cells than the header.
    ExtraCell,
    /// The row contains a NUL byte.
    NulByte,
    /// The row contains bytes that are invalid in the encoding of the file.
    EncodingError,
    /// A cell exceeds its limit.
    CellTooLong,
    /// The record exceeds its limit.
    RecordTooLong,
    /// A quote is never closed.
    UnclosedQuote,
    /// Text follows a closing quote.
    StrayQuote,
    /// A row of errors.csv still has the mark of a value to fill in.
    NotMended,
    /// A required cell is empty.
    MissingValue,
    /// A value exceeds its limit.
    ValueTooLong,
    /// The timestamp is in no accepted format.
    InvalidTimestamp,
    /// The day and the month of a date are ambiguous.
    AmbiguousTimestamp,
    /// The year is before 1970 or after 2199.
    TimestampOutOfRange,
}

impl FaultCode {
    /// Every code.
    pub const ALL: [Self; 14] = [
        Self::MissingCell,
        Self::ExtraCell,
        Self::NulByte,
        Self::EncodingError,
        Self::CellTooLong,
        Self::RecordTooLong,
        Self::UnclosedQuote,
        Self::StrayQuote,
        Self::NotMended,
        Self::MissingValue,
        Self::ValueTooLong,
        Self::InvalidTimestamp,
        Self::AmbiguousTimestamp,
        Self::TimestampOutOfRange,
    ];

    /// Returns the name in replies and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingCell => "missing-cell",
            Self::ExtraCell => "extra-cell",
            Self::NulByte => "nul-byte",
            Self::EncodingError => "encoding-error",
            Self::CellTooLong => "cell-too-long",
            Self::RecordTooLong => "record-too-long",
            Self::UnclosedQuote => "unclosed-quote",
            Self::StrayQuote => "stray-quote",
            Self::NotMended => "not-mended",
            Self::MissingValue => "missing-value",
            Self::ValueTooLong => "value-too-long",
            Self::InvalidTimestamp => "invalid-timestamp",
            Self::AmbiguousTimestamp => "ambiguous-timestamp",
            Self::TimestampOutOfRange => "timestamp-out-of-range",
        }
    }
}

/// One fault of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The label of the column; `None` if the fault is not of one column.
    pub column: Option<String>,
    /// The kind.
    pub code: FaultCode,
    /// The fault in words.
    pub message: String,
    /// The original cell, clipped to [`Fault::VALUE_CHARS`].
    pub value: Option<String>,
    /// The remedy, if known.
    pub hint: Option<String>,
}

impl Fault {
    /// Maximum characters of a clipped value.
    pub const VALUE_CHARS: usize = 120;

    fn text_bytes(&self) -> usize {
        let optional = [&self.column, &self.value, &self.hint];
        let optional = optional.into_iter().flatten().map(String::len);
        self.message.len() + optional.sum::<usize>()
    }

    /// Returns at most [`Self::VALUE_CHARS`] characters of a value, followed by `…` if it is longer.
    #[must_use]
    pub fn clip(value: &[u8]) -> String {
        let head = String::from_utf8_lossy(&value[..value.len().min(Self::VALUE_CHARS * 4 + 4)]);
        let mut text: String = head.chars().take(Self::VALUE_CHARS).collect();
        if text.len() < value.len() && head.chars().nth(Self::VALUE_CHARS).is_some() {
            text.push('…');
        }
        text
    }
}

/// One rejected row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The number of the row, from 1, without the header.
    pub row: u32,
    /// The physical line on which it starts, from 1.
    pub line: u32,
    /// The physical line on which it ends.
    pub last_line: u32,
    /// Bytes of decoded UTF-8 text before it, without the byte-order mark.
    // Rejections of the first version do not have it.
    #[serde(default)]
    pub byte_offset: u64,
    /// The original cells in the order of the header, together at most [`Rejection::CELLS_BYTES`]. Their number differs
    /// from that of the header if this is the fault.
    pub cells: Vec<String>,
    /// Whether `cells` are truncated.
    pub clipped: bool,
    /// The faults, at least one.
    pub faults: Vec<Fault>,
}

impl Rejection {
    /// Maximum bytes of original text in a rejection: enough for rows of ordinary files.
    pub const CELLS_BYTES: usize = 16 * 1024;

    /// Returns the bytes of its text, that of its faults included. They limit the size of a block.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let cells = self.cells.iter().map(String::len);
        cells.sum::<usize>() + self.faults.iter().map(Fault::text_bytes).sum::<usize>()
    }

    /// Returns all faults in one sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        self.faults
            .iter()
            .map(|f| f.message.as_str())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_codes_never_change() {
        for code in FaultCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("a name"), code.as_str());
        }
        // Stored and part of the interface: codes may be added, but not changed.
        assert_eq!(
            FaultCode::ALL.map(FaultCode::as_str).join(" "),
            "missing-cell extra-cell nul-byte encoding-error cell-too-long record-too-long unclosed-quote stray-quote \
             not-mended missing-value value-too-long invalid-timestamp ambiguous-timestamp timestamp-out-of-range"
        );
    }

    #[test]
    fn long_values_are_clipped_and_marked() {
        assert_eq!(Fault::clip(b"short"), "short");
        let long = Fault::clip("ä".repeat(500).as_bytes());
        assert_eq!(long.chars().count(), Fault::VALUE_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
