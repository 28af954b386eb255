//! Decoded text in, events in columns and rejections out, in file order and with their true lines.
//! Reads once, front to back, at flat memory; never stops at a bad row, only at a bad file.
//! Every record is accounted for: received = inserted + failed + blank. No IO, no clock.

mod cells;
mod dialect;
mod error;
mod fault;
mod field;
mod format;
mod frame;
mod header;
mod row;
mod scan;
mod timestamp;
mod zone;

use chrono_tz::Tz;
use memchr::memchr;

pub use dialect::Dialect;
pub use error::{ParseError, ParseOptionError};
pub use field::Required;
pub use header::Header;

use self::{
    cells::{Cells, Row},
    format::Format,
    frame::{Bad, Block, Damage, Frame, Kind, Meta},
    row::Rows,
    scan::Rules,
    timestamp::Timestamps,
};
use crate::model::{event::EventBlock, rejection::Rejection};

/// What a file has to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest record, its line end excluded.
    pub record_bytes: usize,
    /// Longest cell.
    pub cell_bytes: usize,
    /// Most columns.
    pub columns: usize,
    /// Longest event type.
    pub event_type_bytes: usize,
    /// Longest user id.
    pub user_id_bytes: usize,
    /// Longest event id.
    pub event_id_bytes: usize,
    /// Most physical lines of one record.
    pub record_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 1024 * 1024,
            cell_bytes: 256 * 1024,
            columns: 512,
            event_type_bytes: 128,
            user_id_bytes: 256,
            event_id_bytes: 256,
            record_lines: 10_000,
        }
    }
}

/// How a file is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Columns named by the sender, with their labels in the file; they win over the known names.
    pub columns: Vec<(Required, String)>,
    /// The form of all timestamps (strftime), if it is not one of the known ones.
    pub timestamp_format: Option<String>,
    /// Where timestamps without an offset were written.
    pub time_zone: Tz,
    /// Delimiter and quote.
    pub dialect: Dialect,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            timestamp_format: None,
            time_zone: Tz::UTC,
            dialect: Dialect::default(),
        }
    }
}

/// Some rows that follow each other: at most 8,192 events, 1,000 rejections and about 4 MiB of text of each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The good ones.
    pub events: EventBlock,
    /// The bad ones.
    pub rejections: Vec<Rejection>,
}

/// How the lines of a file end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnding {
    /// In LF.
    Lf,
    /// In CR LF.
    CrLf,
    /// Some in LF, some in CR LF.
    Mixed,
}

/// What all rows of a file came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Records below the header and blank lines anywhere.
    pub received: u64,
    /// Events.
    pub inserted: u64,
    /// Rejections.
    pub failed: u64,
    /// Blank lines, and records of blank cells.
    pub blank: u64,
    /// How lines end.
    pub line_ending: LineEnding,
}

/// Parses one file; after an error it is of no further use.
pub struct Parser {
    frame: Frame,
    block: Block,
    cells: Cells,
    stage: Stage,
    /// Blank records above the header.
    blank: u64,
}

enum Stage {
    /// The header is still to come.
    Head(Box<Head>),
    /// The header is read.
    Body(Box<Rows>),
}

/// What waits for the header.
struct Head {
    mapped: Vec<(Required, String)>,
    limits: Limits,
    dialect: Dialect,
    times: Option<Timestamps>,
}

impl Parser {
    /// A parser at the first byte of a file; refuses options that do not make sense.
    pub fn new(options: Options, limits: Limits) -> Result<Self, ParseOptionError> {
        let Options {
            columns: mapped,
            timestamp_format,
            time_zone,
            dialect,
        } = options;
        if !dialect.is_usable() {
            return Err(ParseOptionError::Dialect);
        }
        check_mapping(&mapped)?;
        let format = timestamp_format.as_deref().map(Format::new).transpose()?;
        let rules = Rules {
            dialect,
            record_bytes: limits.record_bytes,
            record_lines: limits.record_lines,
            fields: None,
        };
        Ok(Self {
            frame: Frame::new(rules),
            block: Block::default(),
            cells: Cells::new(dialect),
            stage: Stage::Head(Box::new(Head {
                mapped,
                limits,
                dialect,
                times: Some(Timestamps::new(time_zone, format)),
            })),
            blank: 0,
        })
    }

    /// Reads on; call [`Parser::take`] until it gives nothing before the next text, so that memory stays flat.
    pub fn feed(&mut self, mut text: &[u8]) -> Result<(), ParseError> {
        while !text.is_empty() {
            let taken = self.frame.push(text);
            text = &text[taken..];
            self.read()?;
        }
        Ok(())
    }

