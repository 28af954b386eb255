//! The parser thread: receives the chunks of a body, and sends the header, the rows and the end of the file over a
//! bounded channel. Stops at the first fault of the file, which is its last message.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use super::{
    BodyError, Dedupe, IngestError, Limits, OptionFault, UploadOptions,
    survey::{LimitExceeded, Survey},
};
use crate::{
    model::{ColumnRole, Columns, Identity, IdentityBy},
    parse::{self, EventField, Header, ParseSummary, ParsedRows, Parser},
    receive::{self, BodyAborted, ReceiveError, ReceivedFile, TextReader},
};

/// A message of the parser thread.
pub(super) enum ParserMessage {
    /// The columns, and those that identify an event. Comes once, before all rows.
    Header(Columns, IdentityBy),
    /// Consecutive rows.
    Rows(ParsedRows),
    /// The end of a complete file.
    End(Box<ParserEnd>),
}

/// The properties of a complete file.
pub(super) struct ParserEnd {
    pub(super) received: ReceivedFile,
    pub(super) summary: ParseSummary,
    pub(super) survey: Survey,
}

/// The sending end of the messages of the parser thread.
pub(super) type ParserMessages = mpsc::Sender<Result<ParserMessage, IngestError>>;

/// The state of the parser thread.
pub(super) struct ParserThread {
    receive: receive::Options,
    source: String,
    key: Vec<String>,
    dedupe: Dedupe,
    parser: Parser,
    survey: Survey,
    limits: Limits,
    is_header_sent: bool,
    /// The labels of the columns of types and timestamps, for errors.
    type_label: String,
    timestamp_label: String,
}

impl ParserThread {
    /// Creates the parser of a file.
    ///
    /// # Errors
    /// [`IngestError::Options`] if the options contradict each other.
    pub(super) fn new(
        options: &UploadOptions,
        survey: Survey,
        limits: &Limits,
    ) -> Result<Self, IngestError> {
        let parse = parse::Options {
            service_zone: limits.time_zone,
            ..options.parse.clone()
        };
        Ok(Self {
            receive: options.receive,
            source: options.source.clone(),
            key: options.key.clone(),
            dedupe: options.dedupe,
            parser: Parser::new(parse, limits.parse).map_err(OptionFault::from)?,
            survey,
            limits: limits.clone(),
            is_header_sent: false,
            type_label: String::new(),
            timestamp_label: String::new(),
        })
    }

    /// Parses a body. Sends nothing more if the body broke off, which its sender reports.
    pub(super) fn run(mut self, chunks: mpsc::Receiver<Bytes>, messages: &ParserMessages) {
        match self.read(ChunkReader::new(chunks), messages) {
            Err(IngestError::Receive(ReceiveError::Aborted(_))) => {}
            Err(error) => drop(messages.blocking_send(Err(error))),
            Ok(received) => {
                let end = self.finish(received, messages);
                drop(messages.blocking_send(end));
            }
        }
    }

    fn read(
        &mut self,
        chunks: ChunkReader,
        messages: &ParserMessages,
    ) -> Result<ReceivedFile, IngestError> {
        let mut text = TextReader::open(chunks, self.receive, self.limits.receive)?;
        while let Some(chunk) = text.next_chunk()? {
            // Text without rows sends no message, which would show that the upload has ended.
            if messages.is_closed() {
                return Err(BodyError::EndedEarly.into());
            }
            self.parser.feed(chunk)?;
            self.send_parsed(messages)?;
        }
        Ok(text.received_file())
    }

    fn finish(
        mut self,
        received: ReceivedFile,
        messages: &ParserMessages,
    ) -> Result<ParserMessage, IngestError> {
        let summary = self.parser.finish()?;
        self.send_parsed(messages)?;
        Ok(ParserMessage::End(Box::new(ParserEnd {
            received,
            summary,
            survey: self.survey,
        })))
    }

