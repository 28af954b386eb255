//! What an upload turned out to be: counts, file, dialect and the columns as they were understood.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{BatchId, FaultCode, IdentityBy, Instant, ProfileName};

/// What a column of the file is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// The event's type.
    EventType,
    /// The event's instant.
    Timestamp,
    /// The event's user.
    UserId,
    /// The event's own id.
    EventId,
    /// Kept as text.
    Attribute,
    /// Left out: added to rows that went out to be mended.
    Ignored,
}

impl ColumnRole {
    /// Every role.
    pub const ALL: [Self; 6] = [
        Self::EventType,
        Self::Timestamp,
        Self::UserId,
        Self::EventId,
        Self::Attribute,
        Self::Ignored,
    ];

    /// The name that a column with this role has in every file; none for any other.
    #[must_use]
    pub fn canonical(self) -> Option<&'static str> {
        match self {
            Self::EventType => Some("event_type"),
            Self::Timestamp => Some("timestamp"),
            Self::UserId => Some("user_id"),
            Self::EventId => Some("event_id"),
            Self::Attribute | Self::Ignored => None,
        }
    }
}

/// Names of the stored columns that every batch has.
pub const FIXED_COLUMNS: [&str; 6] = [
    "row",
    "line",
    "event_id",
    "user_id",
    "event_type",
    "timestamp",
];

/// The columns of one file, in header order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// Labels as the file has them, trimmed; blank ones as `column_N`.
    pub labels: Vec<String>,
    /// What each is used for.
    pub roles: Vec<ColumnRole>,
    /// A sentence for the person who made the file, such as a column that could serve as identity.
    pub hint: Option<String>,
}

impl Columns {
    /// The labels of the attribute columns, in header order.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.labels
            .iter()
            .zip(&self.roles)
            .filter(|(_, role)| **role == ColumnRole::Attribute)
            .map(|(label, _)| label.as_str())
    }

    /// The names under which the attributes are stored, in header order: a label that equals one of the
    /// fixed columns in any case, or a name taken before, gets `_2`, `_3`, ….
    #[must_use]
    pub fn stored_attributes(&self) -> Vec<String> {
        let mut taken: HashSet<String> = FIXED_COLUMNS
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let mut name_of = |label: &str| {
            let numbered = (2..).map(|n: u32| format!("{label}_{n}"));
            let free = std::iter::once(label.to_owned())
                .chain(numbered)
                .find(|name| taken.insert(name.to_lowercase()));
            free.expect("some number is free")
        };
        self.attributes().map(&mut name_of).collect()
    }

    /// Whether the file has an event id column.
    #[must_use]
    pub fn has_event_id(&self) -> bool {
        self.roles.contains(&ColumnRole::EventId)
    }
}

/// The `timestamp_format` that the timestamps which could not be read prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatProposal {
    /// The format.
    pub format: String,
    /// Physical line of a value that can be read in no other way.
    pub line: u32,
    /// That value, clipped.
    pub value: String,
    /// Rows whose timestamp is written like it.
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

/// Values that were stored as they came and look damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What is odd about them; the names never change.
    pub code: String,
    /// The label of their column.
    pub column: String,
    /// How many there are.
    pub rows: u64,
    /// Physical line of the first.
    pub line: u32,
    /// The first, clipped.
    pub value: String,
    /// What it is, and what to do about it.
    pub message: String,
}

/// The sums of invariant I1: `received = inserted + failed + blank`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// All data lines.
    pub received: u64,
    /// Stored events.
    pub inserted: u64,
    /// Rejected rows.
    pub failed: u64,
    /// Lines with nothing on them.
    pub blank: u64,
}

/// Everything about a sealed upload but its rejections, which are kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// Row counts.
    pub rows: RowCounts,
    /// Rejected rows by fault, one row counting once for each different fault.
    pub errors_by_code: BTreeMap<FaultCode, u64>,
    /// Rejections kept; fewer than `rows.failed` once the cap is reached.
    pub rejections_kept: u64,
    /// File name as it was given.
    pub file_name: Option<String>,
    /// The profile that gave its options, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// Decoded bytes.
    pub bytes: u64,
    /// SHA-256 of the decoded bytes, in hex.
    pub sha256: String,
    /// Whether the file began with a byte order mark.
    pub bom: bool,
    /// Its encoding, by its name in lower case.
    #[serde(default = "utf_8")]
    pub encoding: String,
    /// How the encoding is known: `set`, `detected` or `guessed`.
    #[serde(default = "detected")]
    pub encoding_known: String,
    /// How it was packed, if it was: `gzip`, `zstd` or `zip`.
    #[serde(default)]
    pub packing: Option<String>,
    /// `lf`, `crlf`, `cr` or `mixed`.
    pub line_ending: String,
    /// What separates cells.
    #[serde(default = "comma")]
    pub delimiter: char,
    /// What encloses cells.
    #[serde(default = "double_quote")]
    pub quote: char,
    /// How a quoted cell holds the quote: `doubled` or `backslash`.
    #[serde(default = "doubled")]
    pub escape: String,
    /// Lines above the header, which are no rows.
    #[serde(default)]
    pub preamble_lines: u32,
    /// Of the blank rows, headers that are repeated.
    #[serde(default)]
    pub repeated_headers: u64,
    /// The columns.
    pub columns: Columns,
    /// First and last event instant, microseconds since 1970 (UTC).
    pub event_time: (i64, i64),
    /// Different event types in the file.
    pub event_types: u32,
    /// Different days (UTC) in the file.
    pub days: u32,
    /// The format that the timestamps which could not be read prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<FormatProposal>,
    /// What was stored as it came and looks damaged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
    /// By what its events are told apart.
    #[serde(default)]
    pub identity: IdentityBy,
    /// The batch whose rejected rows these are, mended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<BatchId>,
    /// The options, as they were stated, that say what rows mean.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
    /// Whether any event carries an identity to claim.
    pub claims: bool,
    /// When an unprocessed batch is removed; none if never.
    pub expires_at: Option<Instant>,
}

// What receipts of the first version, which took nothing else, do not say.
fn utf_8() -> String {
    "utf-8".into()
}

fn comma() -> char {
    ','
}

fn double_quote() -> char {
    '"'
}

fn doubled() -> String {
    "doubled".into()
}

fn detected() -> String {
    "detected".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_never_hide_a_fixed_column_or_each_other() {
        let labels = ["Timestamp", "row", "row_2", "city"]
            .map(str::to_owned)
            .to_vec();
        let columns = Columns {
            roles: vec![ColumnRole::Attribute; labels.len()],
            labels,
            hint: None,
        };
        assert_eq!(
            columns.stored_attributes(),
            ["Timestamp_2", "row_2", "row_2_2", "city"]
        );
    }
}
