//! The errors of a file or of its options: each says what is wrong, and how to correct it.

use super::value::field::EventField;
use crate::model::{Proposal, proposal::in_words};

/// Maximum labels named in a message, and maximum characters of each.
const LABELS_SHOWN: usize = 20;
const LABEL_CHARS: usize = 60;

/// Why a file cannot be read as events. None of its rows is valid then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The file has no text.
    #[error("the file is empty; send a CSV file with a header line and at least one row")]
    Empty,
    /// The file has no row below the header.
    #[error("the file has a header but no rows below it; send at least one row")]
    HeaderOnly,
    /// The header lacks required columns.
    #[error("{}; {}{}", missing_columns(.missing, .found, *.separator, *.tried), remedy(.missing, .nearest, .proposed.as_deref(), *.separator, .found.len()), further(.proposals, *.other_table))]
    MissingColumns {
        /// The fields without a column.
        missing: Vec<EventField>,
        /// The labels of the file.
        found: Vec<String>,
        /// The most similar label for each missing field that has one.
        nearest: Vec<(EventField, String)>,
        /// The complete value of `columns=` that maps the nearest labels.
        proposed: Option<Box<str>>,
        /// The delimiter that the label of a file with one column seems to contain.
        separator: Option<char>,
        /// Whether several delimiters were tried.
        tried: bool,
        /// The options that would settle columns and timestamps.
        proposals: Box<[Proposal]>,
        /// The line of the header of another table in the file.
        other_table: Option<u32>,
    },
    /// Several columns may be a field.
    #[error(
        "the columns {} may each be the {field}: say which one is meant{}", list(.labels), sent(.proposals)
    )]
    AmbiguousColumns {
        /// The field.
        field: EventField,
        /// What it may be, as `columns=` names it.
        labels: Vec<String>,
        /// The options that would settle it.
        proposals: Vec<Proposal>,
    },
    /// The first line is a row.
    #[error(
        "the first line is a row: the file has no header that names the columns; add one, or send `header=none` with the columns by their positions{}", sent(.proposals)
    )]
    NoHeader {
        /// The options that would settle it.
        proposals: Vec<Proposal>,
    },
    /// The header has one label fewer than the rows have cells.
    #[error(
        "the header has {labels} labels, one fewer than the rows have cells, so that a column has no name: R leaves out the \
         name of the first column (row names), others that of the last; name it, or send `header=unnamed-first` or \
         `header=unnamed-last`"
    )]
    LabelMissing {
        /// Labels of the header.
        labels: usize,
    },
    /// A row stands above the header, and would be lost.
    #[error(
        "line {line} is a row, but the header is on line {header}; move the header to the top of the file"
    )]
    RowAboveHeader {
        /// Physical line of the row.
        line: u32,
        /// Physical line of the header.
        header: u32,
    },
    /// A header among the rows gives the columns another meaning.
    #[error(
        "line {line} is another header, with its columns in another order or by other names; split the file there and send its parts one by one"
    )]
    AnotherHeader {
        /// Physical line of that header.
        line: u32,
    },
    /// Two columns have the same label.
    #[error(
        "column `{}` appears twice in the header (case and surrounding space do not tell names apart); rename one of them",
        clip(.label)
    )]
    DuplicateColumn {
        /// The second label.
        label: String,
    },
    /// The header has more columns than allowed.
    #[error(
        "the header has {found} columns, the limit is {limit}; remove columns that are not needed"
    )]
    TooManyColumns {
        /// Columns of the header.
        found: usize,
        /// Maximum columns.
        limit: usize,
    },
    /// A label is over the byte limit.
    #[error(
        "the name of column {column} is longer than {limit} bytes; check that the first line holds the column names"
    )]
    LabelTooLong {
        /// Position of the column, from 1.
        column: usize,
        /// Maximum bytes.
        limit: usize,
    },
    /// The header is over the byte limit.
    #[error(
        "the header on line {line} is longer than {limit} bytes; check that the file is a CSV file with line breaks"
    )]
    HeaderTooLong {
        /// Physical line of the header.
        line: u32,
        /// Maximum bytes.
        limit: usize,
    },
    /// The header contains NUL, or bytes that are not UTF-8.
    #[error(
        "the header on line {line} holds bytes that are not UTF-8 text; save the file as CSV in UTF-8"
    )]
    HeaderNotText {
        /// Physical line of the header.
        line: u32,
    },
    /// A quote in the header is never closed.
    #[error(
        "the header on line {line} opens a quote that is not closed; close it, or double a quote that is part of a name"
    )]
    HeaderUnclosedQuote {
        /// Physical line of the header.
        line: u32,
    },
    /// The header has a CR without LF, in a file whose other lines end in LF.
    #[error(
        "the header on line {line} holds a carriage return without a line feed, as old Mac files have; save the file with LF or CR LF line ends"
    )]
    CarriageReturnOnly {
        /// Physical line of the header.
        line: u32,
    },
    /// The file has more lines than can be numbered.
    #[error(
        "the file has more than {limit} lines, the highest number of a row; split the file and send its parts one by one"
    )]
    TooManyLines {
        /// Maximum lines.
        limit: u32,
    },
    /// Nearly all lines are blank.
    #[error(
        "the file has more than {limit} blank lines and hardly any others: remove them, and send it again"
    )]
    TooManyBlankLines {
        /// Blank lines that every file may have.
        limit: u64,
    },
    /// `columns=` names a label that is not in the header.
    #[error(
        "`columns` maps {column} to `{}`, which is not in the header; the file has {}", clip(.label), list(.found)
    )]
    UnknownMappedColumn {
        /// The mapped field.
        column: EventField,
        /// The label that it is mapped to.
        label: String,
        /// The labels of the file.
        found: Vec<String>,
    },
    /// `key=` names a column that is not in the header.
    #[error(
        "`key` names the column `{}`, which is not in the header; the file has {}", clip(.label), list(.found)
    )]
    UnknownKeyColumn {
        /// The label.
        label: String,
        /// The labels of the file.
        found: Vec<String>,
    },
    /// The framer and csv-async disagree about a record. Never observed; an error is better than a wrong row.
    #[error(
        "the record on line {line} could not be told apart from its neighbours; check the quotes around it"
    )]
    FramingMismatch {
        /// Physical line of the record.
        line: u32,
    },
}

