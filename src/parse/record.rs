//! The interface between the readers of file formats and row validation.
//! A reader gives one [`Record`] for each row; row validation turns it into an event or a rejection.

use super::value::field::EventField;
use crate::model::rejection::Fault;

/// Where a record starts in the decoded file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordPosition {
    /// Physical line, from 1.
    pub(crate) line: u32,
    /// Bytes of text before it, without the byte-order mark.
    pub(crate) byte: u64,
}

/// One cell of a record, as it is in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordCell<'a> {
    /// The label of its column. None for a surplus cell and for a cell of an ignored column.
    pub(crate) label: Option<&'a str>,
    /// The text of the cell.
    pub(crate) value: &'a [u8],
}

/// One row of a file: values by the meaning of their column, and the cells that they come from.
///
/// Always used as `impl Record`: the calls are resolved at compile time, since they are made for every value of a file.
pub(crate) trait Record {
    /// Returns where the record starts.
    fn position(&self) -> RecordPosition;

    /// Returns the value of an event field; empty where the record has none.
    fn value(&self, field: EventField) -> &[u8];

    /// Returns the values of all attribute columns, in the order of the columns.
    fn attributes(&self) -> impl Iterator<Item = &[u8]>;

    /// Returns all cells in the order of the header, surplus ones last: rejections store them by position.
    fn cells(&self) -> impl Iterator<Item = RecordCell<'_>>;

    /// Returns the bytes of all cells together.
    fn text_bytes(&self) -> usize;

    /// Whether the record has the structure that the header requires, and all of it is UTF-8 without NUL.
    fn is_intact(&self) -> bool;

    /// Whether there is exactly one cell for each column.
    fn has_one_cell_per_column(&self) -> bool;

    /// Returns what is wrong with the structure of the record. With such a fault, values may belong to other columns.
    fn structural_faults(&self) -> Vec<Fault>;
}
