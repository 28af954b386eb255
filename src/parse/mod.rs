//! Decoded text in, events in columns and rejections out, in file order and with their true lines.
//! Reads once, front to back, at flat memory; never stops at a bad row, only at a bad file.
//! Every record is accounted for: received = inserted + failed + blank. No IO, no clock.

mod cells;
mod detect;
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

pub use dialect::{Dialect, Wish};
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
    /// Delimiter and quote, as far as they are stated.
    pub dialect: Wish,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            timestamp_format: None,
            time_zone: Tz::UTC,
            dialect: Wish::default(),
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
    /// In CR alone, as on old Macs.
    Cr,
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
    /// Blank lines, records of blank cells, and headers that are repeated among the rows.
    pub blank: u64,
    /// Of the blank ones, headers that are repeated.
    pub repeated_headers: u64,
    /// Lines above the header, which are no rows.
    pub preamble_lines: u32,
    /// How lines end.
    pub line_ending: LineEnding,
    /// How cells are told apart.
    pub dialect: Dialect,
}

/// Parses one file; after an error it is of no further use.
pub struct Parser {
    state: State,
}

enum State {
    /// The head of the file, until there is enough of it to tell its dialect.
    Waiting(Vec<u8>, Box<Setup>),
    /// Its dialect is known.
    Reading(Box<Reading>),
}

/// What is known before the first byte.
struct Setup {
    mapped: Vec<(Required, String)>,
    limits: Limits,
    wish: Wish,
    times: Option<Timestamps>,
}

/// A file whose dialect is known.
struct Reading {
    frame: Frame,
    block: Block,
    cells: Cells,
    stage: Stage,
    dialect: Dialect,
    /// Lines above the header.
    preamble: u32,
    /// Blank records above the header.
    blank: u64,
    /// Lines end in CR alone; it holds the text as if they ended in LF.
    old_mac: Option<Vec<u8>>,
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
    /// Whether other delimiters were tried.
    guessed: bool,
}

impl Parser {
    /// A parser at the first byte of a file; refuses options that do not make sense.
    pub fn new(options: Options, limits: Limits) -> Result<Self, ParseOptionError> {
        let Options {
            columns: mapped,
            timestamp_format,
            time_zone,
            dialect: wish,
        } = options;
        if !wish.is_usable() {
            return Err(ParseOptionError::Dialect);
        }
        check_mapping(&mapped)?;
        let format = timestamp_format.as_deref().map(Format::new).transpose()?;
        let setup = Setup {
            mapped,
            limits,
            wish,
            times: Some(Timestamps::new(time_zone, format)),
        };
        Ok(Self {
            state: State::Waiting(Vec::new(), Box::new(setup)),
        })
    }

    /// Reads on; call [`Parser::take`] until it gives nothing before the next text, so that memory stays flat.
    pub fn feed(&mut self, text: &[u8]) -> Result<(), ParseError> {
        match &mut self.state {
            State::Reading(reading) => reading.feed(text),
            State::Waiting(head, _) => {
                head.extend_from_slice(text);
                if head.len() < detect::HEAD_BYTES {
                    return Ok(());
                }
                self.begin().map(drop)
            }
        }
    }

    /// The next rows that are ready.
    pub fn take(&mut self) -> Option<Parsed> {
        match &mut self.state {
            State::Waiting(..) => None,
            State::Reading(reading) => reading.take(),
        }
    }

    /// Says that the file ends here; what is left is then to be taken.
    pub fn finish(&mut self) -> Result<Summary, ParseError> {
        self.begin()?.finish()
    }

    /// The header, once it is read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match &self.state {
            State::Waiting(..) => None,
            State::Reading(reading) => reading.header(),
        }
    }

    /// Reads the head that was waited for, if that is still to be done.
    fn begin(&mut self) -> Result<&mut Reading, ParseError> {
        if let State::Waiting(head, setup) = &mut self.state {
            let mut head = std::mem::take(head);
            let (mut reading, skip) = Reading::new(setup, &mut head);
            reading.feed_lines(&head[skip..])?;
            self.state = State::Reading(Box::new(reading));
        }
        match &mut self.state {
            State::Reading(reading) => Ok(reading),
            State::Waiting(..) => Err(ParseError::Empty),
        }
    }
}

impl Reading {
    /// The reading of a file that begins with `head`, and how much of that stands above its header.
    fn new(setup: &mut Setup, head: &mut [u8]) -> (Self, usize) {
        let Setup {
            mapped,
            limits,
            wish,
            times,
        } = setup;
        let old_mac = memchr(b'\n', head).is_none() && memchr(b'\r', head).is_some();
        if old_mac {
            as_lines(head);
        }
        let found = detect::detect(head, *wish, mapped, *limits);
        let rules = Rules {
            dialect: found.dialect,
            record_bytes: limits.record_bytes,
            record_lines: limits.record_lines,
            fields: None,
        };
        let reading = Self {
            frame: Frame::new(rules, found.lines + 1),
            block: Block::default(),
            cells: Cells::new(found.dialect),
            stage: Stage::Head(Box::new(Head {
                mapped: std::mem::take(mapped),
                limits: *limits,
                dialect: found.dialect,
                times: times.take(),
                guessed: wish.delimiter.is_none(),
            })),
            dialect: found.dialect,
            preamble: found.lines,
            blank: 0,
            old_mac: old_mac.then(Vec::new),
        };
        (reading, found.skip)
    }

    fn feed(&mut self, text: &[u8]) -> Result<(), ParseError> {
        let Some(mut lines) = self.old_mac.take() else {
            return self.feed_lines(text);
        };
        lines.clear();
        lines.extend_from_slice(text);
        as_lines(&mut lines);
        let fed = self.feed_lines(&lines);
        self.old_mac = Some(lines);
        fed
    }

    fn feed_lines(&mut self, mut text: &[u8]) -> Result<(), ParseError> {
        while !text.is_empty() {
            let taken = self.frame.push(text);
            text = &text[taken..];
            self.read()?;
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Parsed> {
        match &mut self.stage {
            Stage::Head(_) => None,
            Stage::Body(rows) => rows.take(),
        }
    }

    fn header(&self) -> Option<&Header> {
        match &self.stage {
            Stage::Head(_) => None,
            Stage::Body(rows) => Some(rows.header()),
        }
    }

    fn finish(&mut self) -> Result<Summary, ParseError> {
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
        let blank = counts.blank + counts.repeated_headers + self.blank + tally.blank;
        Ok(Summary {
            received: counts.inserted + counts.failed + blank,
            inserted: counts.inserted,
            failed: counts.failed,
            blank,
            repeated_headers: counts.repeated_headers,
            preamble_lines: self.preamble,
            line_ending: match (tally.lf, tally.crlf) {
                _ if self.old_mac.is_some() => LineEnding::Cr,
                (_, 0) => LineEnding::Lf,
                (0, _) => LineEnding::CrLf,
                (_, _) => LineEnding::Mixed,
            },
            dialect: self.dialect,
        })
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
        let header = Header::read(&cells, &self.mapped, &self.limits)
            .map_err(|why| why.after_tries(self.guessed))?;
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

/// Makes lines of text whose lines end in CR.
fn as_lines(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| **byte == b'\r') {
        *byte = b'\n';
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
