//! Reads one CSV file whose start is known: joins framing, splitting and row validation.

use memchr::{memchr, memchr_iter};

use super::{
    cells::{CellReader, Cells},
    damaged,
    detect::{self, HeaderRequirements},
    dialect::{Dialect, DialectOptions},
    frame::{
        DamagedRecord, FramedRecord, LineCounts, RecordBlock, RecordDamage, RecordFramer,
        RecordKind,
    },
    record::{CsvRecord, NotARow},
    scan::FramingOptions,
};
use crate::parse::{
    Limits, LineEnding, ParseError, ParseSummary, ParsedRows,
    header::Header,
    row::RowValidator,
    value::{field::EventField, timestamp::TimestampParser},
};

/// Blank lines that every file may have: more than a spreadsheet has rows.
const BLANK_LINES: u64 = 2_000_000;
/// Most blank lines for each row beyond that.
const BLANK_RATIO: u64 = 4;

/// What is known of a file before its first byte.
pub(crate) struct CsvReaderOptions {
    /// The labels that the upload maps to event fields.
    pub(crate) columns: Vec<(EventField, String)>,
    /// Whether the upload says that the file is an `errors.csv`.
    pub(crate) from_errors_csv: bool,
    pub(crate) limits: Limits,
    pub(crate) dialect: DialectOptions,
    pub(crate) timestamps: TimestampParser,
    /// The stated formats, as stated.
    pub(crate) timestamp_format: Option<String>,
}

/// Reads one file whose dialect is known.
pub(crate) struct CsvReader {
    framer: RecordFramer,
    block: RecordBlock,
    cells: CellReader,
    stage: Stage,
    dialect: Dialect,
    /// Lines above the header.
    preamble_lines: u32,
    /// Blank records above the header.
    blank_above_header: u64,
    /// Set if lines end in CR alone: a buffer for the text with LF in place of CR.
    old_mac_lines: Option<Vec<u8>>,
}

enum Stage {
    /// The header is not read yet.
    Header(Box<HeaderStage>),
    /// The header is read.
    Rows(Box<RowStage>),
}

/// Reads the header.
struct HeaderStage {
    columns: Vec<(EventField, String)>,
    from_errors_csv: bool,
    limits: Limits,
    dialect: Dialect,
    timestamps: Option<TimestampParser>,
    timestamp_format: Option<String>,
    /// Whether the delimiter was detected among several.
    delimiter_was_guessed: bool,
}

/// Reads the rows below the header.
struct RowStage {
    header: Header,
    limits: Limits,
    dialect: Dialect,
    validator: RowValidator,
    blank: u64,
    repeated_headers: u64,
}

impl CsvReader {
    /// Creates a reader for a file that starts with `head`. Returns it with the bytes of `head` above the header.
    pub(crate) fn new(
        options: CsvReaderOptions,
        head: &mut [u8],
    ) -> Result<(Self, usize), ParseError> {
        let CsvReaderOptions {
            columns,
            from_errors_csv,
            limits,
            dialect,
            timestamps,
            timestamp_format,
        } = options;
        // Detection reads a fixed number of bytes, so its result does not depend on how the file arrives.
        let sample_bytes = head.len().min(detect::HEAD_BYTES);
        let sample = &head[..sample_bytes];
        let is_old_mac = memchr(b'\n', sample).is_none() && memchr(b'\r', sample).is_some();
        if is_old_mac {
            replace_cr(head);
        }
        let sample = &head[..sample_bytes];
        let requirements = HeaderRequirements {
            columns: &columns,
            from_errors_csv,
            limits,
        };
        let detection = detect::detect(sample, dialect, requirements);
        if let Some(line) = detect::row_above_header(sample, &detection, &timestamps) {
            let header = detection.preamble_lines + 1;
            return Err(ParseError::RowAboveHeader { line, header });
        }
        let framing = FramingOptions {
            dialect: detection.dialect,
            record_bytes: limits.record_bytes,
            record_lines: limits.record_lines,
            columns: None,
        };
        let first_line = detection.preamble_lines + 1;
        let reader = Self {
            framer: RecordFramer::new(framing, first_line, detection.preamble_bytes as u64),
            block: RecordBlock::default(),
            cells: CellReader::new(detection.dialect),
            stage: Stage::Header(Box::new(HeaderStage {
                columns,
                from_errors_csv,
                limits,
                dialect: detection.dialect,
                timestamps: Some(timestamps),
                timestamp_format,
                delimiter_was_guessed: dialect.delimiter.is_none(),
            })),
            dialect: detection.dialect,
            preamble_lines: detection.preamble_lines,
            blank_above_header: 0,
            old_mac_lines: is_old_mac.then(Vec::new),
        };
        Ok((reader, detection.preamble_bytes))
    }