impl ParseError {
    /// Whether every required field has a column, but not a certain one.
    pub(super) fn is_of_found_header(&self) -> bool {
        matches!(
            self,
            Self::AmbiguousColumns { .. } | Self::DuplicateColumn { .. }
        )
    }

    /// Adds the line of the header of another table in the file.
    pub(super) fn with_other_table(mut self, line: Option<u32>) -> Self {
        if let Self::MissingColumns { other_table, .. } = &mut self {
            *other_table = line;
        }
        self
    }

    /// Records in an error about missing columns whether several delimiters were tried.
    pub(super) fn with_guessed_delimiter(mut self, guessed: bool) -> Self {
        if let Self::MissingColumns { tried, .. } = &mut self {
            *tried = guessed;
        }
        self
    }
}

/// Why the options of a file are invalid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseOptionError {
    /// The format has an unknown directive, or is too long.
    #[error(
        "`timestamp_format` `{}` is not a strftime format; write for example `%d/%m/%Y %H:%M:%S`", clip(.format)
    )]
    TimestampFormat {
        /// The format as stated.
        format: String,
    },
    /// The format does not determine an instant.
    #[error(
        "`timestamp_format` `{}` does not give a full date and time of day; name year, month and day, and `%p` beside `%I`", clip(.format)
    )]
    TimestampFormatIncomplete {
        /// The format as stated.
        format: String,
    },
    /// The format ends in the name of a zone as plain text, which has no meaning there.
    #[error(
        "`timestamp_format` `{}` ends in plain text that names UTC, and its times would be read in another zone; \
         write %z in its place, which reads `Z`, `UTC`, `GMT` and offsets", clip(.format)
    )]
    TimestampFormatLiteralZone {
        /// The format as stated.
        format: String,
    },
    /// Too many formats are stated.
    #[error("`timestamp_format` has more than {limit} formats; state those that the file has")]
    TooManyFormats {
        /// Maximum formats.
        limit: usize,
    },
    /// A field is mapped twice.
    #[error("`columns` maps {column} twice; name one label for it")]
    ColumnMappedTwice {
        /// The field.
        column: EventField,
    },
    /// One label is mapped to two fields.
    #[error("`columns` maps both {first} and {second} to `{}`; a label stands for one column", clip(.label))]
    LabelMappedTwice {
        /// The label.
        label: String,
        /// The field named first.
        first: EventField,
        /// The field named second.
        second: EventField,
    },
    /// Delimiter and quote cannot be distinguished.
    #[error("the delimiter and the quote must be two different ASCII characters and no line ends")]
    Dialect,
}

/// Returns a label of bounded length.
fn clip(label: &str) -> String {
    match label.char_indices().nth(LABEL_CHARS) {
        Some((at, _)) => format!("{}…", &label[..at]),
        None => label.to_owned(),
    }
}

