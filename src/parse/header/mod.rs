//! The header: finds out what each column means by the labels of the first record, and by the values below them.
//! Labels that the upload maps win over canonical names, canonical names over aliases. All other columns are attributes.

mod assign;
mod column_proposal;
mod names;
pub(crate) mod sample;
pub(crate) mod source;

use std::collections::HashSet;

use assign::Assignment;
use column_proposal::{row_as_header, unsettled};
use names::Labels;
use sample::Sample;
use source::{FieldSource, Mapping};

use super::{Limits, error::ParseError, options::HeaderOption, value::field::EventField};

/// Maximum bytes of a label. It is part of each fault of its column, so a long one would enlarge every rejection.
const LABEL_BYTES: usize = 256;

/// The columns of a file and their meaning. Columns are identified by their position, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The labels in the file without surrounding space. Blank labels are replaced by generated ones, repeated ones are
    /// numbered.
    pub labels: Vec<String>,
    /// Where the values of each field are, in the order of [`EventField::ALL`].
    pub fields: [Option<FieldSource>; EventField::ALL.len()],
    /// Columns stored as attributes.
    pub attributes: Vec<usize>,
    /// Whether the file is an `errors.csv`: rejected rows, corrected and uploaded again.
    pub from_errors_csv: bool,
    /// Columns that were appended to the `errors.csv` and are ignored; empty for any other file.
    pub appended: Vec<usize>,
    /// Whether there is no event id but a column `id`, which may be meant as one.
    pub has_unused_id_column: bool,
    /// Whether the event id is a column known only as `uuid`, which may be the id of something else.
    pub has_doubtful_event_id: bool,
}

/// What a header is read by, beside its labels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeaderContext<'a> {
    /// What the upload states of the columns.
    pub(crate) mapped: &'a Mapping,
    pub(crate) limits: Limits,
    /// Whether the upload says that the file is an `errors.csv`.
    pub(crate) from_errors_csv: bool,
    /// What the upload states of the header.
    pub(crate) header: HeaderOption,
    /// The stated formats of timestamps, as stated.
    pub(crate) timestamp_format: Option<&'a str>,
    /// The first rows below it.
    pub(crate) sample: Sample<'a>,
}

impl Header {
    /// Reads the header from the cells of a record.
    pub(crate) fn read(cells: &[&str], context: &HeaderContext<'_>) -> Result<Self, ParseError> {
        let limit = context.limits.columns;
        if cells.len() > limit {
            let found = cells.len();
            return Err(ParseError::TooManyColumns { found, limit });
        }
        let one_short = cells.len() > 1 && context.sample.proves_width(cells.len() + 1);
        let first = || [&[""], cells].concat();
        let last = || [cells, &[""]].concat();
        match context.header {
            HeaderOption::UnnamedFirst => Self::of_labels(&first(), context),
            HeaderOption::UnnamedLast => Self::of_labels(&last(), context),
            HeaderOption::Detect if one_short => {
                Self::with_unnamed_column(&first(), &last(), context)
            }
            HeaderOption::Detect | HeaderOption::None => Self::of_labels(cells, context),
        }
    }

    /// Reads a header with one label fewer than the rows have cells: R leaves out the label of the first column, others
    /// that of the last. The timestamps of the rows tell which.
    fn with_unnamed_column(
        first: &[&str],
        last: &[&str],
        context: &HeaderContext<'_>,
    ) -> Result<Self, ParseError> {
        let fits = |header: &Self| {
            let columns = header.columns_of(EventField::Timestamp);
            columns.is_empty() || context.sample.fits(&columns, EventField::Timestamp)
        };
        let (first, last) = (
            Self::of_labels(first, context),
            Self::of_labels(last, context),
        );
        let labels = |read: &Result<Self, ParseError>| read.as_ref().is_ok_and(fits);
        match (labels(&first), labels(&last)) {
            (true, false) => first,
            (false, true) => last,
            (false, false) if first.is_err() && last.is_err() => last,
            _ => Err(ParseError::LabelMissing {
                labels: context.sample.width().unwrap_or(1) - 1,
            }),
        }
    }

    fn of_labels(cells: &[&str], context: &HeaderContext<'_>) -> Result<Self, ParseError> {
        let labels = Labels::read(cells, context.from_errors_csv)?;
        let assignment = Assignment::new(&labels, context)?;
        if !assignment.is_settled() {
            return Err(unsettled(&labels, &assignment, context));
        }
        if let Some(error) = row_as_header(&labels, &assignment, context) {
            return Err(error);
        }
        let Labels {
            labels,
            normalized,
            joined,
            appended,
            ..
        } = labels;
        let is_mapped = |field| context.mapped.iter().any(|(mapped, _)| *mapped == field);
        let fields = assignment.fields;
        let event_id = fields[EventField::EventId as usize].as_ref();
        let has_doubtful_event_id = match event_id {
            Some(FieldSource::Column(at)) => {
                joined[*at] == "uuid" && !is_mapped(EventField::EventId)
            }
            _ => false,
        };
        let column = |source: &FieldSource| match source {
            FieldSource::Column(at) => Some(*at),
            FieldSource::Joined(_) | FieldSource::Constant(_) => None,
        };
        let assigned: HashSet<_> = fields.iter().flatten().filter_map(column).collect();
        Ok(Self {
            attributes: (0..labels.len())
                .filter(|at| !assigned.contains(at) && !appended.contains(at))
                .collect(),
            from_errors_csv: context.from_errors_csv || !appended.is_empty(),
            has_unused_id_column: event_id.is_none() && normalized.iter().any(|l| l == "id"),
            has_doubtful_event_id,
            appended,
            fields,
            labels,
        })
    }

    /// Returns where the values of a field are.
    #[inline]
    #[must_use]
    pub fn source(&self, field: EventField) -> Option<&FieldSource> {
        self.fields[field as usize].as_ref()
    }

    /// Returns the column of an event field; none if it has no column of its own.
    #[inline]
    #[must_use]
    pub fn column(&self, field: EventField) -> Option<usize> {
        match self.source(field) {
            Some(FieldSource::Column(at)) => Some(*at),
            Some(FieldSource::Joined(_) | FieldSource::Constant(_)) | None => None,
        }
    }

    /// Returns the columns that the values of a field come from.
    fn columns_of(&self, field: EventField) -> Vec<usize> {
        match self.source(field) {
            Some(FieldSource::Column(at)) => vec![*at],
            Some(FieldSource::Joined(columns)) => columns.clone(),
            Some(FieldSource::Constant(_)) | None => Vec::new(),
        }
    }

    /// Returns the label of an event field in this file; its canonical name if there is no such column.
    #[must_use]
    pub fn label(&self, field: EventField) -> String {
        match self.columns_of(field).as_slice() {
            [] => field.name().to_owned(),
            columns => {
                let labels = columns.iter().map(|at| self.labels[*at].as_str());
                labels.collect::<Vec<_>>().join("+")
            }
        }
    }

    /// Whether the values of a field are joined of several columns.
    pub(crate) fn has_joined_field(&self) -> bool {
        let is_joined = |source: &FieldSource| matches!(source, FieldSource::Joined(_));
        self.fields.iter().flatten().any(is_joined)
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
    label.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}' || c == '\u{200b}')
}

#[cfg(test)]
mod tests;