    /// Reads the next part of the text.
    pub(crate) fn feed(&mut self, text: &[u8]) -> Result<(), ParseError> {
        let Some(mut lines) = self.old_mac_lines.take() else {
            return self.feed_lines(text);
        };
        lines.clear();
        lines.extend_from_slice(text);
        replace_cr(&mut lines);
        let result = self.feed_lines(&lines);
        self.old_mac_lines = Some(lines);
        result
    }

    /// Reads the next part of a text whose lines end in LF or CR LF.
    pub(crate) fn feed_lines(&mut self, mut text: &[u8]) -> Result<(), ParseError> {
        while !text.is_empty() {
            let accepted = self.framer.push(text);
            text = &text[accepted..];
            self.read_blocks()?;
        }
        Ok(())
    }

    /// Returns the next complete block of rows.
    pub(crate) fn next_rows(&mut self) -> Option<ParsedRows> {
        match &mut self.stage {
            Stage::Header(_) => None,
            Stage::Rows(rows) => rows.validator.next_block(),
        }
    }

    /// Returns the header, once it is read.
    pub(crate) fn header(&self) -> Option<&Header> {
        match &self.stage {
            Stage::Header(_) => None,
            Stage::Rows(rows) => Some(&rows.header),
        }
    }

    /// Reads the rest of the text at the end of the file, and sums up all rows.
    pub(crate) fn finish(&mut self) -> Result<ParseSummary, ParseError> {
        self.framer.end_input();
        self.read_blocks()?;
        let Stage::Rows(rows) = &mut self.stage else {
            return Err(ParseError::Empty);
        };
        rows.validator.finish();
        let (counts, lines) = (rows.validator.counts(), self.framer.line_counts());
        if counts.inserted + counts.failed == 0 {
            return Err(ParseError::HeaderOnly);
        }
        let blank = rows.blank + rows.repeated_headers + self.blank_above_header + lines.blank;
        Ok(ParseSummary {
            received: counts.inserted + counts.failed + blank,
            inserted: counts.inserted,
            failed: counts.failed,
            blank,
            repeated_headers: rows.repeated_headers,
            preamble_lines: self.preamble_lines,
            line_ending: line_ending(lines, self.old_mac_lines.is_some()),
            dialect: self.dialect,
            proposals: rows.validator.proposals(),
            values: rows.validator.value_counts(),
            warnings: rows.validator.warnings(&rows.header),
        })
    }

    /// Frames the next block of records. Returns whether there is one.
    fn next_block(&mut self) -> Result<bool, ParseError> {
        let has_records = self.framer.next_block(&mut self.block);
        if self.framer.has_too_many_lines() {
            return Err(ParseError::TooManyLines { limit: u32::MAX });
        }
        let (blank, rows) = self.blank_and_rows();
        if blank > BLANK_LINES && blank / BLANK_RATIO > rows {
            return Err(ParseError::TooManyBlankLines { limit: BLANK_LINES });
        }
        Ok(has_records)
    }

    /// Returns the blank lines so far, those of blank cells included, and the rows.
    fn blank_and_rows(&self) -> (u64, u64) {
        let lines = self.framer.line_counts();
        match &self.stage {
            Stage::Header(_) => (lines.blank + self.blank_above_header, 0),
            Stage::Rows(rows) => {
                let counts = rows.validator.counts();
                let blank = lines.blank + rows.blank + rows.repeated_headers;
                (blank, counts.inserted + counts.failed)
            }
        }
    }

    fn read_blocks(&mut self) -> Result<(), ParseError> {
        while self.next_block()? {
            // Checking a block at once costs a tenth of checking its cells, and is nearly always enough.
            let text = &self.block.text;
            let is_text = memchr(0, text).is_none() && std::str::from_utf8(text).is_ok();
            self.cells.load(&mut self.block.text);
            let mut damaged = self.block.damaged.iter();
            for framed in &self.block.records {
                let line = framed.line;
                if framed.kind == RecordKind::Damaged {
                    let record = damaged.next();
                    let record = record.ok_or(ParseError::FramingMismatch { line })?;
                    match &mut self.stage {
                        Stage::Header(header) => return Err(header.damaged(record)),
                        Stage::Rows(rows) => rows.reject_damaged(record),
                    }
                    continue;
                }
                let cells = self.cells.next();
                let cells = cells.ok_or(ParseError::FramingMismatch { line })?;
                let cells = if framed.crlf {
                    cells.without_cr()
                } else {
                    cells
                };
                match &mut self.stage {
                    Stage::Rows(rows) => rows.read(cells, framed, is_text)?,
                    Stage::Header(header) => match header.read(cells, framed.line, is_text)? {
                        Some(rows) => {
                            self.framer.set_columns(rows.header.labels.len());
                            self.stage = Stage::Rows(Box::new(rows));
                        }
                        None => self.blank_above_header += 1,
                    },
                }
            }
        }
        Ok(())
    }
}

