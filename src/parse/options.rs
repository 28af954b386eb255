//! The options of a file, which the upload states.

use chrono_tz::Tz;

use super::{
    csv::DialectOptions,
    error::ParseOptionError,
    header::{
        normalize_label,
        source::{ColumnSource, Mapping},
    },
};

/// How to read a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The columns that the upload states for event fields. They win over the known names.
    pub columns: Mapping,
    /// What the upload states of the header.
    pub header: HeaderOption,
    /// The formats of the timestamps, tried in order (strftime, `excel`, `auto`); the native forms if none is stated.
    pub timestamp_format: Option<String>,
    /// The time zone of times without an offset; that of the service if none is stated.
    pub time_zone: Option<Tz>,
    /// The time zone of the service, in which days start.
    pub service_zone: Tz,
    /// What stands for a missing value in the columns of fields; the usual markers if nothing is stated.
    pub null_values: Option<Vec<String>>,
    /// Whether a row without a user is an event.
    pub keeps_anonymous: bool,
    /// The stated parts of the dialect.
    pub dialect: DialectOptions,
    /// Whether the upload says that the file is an `errors.csv`.
    pub from_errors_csv: bool,
}

/// What an upload states of the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HeaderOption {
    /// Nothing: it is searched.
    #[default]
    Detect,
    /// There is none: the first line is a row, and columns are named by their positions.
    None,
    /// The first column has no label.
    UnnamedFirst,
    /// The last column has no label.
    UnnamedLast,
}

impl HeaderOption {
    /// Every value with its name.
    pub const ALL: [(&'static str, Self); 4] = [
        ("auto", Self::Detect),
        ("none", Self::None),
        ("unnamed-first", Self::UnnamedFirst),
        ("unnamed-last", Self::UnnamedLast),
    ];

    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        let named = Self::ALL.iter().find(|(_, option)| *option == self);
        named.map_or("auto", |(name, _)| name)
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            columns: Mapping::new(),
            header: HeaderOption::Detect,
            timestamp_format: None,
            time_zone: None,
            service_zone: Tz::UTC,
            null_values: None,
            keeps_anonymous: false,
            dialect: DialectOptions::default(),
            from_errors_csv: false,
        }
    }
}

/// Checks that each field and each label is mapped at most once.
pub(super) fn check_columns(columns: &Mapping) -> Result<(), ParseOptionError> {
    for (at, (second, label)) in columns.iter().enumerate() {
        for (first, other) in &columns[..at] {
            if first == second {
                return Err(ParseOptionError::ColumnMappedTwice { column: *second });
            }
            let is_constant = matches!(label, ColumnSource::Constant(_));
            let (other, label) = (other.to_string(), label.to_string());
            if !is_constant && normalize_label(&other) == normalize_label(&label) {
                return Err(ParseOptionError::LabelMappedTwice {
                    label,
                    first: *first,
                    second: *second,
                });
            }
        }
    }
    Ok(())
}
