//! Splits complete records into cells with csv-async, into one reused buffer.
//! The source is memory that is always ready, so the asynchronous reader never waits.

use std::io::Cursor;

use csv_async::{AsyncReader, AsyncReaderBuilder, ByteRecord, Terminator};
use futures_util::FutureExt;

use super::dialect::{Dialect, Escape};
use crate::{export::errors_csv::strip_apostrophe, parse::value::field::trim};

/// Bytes that csv-async reads from its source at a time; they stay in the first-level cache.
const SOURCE_BYTES: usize = 16 * 1024;

/// Splits records into cells.
pub(super) struct CellReader {
    reader: AsyncReader<Cursor<Vec<u8>>>,
    record: ByteRecord,
}

impl CellReader {
    /// Creates a reader without text.
    pub(super) fn new(dialect: Dialect) -> Self {
        let reader = AsyncReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .quote(dialect.quote)
            .quoting(dialect.quote != Dialect::NO_QUOTE)
            .double_quote(true)
            .escape((dialect.escape == Escape::Backslash).then_some(b'\\'))
            .terminator(Terminator::Any(b'\n'))
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(SOURCE_BYTES)
            .create_reader(Cursor::new(Vec::new()));
        Self {
            reader,
            record: ByteRecord::new(),
        }
    }

    /// Swaps the complete records in `text` for the buffer of the previous ones, which must have been read.
    pub(super) fn load(&mut self, text: &mut Vec<u8>) {
        let source = self.reader.get_mut();
        if source.position() == 0 {
            // csv-core removes a byte-order mark from the first text it reads, where it would be part of a cell. An
            // empty line in front of it prevents that, and is itself removed.
            text.insert(0, b'\n');
        }
        std::mem::swap(source.get_mut(), text);
        source.set_position(0);
    }

    /// Returns the cells of the next record. None if csv-async sees no further record, which the framer rules out.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Cells<'_>> {
        match self
            .reader
            .read_byte_record(&mut self.record)
            .now_or_never()
        {
            Some(Ok(true)) => Some(Cells::new(&self.record)),
            Some(Ok(false) | Err(_)) | None => None,
        }
    }
}

/// The cells of one record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cells<'a> {
    record: &'a ByteRecord,
    /// Bytes of the last cell that belong to the line end.
    line_end: usize,
    /// Whether [`strip_apostrophe`] applies to the cells.
    from_errors_csv: bool,
}

impl<'a> Cells<'a> {
    fn new(record: &'a ByteRecord) -> Self {
        Self {
            record,
            line_end: 0,
            from_errors_csv: false,
        }
    }

    /// Excludes the CR of a CR LF, which csv-async counts to the last cell.
    #[inline]
    pub(super) fn without_cr(mut self) -> Self {
        self.line_end = usize::from(self.record.as_slice().last() == Some(&b'\r'));
        self
    }

    /// Reads the cells as those of an `errors.csv`, without the apostrophes that were added to them.
    #[inline]
    pub(super) fn of_errors_csv(mut self) -> Self {
        self.from_errors_csv = true;
        self
    }

    /// Returns the number of cells.
    #[inline]
    pub(super) fn len(self) -> usize {
        self.record.len()
    }

    /// Returns the bytes of all cells together.
    #[inline]
    pub(super) fn text_bytes(self) -> usize {
        self.record.as_slice().len()
    }

    /// Returns the cell at a position; empty if there is none.
    #[inline]
    pub(super) fn get(self, at: usize) -> &'a [u8] {
        let cell = self.record.get(at).unwrap_or_default();
        let cell = if at + 1 == self.record.len() {
            &cell[..cell.len() - self.line_end]
        } else {
            cell
        };
        if self.from_errors_csv {
            strip_apostrophe(cell)
        } else {
            cell
        }
    }

    /// Returns all cells.
    pub(super) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).map(move |at| self.get(at))
    }

    /// Whether all cells are blank.
    pub(super) fn are_blank(self) -> bool {
        self.iter().all(|cell| trim(cell).is_empty())
    }

    /// Whether every cell is UTF-8 without NUL.
    pub(super) fn are_text(self) -> bool {
        // Cell by cell: neighbouring cells may each contain one half of a character.
        self.iter()
            .all(|cell| memchr::memchr(0, cell).is_none() && std::str::from_utf8(cell).is_ok())
    }

    /// Returns the cells as text, unless one is not UTF-8.
    pub(super) fn to_text(self) -> Option<Vec<&'a str>> {
        let cells = self.iter().map(|cell| std::str::from_utf8(cell).ok());
        cells.collect()
    }
}
