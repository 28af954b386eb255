//! How rejected rows go out as a CSV file, to be mended and sent again as it is: both directions side by side, since the
//! one must undo the other. Cells that a spreadsheet would run are kept from it by an apostrophe (CWE-1236).

use super::{FaultCode, Rejection};

/// The columns added behind the original ones; they are left out when the file comes back.
pub const ADDED: [&str; 3] = ["_line", "_error_code", "_error"];

/// Stands where something could not be kept or has to be filled in; a row that still has it is refused.
pub const MARK: char = '\u{fffd}';

/// Where among these labels the added ones stand: people move columns, and take some away.
pub fn added<'a>(labels: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let places = labels.enumerate();
    let is_added = |(at, label): (usize, &str)| ADDED.contains(&label).then_some(at);
    places.filter_map(is_added).collect()
}

/// Whether so many added columns tell a file of rejected rows: two, since one may be somebody's own.
#[must_use]
pub fn is_mended(added: usize) -> bool {
    added >= 2
}

/// Whether a cell is one that is written with one apostrophe more: any number of them in front of what begins a formula.
fn is_kept_back(cell: &[u8]) -> bool {
    let first = cell.iter().find(|byte| **byte != b'\'');
    matches!(first, Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r'))
}

/// The cell as it was before it went out.
#[must_use]
pub fn restore(cell: &[u8]) -> &[u8] {
    match cell {
        [b'\'', rest @ ..] if is_kept_back(rest) => rest,
        cell => cell,
    }
}

/// A file of rejected rows, as text.
#[derive(Debug, Clone)]
pub struct MendedFile {
    delimiter: char,
    /// Whether each column of the original is written: those added to the file that this one comes from are not.
    kept: Vec<bool>,
}

impl MendedFile {
    /// For rows under these labels.
    #[must_use]
    pub fn new(labels: &[String], delimiter: char) -> Self {
        let folded: Vec<_> = labels.iter().map(|label| label.to_lowercase()).collect();
        let added = added(folded.iter().map(String::as_str));
        Self {
            delimiter,
            kept: (0..labels.len()).map(|at| !added.contains(&at)).collect(),
        }
    }

    /// The header, behind a byte-order mark, which tells Excel that it is UTF-8.
    #[must_use]
    pub fn header(&self, labels: &[String]) -> String {
        let labels = labels.iter().zip(&self.kept);
        let kept = labels
            .filter(|(_, kept)| **kept)
            .map(|(label, _)| label.as_str());
        let mut text = String::from('\u{feff}');
        self.line(kept.chain(ADDED), &mut text);
        text
    }

    /// One row, its cells under the labels whatever its shape was.
    #[must_use]
    pub fn row(&self, rejection: &Rejection) -> String {
        let codes: Vec<_> = rejection.faults.iter().map(|f| f.code.as_str()).collect();
        let added = [
            rejection.line.to_string(),
            codes.join(" "),
            rejection.reason(),
        ];
        let mut text = String::new();
        let cells = self.cells(rejection);
        let kept = cells.iter().zip(&self.kept).filter(|(_, kept)| **kept);
        let all = kept.map(|(cell, _)| cell).chain(&added);
        self.line(all.map(String::as_str), &mut text);
        text
    }

    /// As many cells as there are labels. Where that is not what the row had, the mark says so, and keeps it from being
    /// taken unmended.
    fn cells(&self, rejection: &Rejection) -> Vec<String> {
        let Rejection {
            cells,
            clipped,
            faults,
            ..
        } = rejection;
        let width = self.kept.len();
        let mut fitted: Vec<String> = cells.iter().take(width).cloned().collect();
        let missing = fitted.len() < width;
        if let (Some(extra), Some(last)) = (cells.get(width..), fitted.last_mut())
            && !extra.is_empty()
        {
            for cell in extra {
                last.push(self.delimiter);
                last.push_str(cell);
            }
            last.push(MARK);
        }
        fitted.resize(width, String::new());
        let broken = |code| matches!(code, FaultCode::UnclosedQuote | FaultCode::StrayQuote);
        if missing {
            fitted[cells.len()].push(MARK);
        } else if *clipped || faults.iter().any(|fault| broken(fault.code)) {
            let last = self.kept.iter().rposition(|kept| *kept);
            fitted[last.unwrap_or(width - 1)].push(MARK);
        }
        fitted
    }

    /// Every cell in quotes: so one that is blank, or holds any delimiter, stays what it is.
    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>, text: &mut String) {
        for (at, cell) in cells.enumerate() {
            if at > 0 {
                text.push(self.delimiter);
            }
            text.push('"');
            if is_kept_back(cell.as_bytes()) {
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
    fn what_goes_out_comes_back_and_is_never_a_formula() {
        for cell in [
            "", "a", "'", "''", "=1", "'=1", "''=1", "+1", "-1", "@x", "\tx", "\rx", "a=1", "'a",
            "'-",
        ] {
            let mut text = String::new();
            MendedFile::new(&[], ',').line([cell].into_iter(), &mut text);
            let out = text.trim_end_matches("\r\n").trim_matches('"');
            assert!(!out.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
            assert_eq!(restore(out.as_bytes()), cell.as_bytes());
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
    fn rows_of_any_shape_stand_under_the_labels() {
        let labels = ["a", "b", "c"].map(str::to_owned);
        let file = MendedFile::new(&labels, ';');
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
    fn columns_added_once_are_not_added_twice() {
        let labels = ["a", "_line", "_error_code", "_error"].map(str::to_owned);
        let file = MendedFile::new(&labels, ',');
        let row = file.row(&rejection(&["1", "3", "x", "y"], FaultCode::MissingValue));
        assert!(
            file.header(&labels)
                .starts_with("\u{feff}\"a\",\"_line\",\"_error_code\"")
        );
        assert!(row.starts_with("\"1\",\"7\",\"missing-value\""), "{row}");
    }
}
