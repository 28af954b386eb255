//! The file `errors.csv`: rejected rows with their faults, to be corrected and uploaded again.
//! The changes to cells and labels are in one module with their inverses, which the parser applies to a corrected file.
//! No cell of the file runs as a formula in a spreadsheet (CWE-1236).

use crate::model::{FaultCode, Rejection};

/// The columns appended to the original ones; an upload of the file ignores them.
pub const APPENDED_COLUMNS: [&str; 3] = ["_line", "_error_code", "_error"];

/// Marks a cell whose content is missing or incomplete; a row that still contains it is rejected again.
pub const INCOMPLETE_MARK: char = '\u{fffd}';

/// Returns the positions of the appended columns among `labels`. Users may have moved or removed some.
pub fn appended_positions<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let is_appended = |(at, label): (usize, &str)| APPENDED_COLUMNS.contains(&label).then_some(at);
    labels.enumerate().filter_map(is_appended).collect()
}

/// Whether a file with that many appended columns is an `errors.csv`. A single one may be a column of the user's own.
#[must_use]
pub fn is_errors_csv(appended: usize) -> bool {
    appended >= 2
}

/// Whether the cell is written with an apostrophe in front: it is a formula, perhaps behind apostrophes of its own. A
/// spreadsheet takes full-width signs for plain ones, and one that expects another delimiter splits a cell at it.
fn needs_apostrophe(cell: &[u8]) -> bool {
    let start = cell.iter().position(|byte| *byte != b'\'');
    let cell = &cell[start.unwrap_or(cell.len())..];
    if matches!(cell.first(), Some(b'\t' | b'\r' | b'\n')) {
        return true;
    }
    let is_separator = |byte: &u8| b";,|:^ \t\r\n\"".contains(byte);
    let start = cell.iter().position(|byte| !is_separator(byte));
    let cell = &cell[start.unwrap_or(cell.len())..];
    matches!(cell.first(), Some(b'=' | b'+' | b'-' | b'@'))
        || FULL_WIDTH
            .iter()
            .any(|sign| cell.starts_with(sign.as_bytes()))
}

/// The full-width forms of `=`, `+`, `-` and `@`.
const FULL_WIDTH: [&str; 4] = ["\u{ff1d}", "\u{ff0b}", "\u{ff0d}", "\u{ff20}"];

/// Returns the cell without the apostrophe that [`ErrorsCsv`] put in front of it.
#[must_use]
pub fn strip_apostrophe(cell: &[u8]) -> &[u8] {
    match cell {
        [b'\'', rest @ ..] if needs_apostrophe(rest) => rest,
        cell => cell,
    }
}

/// Writes rejected rows as the text of an `errors.csv`.
#[derive(Debug, Clone)]
pub struct ErrorsCsv {
    delimiter: char,
    /// For each column of the rejected file, whether it is written. Columns appended by an earlier export are not.
    written: Vec<bool>,
}

impl ErrorsCsv {
    /// Creates a writer for rows of a file with these labels.
    #[must_use]
    pub fn new(labels: &[String], delimiter: char) -> Self {
        let lowercase: Vec<_> = labels.iter().map(|label| label.to_lowercase()).collect();
        let appended = appended_positions(lowercase.iter().map(String::as_str));
        Self {
            delimiter,
            written: (0..labels.len())
                .map(|at| !appended.contains(&at))
                .collect(),
        }
    }

    /// Returns the header line. It starts with a byte-order mark, by which Excel recognizes UTF-8.
    #[must_use]
    pub fn header(&self, labels: &[String]) -> String {
        let labels = labels.iter().zip(&self.written);
        let original = labels
            .filter(|(_, written)| **written)
            .map(|(label, _)| label.as_str());
        let mut text = String::from('\u{feff}');
        self.write_line(original.chain(APPENDED_COLUMNS), &mut text);
        text
    }

    /// Returns the line of one rejected row, with as many cells as there are labels.
    #[must_use]
    pub fn row(&self, rejection: &Rejection) -> String {
        let codes: Vec<_> = rejection.faults.iter().map(|f| f.code.as_str()).collect();
        let appended = [
            rejection.line.to_string(),
            codes.join(" "),
            rejection.reason(),
        ];
        let mut text = String::new();
        let cells = self.aligned_cells(rejection);
        let original = cells.iter().zip(&self.written);
        let original = original.filter(|(_, written)| **written);
        let all = original.map(|(cell, _)| cell).chain(&appended);
        self.write_line(all.map(String::as_str), &mut text);
        text
    }

