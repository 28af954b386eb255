//! Divides text into physical records, with the true line of each, and returns them in blocks.
//! An unclosed quote costs its own line and the lines that belong to its cell: reading resumes at the next line that is
//! a record of the right number of cells. Holds at most one record and one block in memory.

use memchr::memchr;

use super::scan::{FramingOptions, RecordScan, ScanOutcome, UnclosedQuote};
use crate::model::rejection::Rejection;

/// Text accepted at a time, and text of a block. Fits the caches of the processor together with its copies.
pub(super) const BLOCK_BYTES: usize = 128 * 1024;

/// Maximum damaged records in a block, since each may store some text.
const BLOCK_DAMAGED: usize = 256;

/// Bytes that may be scanned again after unclosed quotes: a constant, and a multiple of the text consumed. Natural files
/// stay far below. Beyond it every record ends with its line, which bounds the time for hostile files linearly.
const RESCANNED_BYTES: u64 = 16 * 1024 * 1024;
const RESCANNED_FACTOR: u64 = 4;

/// The state of a framed record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// In the text of the block.
    Clean,
    /// In the text of the block, with text after a closing quote.
    StrayQuote,
    /// Not in the text, but the next of the damaged records.
    Damaged,
}

/// One record of a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramedRecord {
    /// Physical line where it starts.
    pub(super) line: u32,
    /// Bytes of text before it.
    pub(super) byte: u64,
    /// Whether it is in the text of the block.
    pub(super) kind: RecordKind,
    /// Whether it ends in CR LF, so that the CR is not part of its last cell.
    pub(super) crlf: bool,
    /// Whether a blank line stands before it.
    pub(super) after_blank: bool,
}

/// What is wrong with a damaged record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordDamage {
    /// Its line is over the byte limit.
    TooLong,
    /// It opens a quote that is not closed.
    UnclosedQuote(UnclosedQuote),
}

/// A record that cannot be split into cells.
#[derive(Debug, Clone)]
pub(super) struct DamagedRecord {
    /// Physical line where it starts.
    pub(super) line: u32,
    /// Bytes of text before it.
    pub(super) byte: u64,
    /// The last physical line that is lost with it.
    pub(super) last_line: u32,
    /// What is wrong.
    pub(super) damage: RecordDamage,
    /// Its first line without the line end, clipped to the bytes that a rejection stores.
    pub(super) text: Vec<u8>,
    /// Whether `text` is clipped.
    pub(super) clipped: bool,
}

/// Complete records, back to back, each with a line end.
#[derive(Debug, Default)]
pub(super) struct RecordBlock {
    /// The text of all records that are not damaged.
    pub(super) text: Vec<u8>,
    /// All records, damaged ones included, in file order.
    pub(super) records: Vec<FramedRecord>,
    /// The damaged records, in file order.
    pub(super) damaged: Vec<DamagedRecord>,
}

/// Line ends and blank lines read so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LineCounts {
    /// Lines without any text.
    pub(super) blank: u64,
    /// Records and blank lines that end in LF alone.
    pub(super) lf: u64,
    /// Records and blank lines that end in CR LF.
    pub(super) crlf: u64,
}

/// A record with an unclosed quote, while the line to resume at is searched.
#[derive(Debug)]
struct OpenQuote {
    record: DamagedRecord,
    /// Blank lines since its last line. They belong to the record only if more of it follows.
    blank: u64,
}

/// Divides the text of one file into records.
#[derive(Debug)]
pub(super) struct RecordFramer {
    options: FramingOptions,
    buffer: Vec<u8>,
    /// First byte of the current record in the buffer.
    start: usize,
    /// First byte of the framed records that are not yet copied into a block.
    uncopied: usize,
    scan: RecordScan,
    /// Whether the rest of the current line must be dropped.
    skips_line: bool,
    /// Whether the line before the current record is blank.
    after_blank: bool,
    open_quote: Option<OpenQuote>,
    /// The physical line at `start`. It may exceed the numbers of rows; then the file is refused.
    line: u64,
    /// Bytes of the file before the buffer.
    bytes_before: u64,
    /// Bytes scanned more than once.
    rescanned: u64,
    input_ended: bool,
    counts: LineCounts,
}

impl RecordFramer {
    /// Creates a framer that starts at physical line `line`, after `bytes_before` bytes of the file.
    pub(super) fn new(options: FramingOptions, line: u32, bytes_before: u64) -> Self {
        Self {
            options,
            buffer: Vec::new(),
            start: 0,
            uncopied: 0,
            scan: RecordScan::default(),
            skips_line: false,
            after_blank: false,
            open_quote: None,
            line: u64::from(line),
            bytes_before,
            rescanned: 0,
            input_ended: false,
            counts: LineCounts::default(),
        }
    }

    /// Sets the number of cells of a record, once the header is read.
    pub(super) fn set_columns(&mut self, columns: usize) {
        self.options.columns = Some(columns);
    }

