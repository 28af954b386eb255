//! The labels of a file, and the fields that they name.

use std::collections::HashSet;

use super::{LABEL_BYTES, normalize_label, trim_label};
use crate::{
    export::errors_csv::{appended_positions, is_errors_csv, strip_apostrophe},
    parse::{error::ParseError, value::field::EventField},
};

/// The labels of a file, before the columns have a meaning.
pub(super) struct Labels {
    pub(super) labels: Vec<String>,
    /// The labels in the form in which they are compared.
    pub(super) normalized: Vec<String>,
    /// The labels without the characters between their words: `User ID`, `userId` and `user-id` are one.
    pub(super) joined: Vec<String>,
    /// Columns that were appended to an `errors.csv`.
    pub(super) appended: Vec<usize>,
    /// Columns whose label repeats that of an earlier one, and was numbered; with the earlier one.
    pub(super) repeated: Vec<(usize, usize)>,
}

impl Labels {
    pub(super) fn read(cells: &[&str], from_errors_csv: bool) -> Result<Self, ParseError> {
        let (mut labels, repeated) = complete_labels(cells)?;
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
            joined: normalized.iter().map(|label| join_words(label)).collect(),
            labels,
            normalized,
            appended,
            repeated,
        })
    }

    /// Returns the column with a label: as it is written, else without regard to what stands between its words.
    pub(super) fn find(&self, label: &str) -> Option<usize> {
        let (normalized, joined) = (normalize_label(label), join_words(&normalize_label(label)));
        let position = |all: &[String], text: &str| all.iter().position(|other| other == text);
        let by_words = || position(&self.joined, &joined).filter(|_| !joined.is_empty());
        position(&self.normalized, &normalized).or_else(by_words)
    }

    /// Returns the columns that a field may be: the one with its canonical name alone, else all with an alias, those with
    /// the preferred alias first.
    pub(super) fn candidates(&self, field: EventField) -> Vec<usize> {
        let is_free = |at: &usize| {
            !self.appended.contains(at) && self.repeated.iter().all(|(repeated, _)| repeated != at)
        };
        let labels = 0..self.labels.len();
        let named = |name: &str| self.normalized.iter().position(|label| label == name);
        if let Some(canonical) = named(field.name()) {
            return vec![canonical];
        }
        let with_words = |name: &str| {
            let words = join_words(name);
            labels.clone().filter(move |at| self.joined[*at] == words)
        };
        if let Some(canonical) = with_words(field.name()).find(is_free) {
            return vec![canonical];
        }
        let mut found = Vec::new();
        for alias in field.aliases() {
            for at in named(alias).into_iter().chain(with_words(alias)) {
                if is_free(&at) && !found.contains(&at) {
                    found.push(at);
                }
            }
        }
        found
    }
}

/// The labels of all columns, and the columns whose label repeats that of an earlier one, with the earlier one.
type Completed = (Vec<String>, Vec<(usize, usize)>);

/// Returns a label without the characters between its words.
pub(super) fn join_words(label: &str) -> String {
    // A label with a delimiter is not one label, and one with a quote is not the label itself.
    if label.contains([',', ';', '\t', '|', '"', '\'', '`']) {
        return label.to_owned();
    }
    label.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Returns the label of every column, which is `column_N` where the cell is blank, and the columns whose label repeats:
/// they are numbered.
fn complete_labels(cells: &[&str]) -> Result<Completed, ParseError> {
    if let Some(at) = cells
        .iter()
        .position(|cell| trim_label(cell).len() > LABEL_BYTES)
    {
        let (column, limit) = (at + 1, LABEL_BYTES);
        return Err(ParseError::LabelTooLong { column, limit });
    }
    let filled = cells.iter().filter(|cell| !trim_label(cell).is_empty());
    let written: HashSet<_> = filled.map(|cell| normalize_label(cell)).collect();
    let (mut used, mut repeated) = (HashSet::new(), Vec::new());
    let mut labels = Vec::with_capacity(cells.len());
    for (at, cell) in cells.iter().enumerate() {
        let label = trim_label(cell);
        let complete = if label.is_empty() {
            let mut generated = format!("column_{}", at + 1);
            while written.contains(&generated) || !used.insert(generated.clone()) {
                generated.push('_');
            }
            generated
        } else if used.insert(normalize_label(label)) {
            label.to_owned()
        } else {
            let mut before = cells[..at].iter();
            let first = before.position(|cell| normalize_label(cell) == normalize_label(label));
            repeated.push((at, first.unwrap_or(at)));
            let mut numbered = (2_u32..).map(|number| format!("{label}_{number}"));
            let free = |text: &String| {
                let normalized = normalize_label(text);
                !written.contains(&normalized) && used.insert(normalized)
            };
            numbered.find(free).unwrap_or_default()
        };
        labels.push(complete);
    }
    Ok((labels, repeated))
}
