//! The fields of an event: the labels of their columns, and the limits of their values.

use std::fmt;

pub(crate) use crate::model::event::trim;
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
            Self::EventType => &[
                "type",
                "event",
                "event_name",
                "action",
                "operation",
                "operations",
            ],
            Self::Timestamp => &[
                "time",
                "ts",
                "datetime",
                "date_time",
                "occurred_at",
                "event_time",
                "created_at",
                "date",
                "time_generated",
            ],
            Self::UserId => &[
                "user",
                "candidate_id",
                "userid",
                "uid",
                "actor",
                "distinct_id",
                "anonymous_id",
            ],
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

/// What stands for a missing value in a file: what the upload states, else the usual markers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NullValues(Option<Vec<String>>);

impl NullValues {
    /// Creates the markers that an upload states.
    pub(crate) fn new(stated: Vec<String>) -> Self {
        Self(Some(stated))
    }

    /// Returns a value, or an empty one in place of a marker.
    #[inline]
    pub(crate) fn empty<'a>(&self, value: &'a [u8]) -> &'a [u8] {
        if self.is_null(value) { b"" } else { value }
    }

    /// Whether a value stands for a missing one.
    #[inline]
    pub(crate) fn is_null(&self, value: &[u8]) -> bool {
        match &self.0 {
            None => is_null_marker(value),
            Some(stated) => stated.iter().any(|marker| marker.as_bytes() == value),
        }
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

/// What stands for a missing value in the exports of databases, spreadsheets and programs.
const NULL_MARKERS: [&str; 36] = [
    "\\N",
    "NULL",
    "null",
    "Null",
    "(null)",
    "(NULL)",
    "<null>",
    "<NULL>",
    "[null]",
    "[NULL]",
    "None",
    "NONE",
    "none",
    "nil",
    "NIL",
    "nan",
    "NaN",
    "NAN",
    "-nan",
    "-NaN",
    "undefined",
    "N/A",
    "n/a",
    "NA",
    "n.a.",
    "#N/A",
    "#NA",
    "#n/a",
    "<NA>",
    "<na>",
    "#NULL!",
    "#VALUE!",
    "#REF!",
    "#NAME?",
    "#DIV/0!",
    "#NUM!",
];

/// The longest of them.
const NULL_MARKER_BYTES: usize = 9;

/// Whether a value stands for a missing one.
#[inline]
pub(crate) fn is_null_marker(value: &[u8]) -> bool {
    value.len() <= NULL_MARKER_BYTES
        && matches!(
            value.first(),
            Some(b'\\' | b'N' | b'n' | b'(' | b'<' | b'[' | b'u' | b'#' | b'-')
        )
        && NULL_MARKERS.iter().any(|marker| marker.as_bytes() == value)
}

/// Whether a character is invisible and has no width, such as a byte-order mark in the middle of a file.
fn is_mark(c: char) -> bool {
    matches!(
        c,
        '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{00ad}'
    )
}

/// Returns a cell of an event field without white space and invisible marks at its ends.
#[inline]
pub(crate) fn field_text(cell: &[u8]) -> &[u8] {
    let visible = |byte: &u8| (0x21..0x7f).contains(byte);
    match (cell.first(), cell.last()) {
        (Some(first), Some(last)) if visible(first) && visible(last) => cell,
        _ => field_text_slow(cell),
    }
}

#[cold]
fn field_text_slow(cell: &[u8]) -> &[u8] {
    match std::str::from_utf8(cell) {
        Ok(text) => text
            .trim_matches(|c: char| c.is_whitespace() || is_mark(c))
            .as_bytes(),
        Err(_) => cell.trim_ascii(),
    }
}

/// Whether [`field_text`] removes an invisible mark from a cell, rather than white space alone.
pub(crate) fn has_mark(cell: &[u8]) -> bool {
    field_text(cell).len() < trim(cell).len()
}

/// Returns the value of a cell that must have one. `is_null` tells what stands for none.
#[inline]
pub(crate) fn required_value<'a>(
    cell: &'a [u8],
    limit: usize,
    nulls: &NullValues,
) -> Result<&'a [u8], FieldFault> {
    let value = nulls.empty(field_text(cell));
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
        let nulls = NullValues::default();
        assert_eq!(required_value(b" abc ", 3, &nulls), Ok(&b"abc"[..]));
        assert_eq!(required_value(b"abcd", 3, &nulls), Err(FieldFault::TooLong));
        assert_eq!(required_value(b"  ", 3, &nulls), Err(FieldFault::Missing));
        for marker in NULL_MARKERS {
            let found = required_value(marker.as_bytes(), 99, &nulls);
            assert_eq!(found, Err(FieldFault::Missing), "{marker}");
            assert!(marker.len() <= NULL_MARKER_BYTES);
        }
        let stated = NullValues::new(vec!["-".into()]);
        assert_eq!(required_value(b"-", 3, &stated), Err(FieldFault::Missing));
        assert_eq!(required_value(b"null", 9, &stated), Ok(&b"null"[..]));
    }

    #[test]
    fn invisible_marks_are_removed() {
        assert_eq!(field_text("\u{feff}u2\u{200b} ".as_bytes()), b"u2");
        assert!(has_mark("u2\u{200b}".as_bytes()) && !has_mark(" u2 ".as_bytes()));
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
