//! Assigns columns to fields: by what the upload states, by the labels, and where labels do not tell, by the values.

use super::{
    HeaderContext,
    names::Labels,
    source::{ColumnSource, FieldSource},
};
use crate::parse::{error::ParseError, value::field::EventField};

/// The columns of the fields, as far as they are certain.
pub(super) struct Assignment {
    pub(super) fields: [Option<FieldSource>; EventField::ALL.len()],
    /// Fields that several columns may be, with these columns.
    pub(super) ambiguous: Vec<(EventField, Vec<FieldSource>)>,
}

impl Assignment {
    pub(super) fn new(labels: &Labels, context: &HeaderContext<'_>) -> Result<Self, ParseError> {
        let mut assignment = Self {
            fields: [const { None }; EventField::ALL.len()],
            ambiguous: Vec::new(),
        };
        for (field, source) in context.mapped {
            let found = stated(labels, source).ok_or_else(|| ParseError::UnknownMappedColumn {
                column: *field,
                label: source.to_string(),
                found: labels.labels.clone(),
            })?;
            assignment.fields[*field as usize] = Some(found);
        }
        for field in EventField::ALL {
            if assignment.fields[field as usize].is_none() {
                assignment.assign(field, labels, context);
            }
        }
        if assignment.is_missing(EventField::Timestamp) {
            assignment.find_timestamp(labels, context);
        }
        assignment.check_repeated(labels)?;
        Ok(assignment)
    }

    /// Whether every required field has a column.
    pub(super) fn is_settled(&self) -> bool {
        EventField::ALL
            .into_iter()
            .all(|field| field.is_optional() || !self.lacks(field))
    }

    /// Whether a field has no column yet.
    pub(super) fn lacks(&self, field: EventField) -> bool {
        self.fields[field as usize].is_none()
    }

    /// Whether no column is known that may be a field.
    pub(super) fn is_missing(&self, field: EventField) -> bool {
        self.lacks(field) && self.ambiguous.iter().all(|(other, _)| *other != field)
    }

    /// Whether a column belongs to a field.
    pub(super) fn is_assigned(&self, column: usize) -> bool {
        self.fields.iter().flatten().any(|source| match source {
            FieldSource::Column(at) => *at == column,
            FieldSource::Joined(columns) => columns.contains(&column),
            FieldSource::Constant(_) => false,
        })
    }

    /// Assigns a field by its labels. Of several aliases, those whose values fit count.
    fn assign(&mut self, field: EventField, labels: &Labels, context: &HeaderContext<'_>) {
        let mut candidates = labels.candidates(field);
        candidates.retain(|at| !self.is_assigned(*at));
        let Some(first) = candidates.first().copied() else {
            return;
        };
        let fits = |at: &usize| context.sample.fits(&[*at], field);
        let fitting: Vec<usize> = match candidates.as_slice() {
            [_] => candidates.clone(),
            _ => candidates.iter().copied().filter(fits).collect(),
        };
        let joined = match field {
            EventField::Timestamp => self.date_and_any_time(&candidates, &fitting, labels, context),
            _ => None,
        };
        self.fields[field as usize] = match (fitting.as_slice(), joined) {
            ([only], None) => Some(FieldSource::Column(*only)),
            // Without values, and for the id that a file need not have, the preferred alias wins.
            ([], None) => Some(FieldSource::Column(first)),
            (_, None) if field.is_optional() || context.sample.rows.is_empty() => {
                Some(FieldSource::Column(first))
            }
            (several, joined) => {
                let columns = several.iter().map(|at| FieldSource::Column(*at));
                self.ambiguous
                    .push((field, joined.into_iter().chain(columns).collect()));
                None
            }
        };
    }

