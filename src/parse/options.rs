//! The options of a file, which the upload states.

use chrono_tz::Tz;

use super::{
    csv::DialectOptions, error::ParseOptionError, header::normalize_label, value::field::EventField,
};

/// How to read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Labels of the file that the upload maps to event fields. They win over the known names.
    pub columns: Vec<(EventField, String)>,
    /// The formats of the timestamps, tried in order (strftime, `excel`, `auto`); the native forms if none is stated.
    pub timestamp_format: Option<String>,
    /// The time zone of times without an offset; that of the service if none is stated.
    pub time_zone: Option<Tz>,
    /// The time zone of the service, in which days start.
    pub service_zone: Tz,
    /// The stated parts of the dialect.
    pub dialect: DialectOptions,
    /// Whether the upload says that the file is an `errors.csv`.
    pub from_errors_csv: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            timestamp_format: None,
            time_zone: None,
            service_zone: Tz::UTC,
            dialect: DialectOptions::default(),
            from_errors_csv: false,
        }
    }
}

/// Checks that each field and each label is mapped at most once.
pub(super) fn check_columns(columns: &[(EventField, String)]) -> Result<(), ParseOptionError> {
    for (at, (second, label)) in columns.iter().enumerate() {
        for (first, other) in &columns[..at] {
            if first == second {
                return Err(ParseOptionError::ColumnMappedTwice { column: *second });
            }
            if normalize_label(other) == normalize_label(label) {
                return Err(ParseOptionError::LabelMappedTwice {
                    label: label.clone(),
                    first: *first,
                    second: *second,
                });
            }
        }
    }
    Ok(())
}
