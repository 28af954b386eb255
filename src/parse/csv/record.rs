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
        header::{Header, normalize_label},
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

    fn is_other_header(&self, limits: &Limits) -> bool {
        let own_label = self.header.labels[self.header.timestamp].as_bytes();
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
            || Header::read(&cells, &[], limits, false).is_ok()
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
        let column = self.header.column(field);
        column.map_or(&b""[..], |column| self.cells.get(column))
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
