//! The fields of an event: the labels of their columns, and the limits of their values.

use std::fmt;

pub(crate) use crate::model::event::{null_is_empty, trim};
use crate::parse::Limits;

/// A field that every event has, as opposed to an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventField {
    /// What happened.
    EventType,
    /// When.
    Timestamp,
    /// Who did it.
    UserId,
    /// The id of the event; the only field that a file may lack.
    EventId,
}

impl EventField {
    /// Every field, in the order in which faults are reported.
    pub const ALL: [Self; 4] = [
        Self::EventType,
        Self::Timestamp,
        Self::UserId,
        Self::EventId,
    ];

    /// Returns the canonical label of its column.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EventType => "event_type",
            Self::Timestamp => "timestamp",
            Self::UserId => "user_id",
            Self::EventId => "event_id",
        }
    }

    /// Returns the other accepted labels, the preferred ones first.
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

    /// Returns all accepted labels, the preferred ones first.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name()).chain(self.aliases().iter().copied())
    }

    /// Returns the setting that configures the limit of its values.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::EventType => "EVENT_TYPE_LIMIT_BYTES",
            Self::Timestamp => "CELL_LIMIT_BYTES",
            Self::UserId => "USER_ID_LIMIT_BYTES",
            Self::EventId => "EVENT_ID_LIMIT_BYTES",
        }
    }

    /// Whether a file may lack the field.
    #[must_use]
    pub fn is_optional(self) -> bool {
        self == Self::EventId
    }

    /// Returns the maximum bytes of a value. A timestamp is bounded by its accepted forms.
    pub(crate) fn limit(self, limits: &Limits) -> usize {
        match self {
            Self::EventType => limits.event_type_bytes,
            Self::UserId => limits.user_id_bytes,
            Self::EventId => limits.event_id_bytes,
            Self::Timestamp => limits.cell_bytes,
        }
    }
}

impl fmt::Display for EventField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong with the value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldFault {
    /// Only white space, or a null marker of a database.
    Missing,
    /// Over its limit.
    TooLong,
}

/// Returns the value of a cell that must have one.
#[inline]
pub(crate) fn required_value(cell: &[u8], limit: usize) -> Result<&[u8], FieldFault> {
    let value = null_is_empty(trim(cell));
    match value.len() {
        0 => Err(FieldFault::Missing),
        length if length > limit => Err(FieldFault::TooLong),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_neither_empty_nor_over_their_limit() {
        assert_eq!(required_value(b" abc ", 3), Ok(&b"abc"[..]));
        assert_eq!(required_value(b"abcd", 3), Err(FieldFault::TooLong));
        assert_eq!(required_value(b"  ", 3), Err(FieldFault::Missing));
    }

    #[test]
    fn every_label_stands_for_one_field() {
        let mut labels: Vec<_> = EventField::ALL
            .iter()
            .flat_map(|field| field.names())
            .collect();
        let all = labels.len();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), all);
    }
}
