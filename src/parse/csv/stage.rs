//! The two stages of reading a file: its header, then the rows below it.

use std::cell::Cell;

use memchr::memchr_iter;

use super::{
    cells::Cells,
    damaged,
    dialect::Dialect,
    frame::{DamagedRecord, FramedRecord, RecordDamage, RecordKind},
    record::{CsvRecord, JoinedValues, NotARow},
};
use crate::{
    model::{Evidence, Fault, Proposal, ProposalScope},
    parse::{
        Limits, ParseError,
        header::{
            Header, HeaderContext,
            sample::{BUDGET, Sample, SampleRow},
            source::Mapping,
        },
        options::HeaderOption,
        row::{RowValidator, ValueOptions},
        value::{field::trim, timestamp::TimestampParser},
    },
};

/// Reads the header.
pub(super) struct HeaderStage {
    pub(super) columns: Mapping,
    pub(super) header: HeaderOption,
    pub(super) from_errors_csv: bool,
    pub(super) limits: Limits,
    pub(super) dialect: Dialect,
    /// The first rows below the header.
    pub(super) sample: Vec<SampleRow>,
    /// The line of the header of another table.
    pub(super) other_table: Option<u32>,
    pub(super) timestamps: Option<TimestampParser>,
    pub(super) timestamp_format: Option<String>,
    pub(super) values: ValueOptions,
    /// Whether the delimiter was detected among several.
    pub(super) delimiter_was_guessed: bool,
}

/// Reads the rows below the header.
pub(super) struct RowStage {
    pub(super) header: Header,
    pub(super) limits: Limits,
    pub(super) dialect: Dialect,
    pub(super) validator: RowValidator,
    pub(super) blank: u64,
    pub(super) repeated_headers: u64,
    pub(super) joined: JoinedValues,
    pub(super) has_joined_field: bool,
    /// Rows that were rejected because of their quotes, and the first of them.
    pub(super) quote_faults: u64,
    pub(super) first_quote_fault: Option<Evidence>,
    /// Whether the record before is a single cell.
    pub(super) after_title: bool,
}

impl HeaderStage {
    /// Reads the header from a record and returns the stage for the rows below it; none if the record is blank.
    pub(super) fn read(
        &mut self,
        cells: Cells<'_>,
        line: u32,
        is_text: bool,
    ) -> Result<Option<RowStage>, ParseError> {
        if cells.are_blank() {
            return Ok(None);
        }
        // Programs that translate line ends twice write CR CR LF.
        if cells.iter().any(|cell| has_lone_cr(trim(cell))) {
            return Err(ParseError::CarriageReturnOnly { line });
        }
        if cells.len() > self.limits.columns {
            let (found, limit) = (cells.len(), self.limits.columns);
            return Err(ParseError::TooManyColumns { found, limit });
        }
        let (Some(labels), true) = (cells.to_text(), is_text) else {
            return Err(ParseError::HeaderNotText { line });
        };
        self.rows(&labels, line).map(Some)
    }

    /// Returns the stage for the rows below a header with these labels.
    pub(super) fn rows(&mut self, labels: &[&str], line: u32) -> Result<RowStage, ParseError> {
        let budget = Cell::new(BUDGET);
        let context = HeaderContext {
            mapped: &self.columns,
            limits: self.limits,
            from_errors_csv: self.from_errors_csv,
            header: self.header,
            timestamp_format: self.timestamp_format.as_deref(),
            sample: Sample {
                rows: &self.sample,
                timestamps: self.timestamps.as_ref(),
                budget: Some(&budget),
            },
        };
        let header = Header::read(labels, &context)
            .map_err(|why| why.with_guessed_delimiter(self.delimiter_was_guessed))
            .map_err(|why| why.with_other_table(self.other_table))?;
        let timestamps = self.timestamps.take();
        let timestamps = timestamps.ok_or(ParseError::FramingMismatch { line })?;
        let has_joined_field = header.has_joined_field();
        Ok(RowStage {
            validator: RowValidator::new(
                &header,
                self.limits,
                timestamps,
                self.timestamp_format.take(),
                std::mem::take(&mut self.values),
            ),
            header,
            limits: self.limits,
            dialect: self.dialect,
            blank: 0,
            repeated_headers: 0,
            joined: JoinedValues::default(),
            has_joined_field,
            quote_faults: 0,
            first_quote_fault: None,
            after_title: false,
        })
    }

    /// Returns the error of a file whose header is a damaged record.
    pub(super) fn damaged(&self, record: &DamagedRecord) -> ParseError {
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
    pub(super) fn read(
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
        if self.has_joined_field {
            self.joined.join(&self.header, cells);
        }
        let record = CsvRecord {
            joined: &self.joined,
            after_title: std::mem::take(&mut self.after_title),
            cells,
            header: &self.header,
            framed,
            is_text,
            quote: self.dialect.quote,
        };
        if self.validator.insert(&record) {
            return Ok(());
        }
        let row = self.validator.next_row();
        match record.not_a_row(&self.limits) {
            None => {
                self.validator.reject(&record);
                self.after_title = cells.len() == 1;
                if framed.kind == RecordKind::StrayQuote {
                    let quoted = cells.iter().find(|cell| cell.contains(&self.dialect.quote));
                    let text = quoted.unwrap_or(cells.get(0)).to_vec();
                    self.count_quote_fault(row, framed.line, &text);
                }
            }
            Some(NotARow::Blank) => self.blank += 1,
            Some(NotARow::RepeatedHeader) => self.repeated_headers += 1,
            Some(NotARow::OtherHeader) => {
                return Err(ParseError::AnotherHeader { line: framed.line });
            }
        }
        Ok(())
    }

    /// Returns the options that would let rejected rows be read. Where quotes are text, other options do not help.
    pub(super) fn proposals(&self, quotes_are_text: bool) -> Vec<Proposal> {
        match &self.first_quote_fault {
            Some(evidence) if quotes_are_text => vec![Proposal {
                option: "quote".to_owned(),
                value: "none".to_owned(),
                scope: ProposalScope::File,
                proven: false,
                rows: self.quote_faults,
                evidence: Some(evidence.clone()),
                reason: format!(
                    "line {} has a quote that is part of the text, and without quotes every line has the right number of cells",
                    evidence.line
                ),
            }],
            _ => self.validator.proposals(),
        }
    }

    /// Counts a row that is rejected because of its quotes.
    pub(super) fn count_quote_fault(&mut self, row: u32, line: u32, text: &[u8]) {
        self.quote_faults += 1;
        self.first_quote_fault.get_or_insert_with(|| Evidence {
            row,
            line,
            value: Fault::clip(text),
        });
    }

    pub(super) fn reject_damaged(&mut self, record: &DamagedRecord) {
        let row = self.validator.next_row();
        let (header, limits) = (&self.header, &self.limits);
        let rejection = damaged::rejection(record, row, header, self.dialect, limits);
        self.validator.push_rejection(rejection);
        if matches!(record.damage, RecordDamage::UnclosedQuote(_)) {
            self.count_quote_fault(row, record.line, &record.text);
        }
    }
}

fn has_lone_cr(text: &[u8]) -> bool {
    memchr_iter(b'\r', text).any(|at| text.get(at + 1) != Some(&b'\n'))
}
