//! A row of a CSV file as a [`Record`]: the cells of one record under the labels of the header.

use super::{
    cells::Cells,
    fault,
    frame::{FramedRecord, RecordKind},
};
use crate::{
    model::rejection::Fault,
    parse::{
        Limits,
        header::{Header, HeaderContext, normalize_label, sample::Sample, source::FieldSource},
        options::HeaderOption,
        record::{Record, RecordCell, RecordPosition},
        value::field::{EventField, trim},
    },
};

/// Ctrl-Z, with which DOS programs end a file.
const DOS_END_OF_FILE: &[u8] = b"\x1a";

/// Why a record is not a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotARow {
    /// All cells are blank.
    Blank,
    /// The header again, as in files that were concatenated.
    RepeatedHeader,
    /// A header that gives the columns another meaning. To continue would silently swap columns.
    OtherHeader,
}

/// One record of a CSV file.
pub(super) struct CsvRecord<'a> {
    pub(super) cells: Cells<'a>,
    pub(super) header: &'a Header,
    pub(super) framed: &'a FramedRecord,
    /// Whether the cells are known to be UTF-8 without NUL.
    pub(super) is_text: bool,
    /// The quote of the file.
    pub(super) quote: u8,
    /// Whether a line of a single cell stands before it, as a title does.
    pub(super) after_title: bool,
    /// The values of fields that are joined of several columns.
    pub(super) joined: &'a JoinedValues,
}

/// The values of the fields that are joined of several columns, in the order of [`EventField::ALL`].
#[derive(Debug, Clone, Default)]
pub(super) struct JoinedValues([Vec<u8>; EventField::ALL.len()]);

impl JoinedValues {
    /// Joins the cells of a record, with a space between them.
    pub(super) fn join(&mut self, header: &Header, cells: Cells<'_>) {
        for (value, source) in self.0.iter_mut().zip(&header.fields) {
            let Some(FieldSource::Joined(columns)) = source else {
                continue;
            };
            value.clear();
            for cell in columns.iter().map(|column| trim(cells.get(*column))) {
                if !value.is_empty() {
                    value.push(b' ');
                }
                value.extend_from_slice(cell);
            }
        }
    }
}

impl CsvRecord<'_> {
    /// Returns why a record that is not a valid event is not a row either, or none if it is an invalid row.
    #[cold]
    pub(super) fn not_a_row(&self, limits: &Limits) -> Option<NotARow> {
        let is_end_of_file = self.cells.len() == 1 && self.cells.get(0) == DOS_END_OF_FILE;
        if is_end_of_file || self.cells.are_blank() {
            Some(NotARow::Blank)
        } else if self.is_repeated_header() {
            Some(NotARow::RepeatedHeader)
        } else if self.is_other_header(limits) {
            Some(NotARow::OtherHeader)
        } else {
            None
        }
    }

    fn is_repeated_header(&self) -> bool {
        let labels = &self.header.labels;
        let is_label = |(cell, label): (&[u8], &String)| {
            std::str::from_utf8(cell)
                .is_ok_and(|cell| normalize_label(cell) == normalize_label(label))
        };
        self.has_one_cell_per_column() && self.cells.iter().zip(labels).all(is_label)
    }

    /// Whether the record is the header of a second table: it stands below a blank line, is as wide as the rows, and has
    /// words in all columns, also in that of timestamps.
    fn is_header_of_another_table(&self) -> bool {
        let is_word = |cell: &[u8]| {
            let text = trim(cell);
            text.first()
                .is_some_and(|byte| byte.is_ascii_alphabetic() || !byte.is_ascii())
                && !text.iter().any(u8::is_ascii_digit)
        };
        let mut cells: Vec<_> = self.cells.iter().collect();
        cells.sort_unstable();
        let is_repeated = cells.windows(2).any(|pair| pair[0] == pair[1]);
        (self.framed.after_blank || self.after_title)
            && self.has_one_cell_per_column()
            && cells.len() > 2
            && cells.iter().all(|cell| is_word(cell))
            && !is_repeated
    }

    fn is_other_header(&self, limits: &Limits) -> bool {
        if self.is_header_of_another_table() {
            return true;
        }
        let own_label = self.header.label(EventField::Timestamp);
        let own_label = own_label.as_bytes();
        let is_timestamp_label = |cell: &[u8]| {
            let cell = trim(cell);
            let is_name = |name: &str| cell.eq_ignore_ascii_case(name.as_bytes());
            cell.eq_ignore_ascii_case(own_label) || EventField::Timestamp.names().any(is_name)
        };
        if !self.cells.iter().any(is_timestamp_label) {
            return false;
        }
        let Some(cells) = self.cells.to_text() else {
            return false;
        };
        let sorted = |labels: &mut dyn Iterator<Item = &str>| {
            let mut all: Vec<_> = labels.map(normalize_label).collect();
            all.sort_unstable();
            all
        };
        let labels = &mut self.header.labels.iter().map(String::as_str);
        sorted(&mut cells.iter().copied()) == sorted(labels)
            || Header::read(&cells, &without_rows(limits)).is_ok()
    }
}

/// Returns the context of a header among the rows.
fn without_rows(limits: &Limits) -> HeaderContext<'static> {
    HeaderContext {
        mapped: const { &Vec::new() },
        limits: *limits,
        from_errors_csv: false,
        header: HeaderOption::Detect,
        timestamp_format: None,
        sample: Sample::NONE,
    }
}

impl Record for CsvRecord<'_> {
    #[inline]
    fn position(&self) -> RecordPosition {
        RecordPosition {
            line: self.framed.line,
            byte: self.framed.byte,
        }
    }

    #[inline]
    fn value(&self, field: EventField) -> &[u8] {
        match self.header.source(field) {
            Some(FieldSource::Column(column)) => self.cells.get(*column),
            None => b"",
            Some(FieldSource::Joined(_)) => &self.joined.0[field as usize],
            Some(FieldSource::Constant(value)) => value.as_bytes(),
        }
    }

    #[inline]
    fn attributes(&self) -> impl Iterator<Item = &[u8]> {
        let columns = self.header.attributes.iter();
        columns.map(|column| self.cells.get(*column))
    }

    #[inline]
    fn cells(&self) -> impl Iterator<Item = RecordCell<'_>> {
        let Header {
            labels, appended, ..
        } = self.header;
        self.cells
            .iter()
            .enumerate()
            .map(move |(column, value)| RecordCell {
                label: labels
                    .get(column)
                    .filter(|_| !appended.contains(&column))
                    .map(String::as_str),
                value,
            })
    }

    #[inline]
    fn text_bytes(&self) -> usize {
        self.cells.text_bytes()
    }

    #[inline]
    fn is_intact(&self) -> bool {
        self.has_one_cell_per_column()
            && self.framed.kind == RecordKind::Clean
            && (self.is_text || self.cells.are_text())
    }

    #[inline]
    fn has_one_cell_per_column(&self) -> bool {
        self.cells.len() == self.header.labels.len()
    }

    fn structural_faults(&self) -> Vec<Fault> {
        let (expected, found) = (self.header.labels.len(), self.cells.len());
        let mut faults = Vec::new();
        if found < expected {
            faults.push(fault::missing_cell(self.header, found));
        } else if found > expected {
            faults.push(fault::extra_cell(self.header, self.cells, self.quote));
        }
        if self.framed.kind == RecordKind::StrayQuote {
            faults.push(fault::stray_quote());
        }
        faults
    }
}
