//! The one place that knows csv-async: whole records in, cells out, one reused record.
//! Its source is memory that is always ready, so nothing here ever waits.

use std::io::Cursor;

use csv_async::{AsyncReader, AsyncReaderBuilder, ByteRecord, Terminator};
use futures_util::FutureExt;

use super::dialect::{Dialect, Escape};
use crate::export::errors_csv::strip_apostrophe;

/// What csv-async takes from its source at a time; stays in the first-level cache.
const SOURCE_BYTES: usize = 16 * 1024;

/// Splits records into cells.
pub(crate) struct Cells {
    reader: AsyncReader<Cursor<Vec<u8>>>,
    record: ByteRecord,
}

impl Cells {
    /// A splitter without text.
    pub(crate) fn new(dialect: Dialect) -> Self {
        let reader = AsyncReaderBuilder::new()
            .delimiter(dialect.delimiter)
            .quote(dialect.quote)
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

    /// Takes the whole records in `text` in exchange for the buffer of those before, which have been read.
    pub(crate) fn load(&mut self, text: &mut Vec<u8>) {
        let source = self.reader.get_mut();
        if source.position() == 0 {
            // csv-core drops a byte-order mark from the first text it sees, where it would be part of a cell; an
            // empty line in front hides it, and is dropped as well.
            text.insert(0, b'\n');
        }
        std::mem::swap(source.get_mut(), text);
        source.set_position(0);
    }

    /// The next record; none if it cannot be told apart from its neighbours, which the frame rules out.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Row<'_>> {
        match self
            .reader
            .read_byte_record(&mut self.record)
            .now_or_never()
        {
            Some(Ok(true)) => Some(Row::new(&self.record)),
            Some(Ok(false) | Err(_)) | None => None,
        }
    }
}

/// The cells of one record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    record: &'a ByteRecord,
    /// Bytes of the last cell that belong to the line end.
    tail: usize,
    /// Whether cells are as they went out to be mended.
    mended: bool,
}

impl<'a> Row<'a> {
    fn new(record: &'a ByteRecord) -> Self {
        Self {
            record,
            tail: 0,
            mended: false,
        }
    }

    /// Leaves out the CR of a CR LF, which csv-async counts to the last cell.
    #[inline]
    pub(crate) fn without_cr(mut self) -> Self {
        self.tail = usize::from(self.record.as_slice().last() == Some(&b'\r'));
        self
    }

    /// Gives the cells as they were before they went out to be mended.
    #[inline]
    pub(crate) fn restored(mut self) -> Self {
        self.mended = true;
        self
    }

    /// Number of cells.
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.record.len()
    }

    /// Bytes of all cells together.
    #[inline]
    pub(crate) fn text_bytes(self) -> usize {
        self.record.as_slice().len()
    }

    /// The cell at `at`; empty where the record has none.
    #[inline]
    pub(crate) fn cell(self, at: usize) -> &'a [u8] {
        let cell = self.record.get(at).unwrap_or_default();
        let cell = if at + 1 == self.record.len() {
            &cell[..cell.len() - self.tail]
        } else {
            cell
        };
        if self.mended { strip_apostrophe(cell) } else { cell }
    }

    /// Whether every cell is UTF-8 without NUL.
    pub(crate) fn is_text(self) -> bool {
        // Cell by cell, since the halves of a character may stand in neighbouring cells.
        self.iter()
            .all(|cell| memchr::memchr(0, cell).is_none() && std::str::from_utf8(cell).is_ok())
    }

    /// All cells.
    pub(crate) fn iter(self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).map(move |at| self.cell(at))
    }
}