    /// Returns whether there are more lines than [`u32`] can number. The records of the last block may share a line then.
    pub(super) fn has_too_many_lines(&self) -> bool {
        self.line - 1 > u64::from(u32::MAX)
    }

    /// Returns the line at `start`, plus a number of lines.
    fn line_after(&self, lines: u32) -> u32 {
        u32::try_from(self.line + u64::from(lines)).unwrap_or(u32::MAX)
    }

    /// Returns the line ends and blank lines so far.
    pub(super) fn line_counts(&self) -> LineCounts {
        self.counts
    }

    /// Continues as if the next line had another number, for tests.
    #[cfg(test)]
    pub(super) fn set_line(&mut self, line: u32) {
        self.line = u64::from(line);
    }

    /// Returns the bytes reserved, for tests of the memory bound.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Marks the end of the file: no more text follows.
    pub(super) fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// Copies the start of `text` into the buffer and returns its length. All blocks must be read before the next call.
    pub(super) fn push(&mut self, text: &[u8]) -> usize {
        let limit = self.options.record_bytes + 1 + BLOCK_BYTES;
        let accepted = text.len().min(BLOCK_BYTES);
        // What is moved is less than what was read since the last time, and the buffer stays as short as its records.
        let is_mostly_read = self.start >= BLOCK_BYTES.max(self.buffer.len() / 2);
        if is_mostly_read || self.start == self.buffer.len() || self.buffer.len() + accepted > limit
        {
            self.buffer.drain(..self.start);
            self.bytes_before += self.start as u64;
            (self.start, self.uncopied) = (0, 0);
        }
        let accepted = accepted.min(limit - self.buffer.len());
        self.buffer.extend_from_slice(&text[..accepted]);
        accepted
    }

    /// Refills `block` with complete records and returns whether there are any. While the number of columns is unknown,
    /// a block has one record.
    pub(super) fn next_block(&mut self, block: &mut RecordBlock) -> bool {
        block.text.clear();
        block.records.clear();
        block.damaged.clear();
        while self.advance(block) {
            let is_full = self.start - self.uncopied + block.text.len() >= BLOCK_BYTES;
            let is_header = self.options.columns.is_none() && !block.records.is_empty();
            if is_full || is_header || block.damaged.len() >= BLOCK_DAMAGED {
                break;
            }
        }
        self.copy_framed(block);
        !block.records.is_empty()
    }

    /// Advances by one record or line. Returns false if that needs more text.
    #[inline]
    fn advance(&mut self, block: &mut RecordBlock) -> bool {
        if self.skips_line && !self.skip_rest_of_line() {
            return false;
        }
        let rest = &self.buffer[self.start..];
        if self.scan.at == 0 {
            match *rest {
                [] => return self.end_of_buffer(block),
                [b'\r'] if !self.input_ended => return false,
                [b'\n', ..] => return self.blank_line(1, block),
                [b'\r'] => return self.blank_line(1, block),
                [b'\r', b'\n', ..] => return self.blank_line(2, block),
                _ => {}
            }
        }
        // One byte over the limit suffices to detect a record that is too long.
        let window = &rest[..rest.len().min(self.options.record_bytes + 1)];
        let is_last = self.input_ended && window.len() == rest.len();
        let consumed = self.bytes_before + self.start as u64;
        let may_join = self.rescanned <= RESCANNED_BYTES + RESCANNED_FACTOR * consumed;
        match self.scan.scan(window, &self.options, is_last, may_join) {
            ScanOutcome::NeedsMoreText => false,
            ScanOutcome::Complete(length) => self.complete_record(length, block),
            ScanOutcome::TooLong => self.damaged_record(RecordDamage::TooLong, block),
            ScanOutcome::UnclosedQuote(cause) => {
                self.damaged_record(RecordDamage::UnclosedQuote(cause), block)
            }
        }
    }

    #[inline]
    fn complete_record(&mut self, length: usize, block: &mut RecordBlock) -> bool {
        let scan = std::mem::take(&mut self.scan);
        if self.open_quote.is_some() {
            let record = &self.buffer[self.start..self.start + length];
            let has_all_cells = || {
                let cells = scan.cells(record, self.options.dialect.delimiter);
                self.options.columns == Some(cells)
            };
            // The scan has checked the number of cells of a record of several lines.
            if scan.line_breaks == 0 && (scan.has_stray_quote || !has_all_cells()) {
                return self.extend_open_quote(length, 1, block);
            }
            self.end_open_quote(block);
        }
        let kind = if scan.has_stray_quote || scan.has_misplaced_quote && scan.line_breaks == 0 {
            RecordKind::StrayQuote
        } else {
            RecordKind::Clean
        };
        let end = self.start + length;
        let (has_line_end, crlf) = self.count_line_end(end);
        block.records.push(FramedRecord {
            line: self.line_after(0),
            byte: self.bytes_before + self.start as u64,
            kind,
            crlf,
            after_blank: std::mem::take(&mut self.after_blank),
        });
        self.start = end;
        self.line += u64::from(scan.line_breaks) + 1;
        if !has_line_end {
            self.copy_framed(block);
            block.text.push(b'\n');
        }
        true
    }

