//! The columns of one file: their labels, and what each is used for.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

/// The use of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnRole {
    /// The type of the event.
    EventType,
    /// The instant of the event.
    Timestamp,
    /// The user of the event.
    UserId,
    /// The id of the event.
    EventId,
    /// Any other value, stored as text.
    Attribute,
    /// Not stored: a column that the export of rejected rows added.
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

    /// Returns the name that the column has in every file; `None` if the file names it.
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

/// The names of the stored columns that every batch has.
pub const FIXED_COLUMNS: [&str; 6] = [
    "row",
    "line",
    "event_id",
    "user_id",
    "event_type",
    "timestamp",
];

/// The columns of one file, in the order of the header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Columns {
    /// The labels in the file, trimmed. A blank label is `column_N`.
    pub labels: Vec<String>,
    /// The role of each column.
    pub roles: Vec<ColumnRole>,
    /// A suggestion for the author of the file, such as a column that could serve as identity.
    pub hint: Option<String>,
}

impl Columns {
    /// Returns the labels of the attributes, in the order of the header.
    pub fn attributes(&self) -> impl Iterator<Item = &str> {
        self.labels
            .iter()
            .zip(&self.roles)
            .filter(|(_, role)| **role == ColumnRole::Attribute)
            .map(|(label, _)| label.as_str())
    }

    /// Returns the names under which the attributes are stored, in the order of the header. A label that equals a fixed
    /// column or an earlier name, in any case, gets `_2`, `_3`, ….
    #[must_use]
    pub fn stored_attributes(&self) -> Vec<String> {
        let mut used: HashSet<String> = FIXED_COLUMNS
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let mut name_of = |label: &str| {
            let numbered = (2..).map(|n: u32| format!("{label}_{n}"));
            let unused = std::iter::once(label.to_owned())
                .chain(numbered)
                .find(|name| used.insert(name.to_lowercase()));
            unused.expect("some number is unused")
        };
        self.attributes().map(&mut name_of).collect()
    }

    /// Returns whether the file has a column of event ids.
    #[must_use]
    pub fn has_event_id(&self) -> bool {
        self.roles.contains(&ColumnRole::EventId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_have_names_unlike_fixed_columns_and_each_other() {
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
