//! Decoded text in, events in columns and rejections out, in file order and with their true lines.
//! Reads once, front to back, at flat memory; never stops at a bad row, only at a bad file.
//! Every record is accounted for: received = inserted + failed + blank. No IO, no clock.

mod csv;
mod error;
mod fault;
mod header;
mod rejected_cells;
mod row;
mod value;

use chrono_tz::Tz;

pub use csv::dialect::{Dialect, Escape, Wish};
pub use error::{ParseError, ParseOptionError};
pub use header::{Header, fold};
pub use value::field::Required;

use self::{
    csv::{
        detect,
        reader::{Reading, Setup},
    },
    value::{format::Format, timestamp::Timestamps},
};
use crate::model::{event::EventBlock, receipt::FormatProposal, rejection::Rejection};

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
    /// The form of all timestamps (strftime, or `excel`), if it is not one of the known ones.
    pub timestamp_format: Option<String>,
    /// Where timestamps without an offset were written.
    pub time_zone: Tz,
    /// Delimiter, quote and escape, as far as they are stated.
    pub dialect: Wish,
    /// Whether the sender says that these are rows that went out to be mended.
    pub mended: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            columns: Vec::new(),
            timestamp_format: None,
            time_zone: Tz::UTC,
            dialect: Wish::default(),
            mended: false,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// The format that the timestamps which could not be read prove.
    pub proposal: Option<FormatProposal>,
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

impl Parser {
    /// A parser at the first byte of a file; refuses options that do not make sense.
    pub fn new(options: Options, limits: Limits) -> Result<Self, ParseOptionError> {
        let Options {
            columns: mapped,
            timestamp_format,
            time_zone,
            dialect: wish,
            mended,
        } = options;
        if !wish.is_usable() {
            return Err(ParseOptionError::Dialect);
        }
        check_mapping(&mapped)?;
        let format = timestamp_format.as_deref().map(Format::new).transpose()?;
        let setup = Setup {
            mapped,
            mended,
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
            let (mut reading, skip) = Reading::new(setup, &mut head)?;
            reading.feed_lines(&head[skip..])?;
            self.state = State::Reading(Box::new(reading));
        }
        match &mut self.state {
            State::Reading(reading) => Ok(reading),
            State::Waiting(..) => Err(ParseError::Empty),
        }
    }
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
