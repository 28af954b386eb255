//! The columns a row must have, and what their values have to keep to.

use std::fmt;

use crate::parse::Limits;
pub(crate) use crate::model::event::{null_is_empty, trim};

/// A column with a meaning of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Required {
    /// What happened.
    EventType,
    /// When.
    Timestamp,
    /// To whom.
    UserId,
    /// The event's own id; the only one a file may lack.
    EventId,
}

impl Required {
    /// Every one, in the order in which they are reported.
    pub const ALL: [Self; 4] = [
        Self::EventType,
        Self::Timestamp,
        Self::UserId,
        Self::EventId,
    ];

    /// The canonical label.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EventType => "event_type",
            Self::Timestamp => "timestamp",
            Self::UserId => "user_id",
            Self::EventId => "event_id",
        }
    }

    /// The other labels that are accepted, by rank.
    #[must_use]
    pub fn aliases(self) -> &'static [&'static str] {
        match self {
            Self::EventType => &["type", "event", "event_name", "action"],
            Self::Timestamp => &[
                "time",
                "ts",
                "datetime",
                "date_time",
                "occurred_at",
                "event_time",
                "created_at",
            ],
            Self::UserId => &["user", "candidate_id", "userid", "uid", "actor"],
            Self::EventId => &["uuid", "insert_id"],
        }
    }

    /// Every label that is accepted, the first found wins.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name()).chain(self.aliases().iter().copied())
    }

    /// The setting that moves the limit of its values.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::EventType => "EVENT_TYPE_LIMIT_BYTES",
            Self::Timestamp => "CELL_LIMIT_BYTES",
            Self::UserId => "USER_ID_LIMIT_BYTES",
            Self::EventId => "EVENT_ID_LIMIT_BYTES",
        }
    }

    /// Whether a file may lack it.
    #[must_use]
    pub fn is_optional(self) -> bool {
        self == Self::EventId
    }

    /// The longest value; a timestamp is bounded by its forms.
    pub(crate) fn limit(self, limits: &Limits) -> usize {
        match self {
            Self::EventType => limits.event_type_bytes,
            Self::UserId => limits.user_id_bytes,
            Self::EventId => limits.event_id_bytes,
            Self::Timestamp => limits.cell_bytes,
        }
    }
}

impl fmt::Display for Required {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ValueFault {
    /// Nothing but white space, or what databases write for nothing.
    Missing,
    /// Over its limit.
    TooLong,
}

/// The value of a cell that must have one.
#[inline]
pub(crate) fn value(cell: &[u8], limit: usize) -> Result<&[u8], ValueFault> {
    let value = null_is_empty(trim(cell));
    match value.len() {
        0 => Err(ValueFault::Missing),
        length if length > limit => Err(ValueFault::TooLong),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_neither_empty_nor_over_its_limit() {
        assert_eq!(value(b" abc ", 3), Ok(&b"abc"[..]));
        assert_eq!(value(b"abcd", 3), Err(ValueFault::TooLong));
        assert_eq!(value(b"  ", 3), Err(ValueFault::Missing));
    }

    #[test]
    fn no_label_means_two_columns() {
        let mut labels: Vec<_> = Required::ALL.iter().flat_map(|r| r.names()).collect();
        let all = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), all);
    }
}