    /// Counts the line end of the record before `end`. Returns whether there is one, and whether a CR stands before it.
    #[inline]
    fn count_line_end(&mut self, end: usize) -> (bool, bool) {
        let line = &self.buffer[self.start..end];
        let has_line_end = line.last() == Some(&b'\n');
        let content = &line[..line.len() - usize::from(has_line_end)];
        let crlf = content.last() == Some(&b'\r');
        self.counts.crlf += u64::from(has_line_end && crlf);
        self.counts.lf += u64::from(has_line_end && !crlf);
        (has_line_end, crlf)
    }

    fn blank_line(&mut self, length: usize, block: &mut RecordBlock) -> bool {
        self.count_line_end(self.start + length);
        self.after_blank = true;
        match &mut self.open_quote {
            Some(open) => open.blank += 1,
            None => self.counts.blank += 1,
        }
        self.skip_line(length, block);
        true
    }

    /// Skips a line of `length` bytes, which does not become part of a block.
    fn skip_line(&mut self, length: usize, block: &mut RecordBlock) {
        self.skip_lines(length, 1, block);
    }

    fn skip_lines(&mut self, length: usize, lines: u32, block: &mut RecordBlock) {
        self.copy_framed(block);
        self.start += length;
        self.uncopied = self.start;
        self.line += u64::from(lines);
    }

    /// Skips the first line of a damaged record: the line after it may be a valid record. A record whose quote closes is
    /// skipped as a whole.
    fn damaged_record(&mut self, damage: RecordDamage, block: &mut RecordBlock) -> bool {
        let rest = &self.buffer[self.start..];
        let scan = std::mem::take(&mut self.scan);
        let is_closed = damage == RecordDamage::UnclosedQuote(UnclosedQuote::CellCount);
        let first_line = match (damage, scan.second_line) {
            (RecordDamage::TooLong, _) | (RecordDamage::UnclosedQuote(_), 0) => {
                scan.at.min(rest.len())
            }
            (RecordDamage::UnclosedQuote(_), second_line) => second_line,
        };
        let (length, lines) = if is_closed {
            (scan.at, scan.line_breaks + 1)
        } else {
            (first_line, 1)
        };
        self.rescanned += (scan.at - length) as u64;
        self.skips_line = damage == RecordDamage::TooLong;
        if self.open_quote.is_some() {
            return self.extend_open_quote(length, lines, block);
        }
        let line = rest[..first_line]
            .strip_suffix(b"\n")
            .unwrap_or(&rest[..first_line]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let stored = line.len().min(Rejection::CELLS_BYTES);
        let record = DamagedRecord {
            line: self.line_after(0),
            byte: self.bytes_before + self.start as u64,
            last_line: self.line_after(lines - 1),
            damage,
            text: line[..stored].to_vec(),
            clipped: stored < line.len() || self.skips_line,
        };
        self.count_line_end(self.start + length);
        self.skip_lines(length, lines, block);
        self.open_quote = Some(OpenQuote { record, blank: 0 });
        if is_closed || damage == RecordDamage::TooLong || self.options.columns.is_none() {
            self.end_open_quote(block);
        }
        true
    }

    /// Adds lines to the record with the unclosed quote.
    fn extend_open_quote(&mut self, length: usize, lines: u32, block: &mut RecordBlock) -> bool {
        let last_line = self.line_after(lines - 1);
        if let Some(open) = &mut self.open_quote {
            open.record.last_line = last_line;
            open.blank = 0;
        }
        self.count_line_end(self.start + length);
        self.skip_lines(length, lines, block);
        true
    }

    /// Adds the record with the unclosed quote to the block: the line to resume at is found.
    fn end_open_quote(&mut self, block: &mut RecordBlock) {
        if let Some(OpenQuote { record, blank }) = self.open_quote.take() {
            self.counts.blank += blank;
            block.records.push(FramedRecord {
                line: record.line,
                byte: record.byte,
                kind: RecordKind::Damaged,
                crlf: false,
                after_blank: false,
            });
            block.damaged.push(record);
        }
    }

    fn end_of_buffer(&mut self, block: &mut RecordBlock) -> bool {
        if self.input_ended {
            self.end_open_quote(block);
        }
        false
    }

    /// Drops the rest of a line. Returns false if its end is not in the buffer.
    fn skip_rest_of_line(&mut self) -> bool {
        let rest = &self.buffer[self.start..];
        let end = memchr(b'\n', rest);
        self.start += end.map_or(rest.len(), |at| at + 1);
        self.uncopied = self.start;
        self.skips_line = end.is_none() && !self.input_ended;
        !self.skips_line
    }

    /// Copies the records framed since the last copy into the block.
    fn copy_framed(&mut self, block: &mut RecordBlock) {
        block
            .text
            .extend_from_slice(&self.buffer[self.uncopied..self.start]);
        self.uncopied = self.start;
    }
}

#[cfg(test)]
mod tests;
