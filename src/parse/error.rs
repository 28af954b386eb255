//! What is wrong with a whole file or with the options: each says what, why, and what to do.

use super::value::field::Required;

/// Labels named in a text, and the characters of each.
const LABELS_SHOWN: usize = 20;
const LABEL_CHARS: usize = 60;

/// A file that cannot be read as events; nothing of it counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No text at all.
    #[error("the file is empty; send a CSV file with a header line and at least one row")]
    Empty,
    /// No row below the header.
    #[error("the file has a header but no rows below it; send at least one row")]
    HeaderOnly,
    /// Required columns that no label stands for.
    #[error("{}; {}", missing_columns(.missing, .found, *.separator, *.tried), remedy(.missing, .nearest, .proposed.as_deref(), *.separator))]
    MissingColumns {
        /// The columns not found.
        missing: Vec<Required>,
        /// The labels there are.
        found: Vec<String>,
        /// For a missing column, the label most like one of its names.
        nearest: Vec<(Required, String)>,
        /// The whole `columns=` that takes the nearest ones for what they are like.
        proposed: Option<String>,
        /// What seems to separate the cells of a file that has but one column.
        separator: Option<char>,
        /// Whether other delimiters were tried in vain.
        tried: bool,
    },
    /// A row above the header, which would be lost.
    #[error(
        "line {line} is a row, but the header is on line {header}; move the header to the top of the file"
    )]
    RowAboveHeader {
        /// Line of the row.
        line: u32,
        /// Line of the header.
        header: u32,
    },
    /// A header among the rows, under which the columns mean something else.
    #[error(
        "line {line} is another header, with its columns in another order or by other names; split the file there and send its parts one by one"
    )]
    AnotherHeader {
        /// Its line.
        line: u32,
    },
    /// Two columns of one name.
    #[error(
        "column `{}` appears twice in the header (case and surrounding space do not tell names apart); rename one of them",
        clip(.label)
    )]
    DuplicateColumn {
        /// The second label.
        label: String,
    },
    /// More columns than allowed.
    #[error(
        "the header has {found} columns, the limit is {limit}; remove columns that are not needed"
    )]
    TooManyColumns {
        /// Columns in the header.
        found: usize,
        /// Columns allowed.
        limit: usize,
    },
    /// A label over the byte limit.
    #[error(
        "the name of column {column} is longer than {limit} bytes; check that the first line holds the column names"
    )]
    LabelTooLong {
        /// Position of the column, from 1.
        column: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A header record over the byte limit.
    #[error(
        "the header on line {line} is longer than {limit} bytes; check that the file is a CSV file with line breaks"
    )]
    HeaderTooLong {
        /// Line of the header.
        line: u32,
        /// Bytes allowed.
        limit: usize,
    },
    /// NUL or bytes that are not UTF-8 in the header.
    #[error(
        "the header on line {line} holds bytes that are not UTF-8 text; save the file as CSV in UTF-8"
    )]
    HeaderNotText {
        /// Line of the header.
        line: u32,
    },
    /// A quote in the header that is never closed.
    #[error(
        "the header on line {line} opens a quote that is not closed; close it, or double a quote that is part of a name"
    )]
    HeaderUnclosedQuote {
        /// Line of the header.
        line: u32,
    },
    /// Lines that end in CR alone.
    #[error(
        "the header on line {line} holds a carriage return without a line feed, as old Mac files have; save the file with LF or CR LF line ends"
    )]
    CarriageReturnOnly {
        /// Line of the header.
        line: u32,
    },
    /// `columns=` names a label that is not there.
    #[error(
        "`columns` maps {column} to `{}`, which is not in the header; the file has {}", clip(.label), list(.found)
    )]
    UnknownMappedColumn {
        /// The column mapped.
        column: Required,
        /// The label it was mapped to.
        label: String,
        /// The labels there are.
        found: Vec<String>,
    },
    /// A key over a column that is not there.
    #[error(
        "`key` names the column `{}`, which is not in the header; the file has {}", clip(.label), list(.found)
    )]
    UnknownKeyColumn {
        /// The label that was named.
        label: String,
        /// The labels there are.
        found: Vec<String>,
    },
    /// The two readings of the text disagree; never seen, and better an error than a wrong row.
    #[error(
        "the record on line {line} could not be told apart from its neighbours; check the quotes around it"
    )]
    Misread {
        /// Line of the record.
        line: u32,
    },
}

impl ParseError {
    /// The same, if it misses columns, for a file of which other dialects were tried.
    pub(super) fn after_tries(mut self, guessed: bool) -> Self {
        if let Self::MissingColumns { tried, .. } = &mut self {
            *tried = guessed;
        }
        self
    }
}

/// Options that do not make sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseOptionError {
    /// A directive that does not exist, or a format over its bound.
    #[error(
        "`timestamp_format` `{}` is not a strftime format; write for example `%d/%m/%Y %H:%M:%S`", clip(.format)
    )]
    TimestampFormat {
        /// The format as it came.
        format: String,
    },
    /// A format that leaves the date open.
    #[error(
        "`timestamp_format` `{}` does not give a full date and time of day; name year, month and day, and `%p` beside `%I`", clip(.format)
    )]
    TimestampFormatIncomplete {
        /// The format as it came.
        format: String,
    },
    /// A column mapped twice.
    #[error("`columns` maps {column} twice; name one label for it")]
    ColumnMappedTwice {
        /// The column.
        column: Required,
    },
    /// One label for two columns.
    #[error("`columns` maps both {first} and {second} to `{}`; a label stands for one column", clip(.label))]
    LabelMappedTwice {
        /// The label.
        label: String,
        /// The column named first.
        first: Required,
        /// The column named second.
        second: Required,
    },
    /// Delimiter and quote that cannot be told apart.
    #[error("the delimiter and the quote must be two different ASCII characters and no line ends")]
    Dialect,
}

fn clip(label: &str) -> String {
    match label.char_indices().nth(LABEL_CHARS) {
        Some((at, _)) => format!("{}…", &label[..at]),
        None => label.to_owned(),
    }
}

fn list(labels: &[String]) -> String {
    let shown = labels.iter().take(LABELS_SHOWN);
    let shown: Vec<_> = shown.map(|label| format!("`{}`", clip(label))).collect();
    match labels.len().checked_sub(LABELS_SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}

fn missing_columns(
    missing: &[Required],
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
        " (tried comma, semicolon, tab and `|` as delimiters; `delimiter=` states another one)"
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

/// What settles it: what is meant most likely, or what to name.
fn remedy(
    missing: &[Required],
    nearest: &[(Required, String)],
    proposed: Option<&str>,
    separator: Option<char>,
) -> String {
    if separator.is_some() {
        return "leave the option `delimiter` out, or state that one".into();
    }
    if nearest.is_empty() {
        let known = Required::ALL.iter().filter(|c| !c.is_optional()).count();
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
    fn long_headers_are_told_in_short() {
        let found: Vec<_> = (0..30)
            .map(|at| format!("{at}{}", "é".repeat(100)))
            .collect();
        let error = ParseError::MissingColumns {
            missing: vec![Required::UserId],
            found,
            nearest: Vec::new(),
            proposed: None,
            separator: None,
            tried: false,
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