    fn send_parsed(&mut self, messages: &ParserMessages) -> Result<(), IngestError> {
        if !self.is_header_sent
            && let Some(header) = self.parser.header()
        {
            self.is_header_sent = true;
            self.type_label = header.label(EventField::EventType);
            self.timestamp_label = header.label(EventField::Timestamp);
            let identity = identity(header, &self.key, self.dedupe)?;
            let columns = columns(header, &identity);
            if header.has_doubtful_event_id && identity == IdentityBy::EventId {
                self.survey.doubt_id();
            }
            self.survey
                .set_identity(Identity::new(&self.source, &identity, &columns));
            send(messages, ParserMessage::Header(columns, identity))?;
        }
        while let Some(parsed) = self.parser.next_rows() {
            self.survey
                .add(&parsed.events)
                .map_err(|exceeded| self.limit_error(exceeded))?;
            send(messages, ParserMessage::Rows(parsed))?;
        }
        Ok(())
    }

    fn limit_error(&self, exceeded: LimitExceeded) -> IngestError {
        match exceeded {
            LimitExceeded::EventTypes { line } => IngestError::TooManyEventTypes {
                limit: self.limits.event_types,
                line,
                column: self.type_label.clone(),
            },
            LimitExceeded::Days { line } => IngestError::TooManyDays {
                limit: self.limits.days,
                line,
                column: self.timestamp_label.clone(),
            },
        }
    }
}

/// Reads a body to its end without parsing it. Blocks.
pub(super) fn receive_only(
    chunks: mpsc::Receiver<Bytes>,
    options: receive::Options,
    limits: receive::Limits,
) -> Result<ReceivedFile, ReceiveError> {
    let mut text = TextReader::open(ChunkReader::new(chunks), options, limits)?;
    while text.next_chunk()?.is_some() {}
    Ok(text.received_file())
}

/// Reads the chunks of a channel. An empty chunk marks the end of the body: if the channel closes without one, the body
/// broke off.
struct ChunkReader {
    chunks: mpsc::Receiver<Bytes>,
    current: Bytes,
    is_at_end: bool,
}

impl ChunkReader {
    fn new(chunks: mpsc::Receiver<Bytes>) -> Self {
        Self {
            chunks,
            current: Bytes::new(),
            is_at_end: false,
        }
    }
}

impl Read for ChunkReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        receive::read_buffered(self, into)
    }
}

impl BufRead for ChunkReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() && !self.is_at_end {
            self.current = self
                .chunks
                .blocking_recv()
                .ok_or_else(|| io::Error::other(BodyAborted))?;
            self.is_at_end = self.current.is_empty();
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

/// Sends a message, which blocks until there is room. If the store failed, there is no receiver: the error stops the
/// thread, and is never reported.
fn send(messages: &ParserMessages, message: ParserMessage) -> Result<(), IngestError> {
    messages
        .blocking_send(Ok(message))
        .map_err(|_| BodyError::EndedEarly.into())
}

/// Returns the columns that identify an event: those of the key, else the event id.
fn identity(header: &Header, key: &[String], dedupe: Dedupe) -> Result<IdentityBy, IngestError> {
    if dedupe == Dedupe::Row {
        return Ok(IdentityBy::Row);
    }
    let mut labels = Vec::with_capacity(key.len());
    for label in key {
        let in_file = &header.labels[header.find_column(label)?];
        if labels.contains(in_file) {
            return Err(OptionFault::KeyTwice(in_file.clone()).into());
        }
        labels.push(in_file.clone());
    }
    Ok(match labels.as_slice() {
        [] => IdentityBy::EventId,
        [_, ..] => IdentityBy::Key(labels),
    })
}

fn columns(header: &Header, identity: &IdentityBy) -> Columns {
    let mut roles = vec![ColumnRole::Attribute; header.labels.len()];
    for (field, role) in [
        (EventField::EventType, ColumnRole::EventType),
        (EventField::Timestamp, ColumnRole::Timestamp),
        (EventField::UserId, ColumnRole::UserId),
        (EventField::EventId, ColumnRole::EventId),
    ] {
        if let Some(at) = header.column(field) {
            roles[at] = role;
        }
    }
    for at in &header.appended {
        roles[*at] = ColumnRole::Ignored;
    }
    let suggests_id = header.has_unused_id_column && *identity == IdentityBy::EventId;
    let hint = suggests_id.then(|| {
        "the column `id` is kept as an attribute, since files often number their rows 1, 2, 3, …: if it really names \
         the event everywhere, send `key=id` (or rename it to `event_id`), and repeats are recognised"
            .to_owned()
    });
    Columns {
        labels: header.labels.clone(),
        roles,
        hint,
    }
}

#[cfg(test)]
mod tests;
