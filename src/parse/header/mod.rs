//! The header: finds out what each column means by the labels of the first record.
//! Labels that the upload maps win over canonical names, canonical names over aliases. All other columns are attributes.

mod column_proposal;

use std::collections::{HashMap, HashSet};

use column_proposal::missing_columns;

use super::{Limits, error::ParseError, value::field::EventField};
use crate::export::errors_csv::{appended_positions, is_errors_csv, strip_apostrophe};

/// Maximum bytes of a label. It is part of each fault of its column, so a long one would enlarge every rejection.
const LABEL_BYTES: usize = 256;

/// The columns of a file and their meaning. Columns are identified by their position, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The labels in the file without surrounding space. Blank labels are replaced by generated ones.
    pub labels: Vec<String>,
    /// Column of the event type.
    pub event_type: usize,
    /// Column of the timestamp.
    pub timestamp: usize,
    /// Column of the user id.
    pub user_id: usize,
    /// Column of the event id, if there is one.
    pub event_id: Option<usize>,
    /// Columns stored as attributes.
    pub attributes: Vec<usize>,
    /// Whether the file is an `errors.csv`: rejected rows, corrected and uploaded again.
    pub from_errors_csv: bool,
    /// Columns that were appended to the `errors.csv` and are ignored; empty for any other file.
    pub appended: Vec<usize>,
    /// Whether there is no event id but a column `id`, which may be meant as one.
    pub has_unused_id_column: bool,
}

impl Header {
    /// Reads the header from the cells of a record. `mapped` are the labels that the upload maps to event fields;
    /// `from_errors_csv` means that the upload says that the file is an `errors.csv`.
    pub(crate) fn read(
        cells: &[&str],
        mapped: &[(EventField, String)],
        limits: &Limits,
        from_errors_csv: bool,
    ) -> Result<Self, ParseError> {
        if cells.len() > limits.columns {
            return Err(ParseError::TooManyColumns {
                found: cells.len(),
                limit: limits.columns,
            });
        }
        let Labels {
            labels,
            normalized,
            appended,
        } = Labels::read(cells, from_errors_csv)?;
        let fields = assign_fields(&labels, &normalized, mapped)?;
        let column = |field| fields.get(&field).copied();
        let (Some(event_type), Some(timestamp), Some(user_id)) = (
            column(EventField::EventType),
            column(EventField::Timestamp),
            column(EventField::UserId),
        ) else {
            return Err(missing_columns(labels, mapped, &fields));
        };
        let assigned: HashSet<_> = fields.values().copied().collect();
        let event_id = column(EventField::EventId);
        Ok(Self {
            event_type,
            timestamp,
            user_id,
            event_id,
            attributes: (0..labels.len())
                .filter(|at| !assigned.contains(at) && !appended.contains(at))
                .collect(),
            from_errors_csv: from_errors_csv || !appended.is_empty(),
            appended,
            has_unused_id_column: event_id.is_none() && normalized.iter().any(|l| l == "id"),
            labels,
        })
    }

    /// Returns the column of an event field.
    #[inline]
    #[must_use]
    pub fn column(&self, field: EventField) -> Option<usize> {
        match field {
            EventField::EventType => Some(self.event_type),
            EventField::Timestamp => Some(self.timestamp),
            EventField::UserId => Some(self.user_id),
            EventField::EventId => self.event_id,
        }
    }

    /// Returns the label of an event field in this file; its canonical name if there is no such column.
    pub(crate) fn label(&self, field: EventField) -> &str {
        self.column(field)
            .and_then(|column| self.labels.get(column))
            .map_or(field.name(), String::as_str)
    }

    /// Returns the column with a label, or else the column of the event field with that canonical name.
    ///
    /// # Errors
    /// [`ParseError::UnknownKeyColumn`] with the labels of the file.
    pub fn find_column(&self, label: &str) -> Result<usize, ParseError> {
        let normalized = normalize_label(label);
        let mut labels = self.labels.iter();
        let labelled = labels.position(|label| normalize_label(label) == normalized);
        let labelled = labelled.filter(|column| !self.appended.contains(column));
        let by_field = || {
            let mut fields = EventField::ALL.into_iter();
            let field = fields.find(|field| field.name() == normalized)?;
            self.column(field)
        };
        labelled
            .or_else(by_field)
            .ok_or_else(|| ParseError::UnknownKeyColumn {
                label: label.into(),
                found: self.labels.clone(),
            })
    }
}

/// Returns a label in the form in which labels are compared: in lower case, without surrounding space.
#[must_use]
pub fn normalize_label(label: &str) -> String {
    trim_label(label).to_lowercase()
}

fn trim_label(label: &str) -> &str {
    label.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

/// The labels of a file, before the columns have a meaning.
struct Labels {
    labels: Vec<String>,
    /// The labels in the form in which they are compared.
    normalized: Vec<String>,
    /// Columns that were appended to an `errors.csv`.
    appended: Vec<usize>,
}

impl Labels {
    fn read(cells: &[&str], from_errors_csv: bool) -> Result<Self, ParseError> {
        let mut labels = complete_labels(cells)?;
        let mut normalized: Vec<_> = labels.iter().map(|label| normalize_label(label)).collect();
        let mut appended = appended_positions(normalized.iter().map(String::as_str));
        if from_errors_csv || is_errors_csv(appended.len()) {
            for label in labels.iter_mut().chain(&mut normalized) {
                if strip_apostrophe(label.as_bytes()).len() < label.len() {
                    label.remove(0);
                }
            }
        } else {
            appended.clear();
        }
        Ok(Self {
            labels,
            normalized,
            appended,
        })
    }
}

/// Returns the label of every column, which is `column_N` where the cell is blank.
fn complete_labels(cells: &[&str]) -> Result<Vec<String>, ParseError> {
    if let Some(at) = cells
        .iter()
        .position(|cell| trim_label(cell).len() > LABEL_BYTES)
    {
        let (column, limit) = (at + 1, LABEL_BYTES);
        return Err(ParseError::LabelTooLong { column, limit });
    }
    let mut used = HashSet::new();
    let filled = cells.iter().filter(|cell| !trim_label(cell).is_empty());
    for cell in filled.copied() {
        if !used.insert(normalize_label(cell)) {
            let label = trim_label(cell).to_owned();
            return Err(ParseError::DuplicateColumn { label });
        }
    }
    let complete = |(at, cell): (usize, &&str)| {
        let label = trim_label(cell);
        if !label.is_empty() {
            return label.to_owned();
        }
        let mut generated = format!("column_{}", at + 1);
        while !used.insert(generated.clone()) {
            generated.push('_');
        }
        generated
    };
    Ok(cells.iter().enumerate().map(complete).collect())
}

/// Returns the column of each event field that the labels name.
fn assign_fields(
    labels: &[String],
    normalized: &[String],
    mapped: &[(EventField, String)],
) -> Result<HashMap<EventField, usize>, ParseError> {
    let position = |name: &str| normalized.iter().position(|label| label == name);
    let mut fields = HashMap::new();
    for (field, label) in mapped {
        let unknown = || ParseError::UnknownMappedColumn {
            column: *field,
            label: label.clone(),
            found: labels.to_vec(),
        };
        let column = position(&normalize_label(label)).ok_or_else(unknown)?;
        fields.insert(*field, column);
    }
    for field in EventField::ALL {
        if fields.contains_key(&field) {
            continue;
        }
        let is_free = |column: &usize| !fields.values().any(|assigned| assigned == column);
        if let Some(column) = field.names().filter_map(position).find(is_free) {
            fields.insert(field, column);
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests;
