//! Reads one CSV file whose start is known: joins framing, splitting and row validation.

use std::cell::Cell;

use memchr::memchr;

use super::{
    cells::CellReader,
    detect::{self, Detected, HeaderRequirements},
    dialect::{Dialect, DialectOptions},
    frame::{LineCounts, RecordBlock, RecordFramer, RecordKind},
    refine,
    scan::FramingOptions,
    stage::{HeaderStage, RowStage},
};
use crate::parse::{
    Limits, LineEnding, ParseError, ParseSummary, ParsedRows,
    header::{Header, sample::BUDGET, source::Mapping},
    options::HeaderOption,
    row::ValueOptions,
    value::timestamp::TimestampParser,
};

/// Blank lines that every file may have: more than a spreadsheet has rows.
const BLANK_LINES: u64 = 2_000_000;
/// Most blank lines for each row beyond that.
const BLANK_RATIO: u64 = 4;

/// What is known of a file before its first byte.
pub(crate) struct CsvReaderOptions {
    /// What the upload states of the columns.
    pub(crate) columns: Mapping,
    /// What the upload states of the header.
    pub(crate) header: HeaderOption,
    /// Whether the upload says that the file is an `errors.csv`.
    pub(crate) from_errors_csv: bool,
    pub(crate) limits: Limits,
    pub(crate) dialect: DialectOptions,
    pub(crate) timestamps: TimestampParser,
    /// The stated formats, as stated.
    pub(crate) timestamp_format: Option<String>,
    /// How values are read.
    pub(crate) values: ValueOptions,
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
    /// Whether the head of the file makes sense without quotes, and with them it does not.
    quotes_are_text: bool,
}

enum Stage {
    /// The header is not read yet.
    Header(Box<HeaderStage>),
    /// The header is read.
    Rows(Box<RowStage>),
}

impl CsvReader {
    /// Creates a reader for a file that starts with `head`. Returns it with the bytes of `head` above the header.
    pub(crate) fn new(
        options: CsvReaderOptions,
        head: &mut [u8],
    ) -> Result<(Self, usize), ParseError> {
        let CsvReaderOptions {
            columns,
            header,
            from_errors_csv,
            limits,
            dialect,
            timestamps,
            timestamp_format,
            values,
        } = options;
        // Detection reads a fixed number of bytes, so its result does not depend on how the file arrives.
        let sample_bytes = head.len().min(detect::HEAD_BYTES);
        let sample = &head[..sample_bytes];
        let is_old_mac = memchr(b'\n', sample).is_none() && memchr(b'\r', sample).is_some();
        if is_old_mac {
            replace_cr(head);
        }
        let sample = &head[..sample_bytes];
        let budget = Cell::new(BUDGET);
        let requirements = HeaderRequirements {
            columns: &columns,
            header,
            from_errors_csv,
            limits,
            timestamps: &timestamps,
            budget: Some(&budget),
        };
        let Detected {
            detection,
            sample: sample_rows,
            other_table,
        } = detect::detect(sample, dialect, requirements);
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
        let quotes_are_text = dialect.quote.is_none()
            && refine::quotes_are_text(
                &sample[detection.preamble_bytes..],
                detection.dialect,
                detection.columns,
                limits,
            );
        let mut reader = Self {
            framer: RecordFramer::new(framing, first_line, detection.preamble_bytes as u64),
            block: RecordBlock::default(),
            cells: CellReader::new(detection.dialect),
            stage: Stage::Header(Box::new(HeaderStage {
                columns,
                header,
                sample: sample_rows,
                other_table,
                from_errors_csv,
                limits,
                dialect: detection.dialect,
                timestamps: Some(timestamps),
                timestamp_format,
                values,
                delimiter_was_guessed: dialect.delimiter.is_none(),
            })),
            dialect: detection.dialect,
            preamble_lines: detection.preamble_lines,
            blank_above_header: 0,
            old_mac_lines: is_old_mac.then(Vec::new),
            quotes_are_text,
        };
        if header == HeaderOption::None {
            reader.start_without_header(detection.columns)?;
        }
        Ok((reader, detection.preamble_bytes))
    }

    /// Starts with the rows: the columns have no labels, only positions.
    fn start_without_header(&mut self, columns: usize) -> Result<(), ParseError> {
        let line = self.preamble_lines + 1;
        if let Stage::Header(header) = &mut self.stage {
            let labels: Vec<_> = (1..=columns).map(|at| format!("column_{at}")).collect();
            let labels: Vec<_> = labels.iter().map(String::as_str).collect();
            let rows = header.rows(&labels, line)?;
            self.framer.set_columns(columns);
            self.stage = Stage::Rows(Box::new(rows));
        }
        Ok(())
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
        let proposals = rows.proposals(self.quotes_are_text);
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
            proposals,
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

#[cfg(test)]
mod tests;
