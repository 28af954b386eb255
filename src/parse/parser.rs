//! The parser of one file. It waits for the head of the file, by which the dialect is detected, and then reads.

use super::{
    Limits, Options, ParseError, ParseOptionError, ParseSummary, ParsedRows,
    csv::{CsvReader, CsvReaderOptions, HEAD_BYTES},
    header::Header,
    options::check_columns,
    row::ValueOptions,
    value::{field::NullValues, format::TimestampFormat, timestamp::TimestampParser},
};

/// Parses one file. Must not be used after an error.
pub struct Parser {
    state: State,
}

enum State {
    /// Collects the head of the file.
    Head(Vec<u8>, Box<CsvReaderOptions>),
    /// Reads the file.
    Reading(Box<CsvReader>),
    /// The head of the file is invalid.
    Failed,
}

impl Parser {
    /// Creates a parser for one file.
    ///
    /// # Errors
    /// [`ParseOptionError`] if the options contradict each other.
    pub fn new(options: Options, limits: Limits) -> Result<Self, ParseOptionError> {
        let Options {
            columns,
            header,
            timestamp_format,
            time_zone,
            service_zone,
            null_values,
            keeps_anonymous,
            dialect,
            from_errors_csv,
        } = options;
        if !dialect.is_usable() {
            return Err(ParseOptionError::Dialect);
        }
        check_columns(&columns)?;
        let formats = match timestamp_format.as_deref() {
            Some(formats) => TimestampFormat::list(formats)?,
            None => Vec::new(),
        };
        let zone = time_zone.unwrap_or(service_zone);
        let options = CsvReaderOptions {
            columns,
            header,
            from_errors_csv,
            limits,
            dialect,
            timestamps: TimestampParser::new(zone, service_zone, formats),
            timestamp_format,
            values: ValueOptions {
                nulls: null_values.map(NullValues::new).unwrap_or_default(),
                keeps_anonymous,
            },
        };
        Ok(Self {
            state: State::Head(Vec::new(), Box::new(options)),
        })
    }

    /// Reads the next part of the text. To bound memory, call [`Parser::next_rows`] until it returns none before the
    /// next part.
    ///
    /// # Errors
    /// [`ParseError`] if the file cannot be read as events.
    pub fn feed(&mut self, text: &[u8]) -> Result<(), ParseError> {
        match &mut self.state {
            State::Reading(reader) => reader.feed(text),
            State::Head(head, _) => {
                head.extend_from_slice(text);
                if head.len() < HEAD_BYTES {
                    return Ok(());
                }
                self.reader().map(drop)
            }
            State::Failed => Err(ParseError::Empty),
        }
    }

    /// Returns the next complete block of rows.
    pub fn next_rows(&mut self) -> Option<ParsedRows> {
        match &mut self.state {
            State::Reading(reader) => reader.next_rows(),
            State::Head(..) | State::Failed => None,
        }
    }

    /// Ends the file and returns its summary. [`Parser::next_rows`] returns the last rows afterwards.
    ///
    /// # Errors
    /// [`ParseError`] if the file cannot be read as events.
    pub fn finish(&mut self) -> Result<ParseSummary, ParseError> {
        self.reader()?.finish()
    }

    /// Returns the header, once it is read.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        match &self.state {
            State::Reading(reader) => reader.header(),
            State::Head(..) | State::Failed => None,
        }
    }

    /// Returns the reader. Creates it first from the collected head, if there is none yet.
    fn reader(&mut self) -> Result<&mut CsvReader, ParseError> {
        self.state = match std::mem::replace(&mut self.state, State::Failed) {
            State::Head(mut head, options) => {
                let (mut reader, preamble_bytes) = CsvReader::new(*options, &mut head)?;
                reader.feed_lines(&head[preamble_bytes..])?;
                State::Reading(Box::new(reader))
            }
            state @ (State::Reading(_) | State::Failed) => state,
        };
        match &mut self.state {
            State::Reading(reader) => Ok(reader),
            State::Head(..) | State::Failed => Err(ParseError::Empty),
        }
    }
}