    /// Returns one cell for each label. Where that differs from the cells of the row, a mark shows the place and
    /// prevents the row from being accepted uncorrected.
    fn aligned_cells(&self, rejection: &Rejection) -> Vec<String> {
        let Rejection {
            cells,
            clipped,
            faults,
            ..
        } = rejection;
        let width = self.written.len();
        let mut aligned: Vec<String> = cells.iter().take(width).cloned().collect();
        let missing = aligned.len() < width;
        if let (Some(extra), Some(last)) = (cells.get(width..), aligned.last_mut())
            && !extra.is_empty()
        {
            for cell in extra {
                last.push(self.delimiter);
                last.push_str(cell);
            }
            last.push(INCOMPLETE_MARK);
        }
        aligned.resize(width, String::new());
        let bad_quotes = |code| matches!(code, FaultCode::UnclosedQuote | FaultCode::StrayQuote);
        if missing {
            aligned[cells.len()].push(INCOMPLETE_MARK);
        } else if *clipped || faults.iter().any(|fault| bad_quotes(fault.code)) {
            let last = self.written.iter().rposition(|written| *written);
            aligned[last.unwrap_or(width - 1)].push(INCOMPLETE_MARK);
        }
        aligned
    }

    /// Appends one line to `text`. All cells are quoted, so blank cells and those with a delimiter stay as they are.
    fn write_line<'a>(&self, cells: impl Iterator<Item = &'a str>, text: &mut String) {
        for (at, cell) in cells.enumerate() {
            if at > 0 {
                text.push(self.delimiter);
            }
            text.push('"');
            if needs_apostrophe(cell.as_bytes()) {
                text.push('\'');
            }
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        }
        text.push_str("\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Fault;

    #[test]
    fn cells_survive_the_round_trip_and_never_start_a_formula() {
        for cell in [
            "",
            "a",
            "'",
            "''",
            "=1",
            "'=1",
            "''=1",
            "+1",
            "-1",
            "@x",
            "\tx",
            "\rx",
            "a=1",
            "'a",
            "'-",
            "\nx",
            ";=1",
            ";;+1",
            ",\"=1",
            " =1",
            "'; =1",
            "\u{ff1d}1",
            "\u{ff0b}1",
            "\u{ff0d}1",
            "\u{ff20}x",
            "'\u{ff1d}1",
            "|@x",
            ";a",
        ] {
            let mut text = String::new();
            ErrorsCsv::new(&[], ',').write_line([cell].into_iter(), &mut text);
            let out = text
                .strip_prefix('"')
                .and_then(|text| text.strip_suffix("\"\r\n"));
            let out = out.expect("is quoted").replace("\"\"", "\"");
            let first = out.trim_start_matches([';', ',', '|', ' ', '"']);
            let formula = [
                '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}',
                '\u{ff20}',
            ];
            assert!(!first.starts_with(formula), "{cell}");
            assert_eq!(strip_apostrophe(out.as_bytes()), cell.as_bytes());
        }
    }

    fn rejection(cells: &[&str], code: FaultCode) -> Rejection {
        Rejection {
            row: 1,
            line: 7,
            last_line: 7,
            byte_offset: 0,
            cells: cells.iter().map(|cell| (*cell).to_owned()).collect(),
            clipped: false,
            faults: vec![Fault {
                column: None,
                code,
                message: "it is \"so\"".into(),
                value: None,
                hint: None,
            }],
        }
    }

    #[test]
    fn every_row_has_one_cell_per_label() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let file = ErrorsCsv::new(&labels, ';');
        assert_eq!(
            file.header(&labels),
            "\u{feff}\"a\";\"b\";\"c\";\"_line\";\"_error_code\";\"_error\"\r\n"
        );
        let tail = |code: &str| format!(";\"7\";\"{code}\";\"it is \"\"so\"\"\"\r\n");
        for (cells, code, expected) in [
            (
                &["1", "=2", "3"][..],
                FaultCode::MissingValue,
                "\"1\";\"'=2\";\"3\"",
            ),
            (&["1"], FaultCode::MissingCell, "\"1\";\"\u{fffd}\";\"\""),
            (&[], FaultCode::MissingCell, "\"\u{fffd}\";\"\";\"\""),
            (
                &["1", "2", "3", "4", "5"],
                FaultCode::ExtraCell,
                "\"1\";\"2\";\"3;4;5\u{fffd}\"",
            ),
            (
                &["1", "2", "3"],
                FaultCode::StrayQuote,
                "\"1\";\"2\";\"3\u{fffd}\"",
            ),
        ] {
            let row = file.row(&rejection(cells, code));
            assert_eq!(row, format!("{expected}{}", tail(code.as_str())));
        }
    }

    #[test]
    fn columns_of_an_earlier_export_are_replaced() {
        let labels = ["a", "_line", "_error_code", "_error"].map(str::to_owned);
        let file = ErrorsCsv::new(&labels, ',');
        let row = file.row(&rejection(&["1", "3", "x", "y"], FaultCode::MissingValue));
        assert!(
            file.header(&labels)
                .starts_with("\u{feff}\"a\",\"_line\",\"_error_code\"")
        );
        assert!(row.starts_with("\"1\",\"7\",\"missing-value\""), "{row}");
    }
}