    /// The next rows that are ready.
    pub fn take(&mut self) -> Option<Parsed> {
        match &mut self.stage {
            Stage::Head(_) => None,
            Stage::Body(rows) => rows.take(),
        }
    }

    /// Says that the file ends here; what is left is then to be taken.
    pub fn finish(&mut self) -> Result<Summary, ParseError> {
        self.frame.end();
        self.read()?;
        let Stage::Body(rows) = &mut self.stage else {
            return Err(ParseError::Empty);
        };
        rows.close();
        let (counts, tally) = (rows.counts(), self.frame.tally());
        if counts.inserted + counts.failed == 0 {
            return Err(ParseError::HeaderOnly);
        }
        let blank = counts.blank + self.blank + tally.blank;
        Ok(Summary {
            received: counts.inserted + counts.failed + blank,
            inserted: counts.inserted,
            failed: counts.failed,
            blank,
            line_ending: match (tally.lf, tally.crlf) {
                (_, 0) => LineEnding::Lf,
                (0, _) => LineEnding::CrLf,
                (_, _) => LineEnding::Mixed,
            },
        })
    }

    /// The header, once it is read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match &self.stage {
            Stage::Head(_) => None,
            Stage::Body(rows) => Some(rows.header()),
        }
    }

    fn read(&mut self) -> Result<(), ParseError> {
        while self.frame.cut(&mut self.block) {
            // One look at a whole block costs a tenth of one at each cell, and is nearly always enough.
            let text = &self.block.text;
            let sound = memchr(0, text).is_none() && std::str::from_utf8(text).is_ok();
            self.cells.load(&mut self.block.text);
            let mut bad = self.block.bad.iter();
            for meta in &self.block.metas {
                if meta.kind == Kind::Bad {
                    let bad = bad.next().ok_or(ParseError::Misread { line: meta.line })?;
                    match &mut self.stage {
                        Stage::Head(head) => return Err(head.damaged(bad)),
                        Stage::Body(rows) => rows.bad(bad),
                    }
                    continue;
                }
                let row = self
                    .cells
                    .next()
                    .ok_or(ParseError::Misread { line: meta.line })?;
                let row = if meta.crlf { row.without_cr() } else { row };
                match &mut self.stage {
                    Stage::Body(rows) => rows.record(row, *meta, sound),
                    Stage::Head(head) => match head.read(row, *meta, sound)? {
                        Some(rows) => {
                            self.frame.expect(rows.header().labels.len());
                            self.stage = Stage::Body(Box::new(rows));
                        }
                        None => self.blank += 1,
                    },
                }
            }
        }
        Ok(())
    }
}

impl Head {
    /// The rows to come under the header in `row`; none if it is blank.
    fn read(&mut self, row: Row<'_>, meta: Meta, sound: bool) -> Result<Option<Rows>, ParseError> {
        let line = meta.line;
        if row.iter().all(|cell| field::trim(cell).is_empty()) {
            return Ok(None);
        }
        if row.iter().any(has_lone_cr) {
            return Err(ParseError::CarriageReturnOnly { line });
        }
        if row.len() > self.limits.columns {
            let (found, limit) = (row.len(), self.limits.columns);
            return Err(ParseError::TooManyColumns { found, limit });
        }
        let cells: Result<Vec<_>, _> = row.iter().map(std::str::from_utf8).collect();
        let (Ok(cells), true) = (cells, sound) else {
            return Err(ParseError::HeaderNotText { line });
        };
        let header = Header::read(&cells, &self.mapped, &self.limits)?;
        let times = self.times.take().ok_or(ParseError::Misread { line })?;
        Ok(Some(Rows::new(header, self.limits, self.dialect, times)))
    }

    /// The fault of a file whose header is no whole record.
    fn damaged(&self, bad: &Bad) -> ParseError {
        let (line, limit) = (bad.line, self.limits.record_bytes);
        match bad.damage {
            _ if has_lone_cr(&bad.text) => ParseError::CarriageReturnOnly { line },
            Damage::TooLong => ParseError::HeaderTooLong { line, limit },
            Damage::Unclosed(_) => ParseError::HeaderUnclosedQuote { line },
        }
    }
}

fn has_lone_cr(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', text).any(|at| text.get(at + 1) != Some(&b'\n'))
}

/// Each column and each label at most once.
fn check_mapping(mapped: &[(Required, String)]) -> Result<(), ParseOptionError> {
    for (at, (second, label)) in mapped.iter().enumerate() {
        for (first, other) in &mapped[..at] {
            if first == second {
                return Err(ParseOptionError::ColumnMappedTwice { column: *second });
            }
            if header::fold(other) == header::fold(label) {
                return Err(ParseOptionError::LabelMappedTwice {
                    label: label.clone(),
                    first: *first,
                    second: *second,
                });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