impl HeaderStage {
    /// Reads the header from a record and returns the stage for the rows below it; none if the record is blank.
    fn read(
        &mut self,
        cells: Cells<'_>,
        line: u32,
        is_text: bool,
    ) -> Result<Option<RowStage>, ParseError> {
        if cells.are_blank() {
            return Ok(None);
        }
        if cells.iter().any(has_lone_cr) {
            return Err(ParseError::CarriageReturnOnly { line });
        }
        if cells.len() > self.limits.columns {
            let (found, limit) = (cells.len(), self.limits.columns);
            return Err(ParseError::TooManyColumns { found, limit });
        }
        let (Some(labels), true) = (cells.to_text(), is_text) else {
            return Err(ParseError::HeaderNotText { line });
        };
        let header = Header::read(&labels, &self.columns, &self.limits, self.from_errors_csv)
            .map_err(|why| why.with_guessed_delimiter(self.delimiter_was_guessed))?;
        let timestamps = self.timestamps.take();
        let timestamps = timestamps.ok_or(ParseError::FramingMismatch { line })?;
        Ok(Some(RowStage {
            validator: RowValidator::new(
                &header,
                self.limits,
                timestamps,
                self.timestamp_format.take(),
            ),
            header,
            limits: self.limits,
            dialect: self.dialect,
            blank: 0,
            repeated_headers: 0,
        }))
    }

    /// Returns the error of a file whose header is a damaged record.
    fn damaged(&self, record: &DamagedRecord) -> ParseError {
        let (line, limit) = (record.line, self.limits.record_bytes);
        match record.damage {
            _ if has_lone_cr(&record.text) => ParseError::CarriageReturnOnly { line },
            RecordDamage::TooLong => ParseError::HeaderTooLong { line, limit },
            RecordDamage::UnclosedQuote(_) => ParseError::HeaderUnclosedQuote { line },
        }
    }
}

impl RowStage {
    /// Reads one record. `is_text` means that its cells are known to be UTF-8 without NUL.
    #[inline]
    fn read(
        &mut self,
        cells: Cells<'_>,
        framed: &FramedRecord,
        is_text: bool,
    ) -> Result<(), ParseError> {
        let cells = if self.header.from_errors_csv {
            cells.of_errors_csv()
        } else {
            cells
        };
        let record = CsvRecord {
            cells,
            header: &self.header,
            framed,
            is_text,
            quote: self.dialect.quote,
        };
        if self.validator.insert(&record) {
            return Ok(());
        }
        match record.not_a_row(&self.limits) {
            None => self.validator.reject(&record),
            Some(NotARow::Blank) => self.blank += 1,
            Some(NotARow::RepeatedHeader) => self.repeated_headers += 1,
            Some(NotARow::OtherHeader) => {
                return Err(ParseError::AnotherHeader { line: framed.line });
            }
        }
        Ok(())
    }

    fn reject_damaged(&mut self, record: &DamagedRecord) {
        let row = self.validator.next_row();
        let (header, limits) = (&self.header, &self.limits);
        let rejection = damaged::rejection(record, row, header, self.dialect, limits);
        self.validator.push_rejection(rejection);
    }
}

fn line_ending(lines: LineCounts, is_old_mac: bool) -> LineEnding {
    match (lines.lf, lines.crlf) {
        _ if is_old_mac => LineEnding::Cr,
        (_, 0) => LineEnding::Lf,
        (0, _) => LineEnding::CrLf,
        (_, _) => LineEnding::Mixed,
    }
}

/// Replaces each CR by LF, in a text whose lines end in CR alone.
fn replace_cr(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| **byte == b'\r') {
        *byte = b'\n';
    }
}

fn has_lone_cr(text: &[u8]) -> bool {
    memchr_iter(b'\r', text).any(|at| text.get(at + 1) != Some(&b'\n'))
}

#[cfg(test)]
mod tests;