/// Returns the first labels of a list, and how many more there are.
fn list(labels: &[String]) -> String {
    let shown = labels.iter().take(LABELS_SHOWN);
    let shown: Vec<_> = shown.map(|label| format!("`{}`", clip(label))).collect();
    match labels.len().checked_sub(LABELS_SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Returns the options that settle an error, in words.
fn sent(proposals: &[Proposal]) -> String {
    let options: Vec<_> = proposals
        .iter()
        .map(|Proposal { option, value, .. }| format!("`{option}={value}`"))
        .collect();
    match options.as_slice() {
        [] => String::new(),
        options => format!(", with {}", options.join(", ")),
    }
}

/// Returns the other proposals of missing columns, and what else is in the file.
fn further(proposals: &[Proposal], other_table: Option<u32>) -> String {
    let formats = proposals
        .iter()
        .filter(|proposal| proposal.option != "columns");
    let formats: Vec<_> = formats.cloned().collect();
    let formats = match formats.as_slice() {
        [] => String::new(),
        formats => format!("; {}", in_words(formats)),
    };
    match other_table {
        Some(line) => format!(
            "{formats}; the file has several tables: line {line} is the header of another table, so send each as a file of its own"
        ),
        None => formats,
    }
}

fn missing_columns(
    missing: &[EventField],
    found: &[String],
    separator: Option<char>,
    tried: bool,
) -> String {
    let named: Vec<_> = missing
        .iter()
        .map(|column| format!("`{column}` (or {})", column.aliases().join(", ")))
        .collect();
    let columns = if missing.len() == 1 {
        "column"
    } else {
        "columns"
    };
    let tried = if tried && found.len() == 1 {
        " (tried comma, semicolon, tab, `|` and other characters as delimiters; `delimiter=` states another one)"
    } else {
        ""
    };
    let separated = match separator {
        Some('\t') => ", which looks separated by tabs".to_owned(),
        Some(separator) => format!(", which looks separated by `{separator}`"),
        None => String::new(),
    };
    format!(
        "missing {columns} {}; the file has {}{tried}{separated}",
        named.join(", "),
        list(found)
    )
}

/// Returns what the user can do about missing columns.
fn remedy(
    missing: &[EventField],
    nearest: &[(EventField, String)],
    proposed: Option<&str>,
    separator: Option<char>,
    columns: usize,
) -> String {
    match separator {
        Some(_) if columns == 1 => {
            return "leave the option `delimiter` out, or state that one".into();
        }
        Some(separator) => {
            let name = if separator == ';' {
                "semicolons"
            } else {
                "another delimiter"
            };
            return format!(
                "a file with {name} was saved again with other delimiters around it, which mixes the two: export it once \
                 more from where it came from, and send it without saving it in between"
            );
        }
        None => {}
    }
    if nearest.is_empty() {
        let known = EventField::ALL.iter().filter(|c| !c.is_optional()).count();
        let no_header = missing.len() == known;
        return if no_header {
            "the first line must name the columns: remove what stands above it or add it, or send `columns=` with what they are called"
        } else {
            "rename the columns, or send `columns=` with what they are called"
        }
        .into();
    }
    let meant: Vec<_> = nearest
        .iter()
        .map(|(column, label)| format!("`{}` is the {column}", clip(label)))
        .collect();
    let it = if nearest.len() == 1 { "it" } else { "them" };
    let send = proposed.map_or_else(String::new, |columns| {
        format!(" or send `columns={columns}`")
    });
    let open: Vec<_> = missing
        .iter()
        .filter(|column| !nearest.iter().any(|(near, _)| near == *column))
        .map(|column| column.name())
        .collect();
    let rest = if open.is_empty() {
        String::new()
    } else {
        format!(", and which column is the {}", open.join(" and the "))
    };
    format!("if {}, rename {it}{send}{rest}", meant.join(" and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_long_headers_are_bounded() {
        let found: Vec<_> = (0..30)
            .map(|at| format!("{at}{}", "é".repeat(100)))
            .collect();
        let error = ParseError::MissingColumns {
            missing: vec![EventField::UserId],
            found,
            nearest: Vec::new(),
            proposed: None,
            separator: None,
            tried: false,
            proposals: Box::default(),
            other_table: None,
        };
        let text = error.to_string();
        assert!(
            text.starts_with("missing column `user_id` (or user, "),
            "{text}"
        );
        assert!(text.contains("…` and 10 more;"), "{text}");
        assert!(text.chars().count() < 1600, "{text}");
    }
}