    /// Returns a column of days among the candidates, joined with a column of times of day, whatever its label.
    fn date_and_any_time(
        &self,
        candidates: &[usize],
        fitting: &[usize],
        labels: &Labels,
        context: &HeaderContext<'_>,
    ) -> Option<FieldSource> {
        if let Some(joined) = date_and_time(candidates, context) {
            return Some(joined);
        }
        let [only] = fitting else { return None };
        let kinds = context.sample.kinds(&[*only]);
        if kinds.values == 0 || kinds.days < kinds.values {
            return None;
        }
        let is_free =
            |at: &usize| *at != *only && !self.is_assigned(*at) && !labels.appended.contains(at);
        let free = (0..labels.labels.len()).filter(is_free);
        let columns: Vec<usize> = std::iter::once(*only).chain(free).collect();
        date_and_time(&columns, context)
    }

    /// Finds the column of timestamps by its values. Digits alone may be anything, so that they prove nothing.
    fn find_timestamp(&mut self, labels: &Labels, context: &HeaderContext<'_>) {
        let free: Vec<usize> = (0..labels.labels.len())
            .filter(|at| !self.is_assigned(*at) && !labels.appended.contains(at))
            .collect();
        let proves = |at: &usize| {
            let kinds = context.sample.kinds(&[*at]);
            kinds.values > 0 && kinds.timestamps == kinds.values && kinds.digits < kinds.values
        };
        let found: Vec<usize> = free.iter().copied().filter(proves).collect();
        let joined = date_and_time(&free, context);
        match (found.as_slice(), joined) {
            ([], None) => {}
            ([only], None) => {
                self.fields[EventField::Timestamp as usize] = Some(FieldSource::Column(*only));
            }
            (several, joined) => {
                let columns = several.iter().map(|at| FieldSource::Column(*at));
                let all = joined.into_iter().chain(columns).collect();
                self.ambiguous.push((EventField::Timestamp, all));
            }
        }
    }

    /// Refuses a label that names a field and appears twice.
    fn check_repeated(&self, labels: &Labels) -> Result<(), ParseError> {
        let mut repeated = labels.repeated.iter();
        match repeated.find(|(_, first)| self.is_assigned(*first)) {
            Some((_, first)) => Err(ParseError::DuplicateColumn {
                label: labels.labels[*first].clone(),
            }),
            None => Ok(()),
        }
    }
}

/// Returns the source that the upload states; none if the file has no such column.
fn stated(labels: &Labels, source: &ColumnSource) -> Option<FieldSource> {
    let all = |parts: &[&str]| {
        let columns = parts.iter().map(|part| column(labels, part.trim()));
        columns.collect::<Option<Vec<_>>>().map(FieldSource::Joined)
    };
    match source {
        ColumnSource::Constant(value) => Some(FieldSource::Constant(value.clone())),
        ColumnSource::Joined(parts) => all(&parts.iter().map(String::as_str).collect::<Vec<_>>()),
        ColumnSource::Named(label) => match column(labels, label) {
            Some(at) => Some(FieldSource::Column(at)),
            None if label.contains('+') => all(&label.split('+').collect::<Vec<_>>()),
            None => None,
        },
    }
}

/// Returns the column with a label, or at a position such as `#1`.
fn column(labels: &Labels, name: &str) -> Option<usize> {
    let position = || {
        let number: usize = name.strip_prefix('#')?.parse().ok()?;
        number.checked_sub(1).filter(|at| *at < labels.labels.len())
    };
    labels.find(name).or_else(position)
}

/// Returns a column of days and one of times of day, joined, if there is one of each.
fn date_and_time(columns: &[usize], context: &HeaderContext<'_>) -> Option<FieldSource> {
    let sample = &context.sample;
    let kinds = |at: &usize| sample.kinds(&[*at]);
    let mut clocks = columns.iter().filter(|at| sample.are_clocks(**at));
    let time = *clocks.next()?;
    let joins = |date: &&usize| {
        let (alone, joined) = (kinds(date), sample.kinds(&[**date, time]));
        let is_date =
            alone.timestamps == alone.days && alone.timestamps + alone.formatted == alone.values;
        alone.values > 0 && is_date && joined.timestamps + joined.formatted == joined.values
    };
    let date = *columns.iter().filter(|at| **at != time).find(joins)?;
    Some(FieldSource::Joined(vec![date, time]))
}
