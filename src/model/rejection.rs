//! A bad row is data: where it is, what it held, and every fault found in it.

use serde::{Deserialize, Serialize};

/// What is wrong with a row; the names are part of the interface and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultCode {
    /// Fewer cells than the header has.
    MissingCell,
    /// More cells than the header has.
    ExtraCell,
    /// A NUL byte.
    NulByte,
    /// Bytes that are not text in the file's encoding.
    EncodingError,
    /// A cell over the limit.
    CellTooLong,
    /// A record over the limit.
    RecordTooLong,
    /// A quote that is never closed.
    UnclosedQuote,
    /// Text after a closing quote.
    StrayQuote,
    /// A row that went out to be mended and still has the mark of what is to be filled in.
    NotMended,
    /// An empty required cell.
    MissingValue,
    /// A value over its limit.
    ValueTooLong,
    /// A timestamp in no accepted form.
    InvalidTimestamp,
    /// A date whose day and month can't be told apart.
    AmbiguousTimestamp,
    /// A year before 1970 or after 2199.
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

    /// The name users see.
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

/// One thing wrong with one row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The column's label in the file; none where the whole row is at fault.
    pub column: Option<String>,
    /// What is wrong.
    pub code: FaultCode,
    /// What is wrong, in words.
    pub message: String,
    /// The cell as it came, clipped to [`Fault::VALUE_CHARS`].
    pub value: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Fault {
    /// Characters of a value that a fault shows.
    pub const VALUE_CHARS: usize = 120;

    fn text_bytes(&self) -> usize {
        let optional = [&self.column, &self.value, &self.hint];
        let optional = optional.into_iter().flatten().map(String::len);
        self.message.len() + optional.sum::<usize>()
    }

    /// A value as a fault shows it: cut at the bound, with `…` where it was cut.
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
    /// Row number, from 1, header excluded.
    pub row: u32,
    /// Physical line it starts on, from 1.
    pub line: u32,
    /// The last physical line it took with it; the same as `line` for most.
    pub last_line: u32,
    /// Where it starts in the decoded text: bytes of UTF-8 before it, a byte-order mark not counted.
    // What was stored before this was kept does not have it.
    #[serde(default)]
    pub byte_offset: u64,
    /// The original cells in header order (more or fewer if that is the fault), together at most
    /// [`Rejection::CELLS_BYTES`].
    pub cells: Vec<String>,
    /// Whether `cells` had to be cut.
    pub clipped: bool,
    /// What is wrong, at least one.
    pub faults: Vec<Fault>,
}

impl Rejection {
    /// Bytes of original text kept with a rejection: whole rows of ordinary files, bounded for hostile ones.
    pub const CELLS_BYTES: usize = 16 * 1024;

    /// Bytes of text held, its faults' included, which is what bounds a block of them.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let cells = self.cells.iter().map(String::len);
        cells.sum::<usize>() + self.faults.iter().map(Fault::text_bytes).sum::<usize>()
    }

    /// All faults in one sentence.
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
    fn codes_have_one_name_in_json_and_in_text_and_never_change() {
        for code in FaultCode::ALL {
            assert_eq!(serde_json::to_value(code).expect("a name"), code.as_str());
        }
        // Stored with rejections, and known to programs that read them: the list may grow, and that is all.
        assert_eq!(
            FaultCode::ALL.map(FaultCode::as_str).join(" "),
            "missing-cell extra-cell nul-byte encoding-error cell-too-long record-too-long unclosed-quote stray-quote \
             not-mended missing-value value-too-long invalid-timestamp ambiguous-timestamp timestamp-out-of-range"
        );
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        assert_eq!(Fault::clip(b"short"), "short");
        let long = Fault::clip("ä".repeat(500).as_bytes());
        assert_eq!(long.chars().count(), Fault::VALUE_CHARS + 1);
        assert!(long.ends_with('…'));
    }
}
