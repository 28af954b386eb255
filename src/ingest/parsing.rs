//! The parser's thread: chunks of a body in, columns, rows and an end out, over bounded channels.
//! It stops at the first fault of the file, which is the last it says.

use std::io::{self, BufRead, Read};

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

use super::{
    Dedupe, IngestError, Limits, OptionFault, UploadOptions,
    survey::{Survey, TooMany},
};
use crate::{
    model::{ColumnRole, Columns, Identity, IdentityBy},
    parse::{EventField, Header, ParseSummary, ParsedRows, Parser},
    receive::{self, BodyAborted, ReceiveError, ReceivedFile, TextReader},
};

/// What the parser hands on.
pub(super) enum Step {
    Columns(Columns, IdentityBy),
    Rows(ParsedRows),
    End(Box<End>),
}

/// What is known when the last row has been seen.
pub(super) struct End {
    pub(super) received: ReceivedFile,
    pub(super) summary: ParseSummary,
    pub(super) survey: Survey,
}

/// The parser's thread.
pub(super) struct Parsing {
    receive: receive::Options,
    identity: (String, Vec<String>, Dedupe),
    parser: Parser,
    survey: Survey,
    limits: Limits,
    header_sent: bool,
    type_column: String,
    time_column: String,
}

impl Parsing {
    pub(super) fn new(options: &UploadOptions, limits: &Limits) -> Result<Self, IngestError> {
        Ok(Self {
            receive: options.receive,
            identity: (options.source.clone(), options.key.clone(), options.dedupe),
            parser: Parser::new(options.parse.clone(), limits.parse).map_err(OptionFault::from)?,
            survey: Survey::new(limits.event_types, limits.days),
            limits: limits.clone(),
            header_sent: false,
            type_column: String::new(),
            time_column: String::new(),
        })
    }

    pub(super) fn run(
        mut self,
        chunks: mpsc::Receiver<Bytes>,
        steps: &mpsc::Sender<Result<Step, IngestError>>,
    ) {
        match self.read(Chunks::new(chunks), steps) {
            // Who sent it is gone, and knows.
            Err(IngestError::Receive(ReceiveError::Aborted(_))) => {}
            // Closing the channel of chunks stops the body; what is to be said goes first.
            Err(why) => drop(steps.blocking_send(Err(why))),
            Ok(received) => {
                let end = self.end(received, steps);
                drop(steps.blocking_send(end));
            }
        }
    }

    fn read(
        &mut self,
        chunks: Chunks,
        steps: &mpsc::Sender<Result<Step, IngestError>>,
    ) -> Result<ReceivedFile, IngestError> {
        let mut text = TextReader::open(chunks, self.receive, self.limits.receive)?;
        while let Some(piece) = text.next_chunk()? {
            self.parser.feed(piece)?;
            self.hand_on(steps)?;
        }
        Ok(text.received_file())
    }

    fn end(
        mut self,
        received: ReceivedFile,
        steps: &mpsc::Sender<Result<Step, IngestError>>,
    ) -> Result<Step, IngestError> {
        let summary = self.parser.finish()?;
        self.hand_on(steps)?;
        Ok(Step::End(Box::new(End {
            received,
            summary,
            survey: self.survey,
        })))
    }

    fn hand_on(
        &mut self,
        steps: &mpsc::Sender<Result<Step, IngestError>>,
    ) -> Result<(), IngestError> {
        if !self.header_sent
            && let Some(header) = self.parser.header()
        {
            self.header_sent = true;
            self.type_column
                .clone_from(&header.labels[header.event_type]);
            self.time_column
                .clone_from(&header.labels[header.timestamp]);
            let (source, key, dedupe) = &self.identity;
            let identity = identity(header, key, *dedupe)?;
            let columns = columns(header, &identity);
            self.survey
                .look_for(Identity::new(source, &identity, &columns));
            send(steps, Step::Columns(columns, identity))?;
        }
        while let Some(parsed) = self.parser.next_rows() {
            self.survey
                .add(&parsed.events)
                .map_err(|what| self.too_many(what))?;
            send(steps, Step::Rows(parsed))?;
        }
        Ok(())
    }

    fn too_many(&self, what: TooMany) -> IngestError {
        match what {
            TooMany::Types(line) => IngestError::TooManyEventTypes {
                limit: self.limits.event_types,
                line,
                column: self.type_column.clone(),
            },
            TooMany::Days(line) => IngestError::TooManyDays {
                limit: self.limits.days,
                line,
                column: self.time_column.clone(),
            },
        }
    }
}

/// Reads a body to its end on a thread that may wait.
pub(super) fn only_read(
    chunks: mpsc::Receiver<Bytes>,
    options: receive::Options,
    limits: receive::Limits,
) -> Result<ReceivedFile, ReceiveError> {
    let mut text = TextReader::open(Chunks::new(chunks), options, limits)?;
    while text.next_chunk()?.is_some() {}
    Ok(text.received_file())
}

/// A body as the parser's thread pulls it. An empty chunk is its end: a channel that only closes is a sender that is gone.
struct Chunks {
    waiting: mpsc::Receiver<Bytes>,
    current: Bytes,
    whole: bool,
}

impl Chunks {
    fn new(waiting: mpsc::Receiver<Bytes>) -> Self {
        Self {
            waiting,
            current: Bytes::new(),
            whole: false,
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        receive::read_buffered(self, into)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty() && !self.whole {
            self.current = self
                .waiting
                .blocking_recv()
                .ok_or_else(|| io::Error::other(BodyAborted))?;
            self.whole = self.current.is_empty();
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}

fn send(steps: &mpsc::Sender<Result<Step, IngestError>>, step: Step) -> Result<(), IngestError> {
    // Nobody takes it when the store has failed, which is told from there.
    steps
        .blocking_send(Ok(step))
        .map_err(|_| IngestError::Body("the upload has ended".into()))
}

/// What tells the events of a file apart: a key wins over ids.
fn identity(header: &Header, key: &[String], dedupe: Dedupe) -> Result<IdentityBy, IngestError> {
    if dedupe == Dedupe::Row {
        return Ok(IdentityBy::Row);
    }
    let mut labels = Vec::with_capacity(key.len());
    for label in key {
        let found = &header.labels[header.find_column(label)?];
        if labels.contains(found) {
            return Err(OptionFault::KeyTwice(found.clone()).into());
        }
        labels.push(found.clone());
    }
    Ok(match labels.as_slice() {
        [] => IdentityBy::EventId,
        [_, ..] => IdentityBy::Key(labels),
    })
}

fn columns(header: &Header, identity: &IdentityBy) -> Columns {
    let mut roles = vec![ColumnRole::Attribute; header.labels.len()];
    for (required, role) in [
        (EventField::EventType, ColumnRole::EventType),
        (EventField::Timestamp, ColumnRole::Timestamp),
        (EventField::UserId, ColumnRole::UserId),
        (EventField::EventId, ColumnRole::EventId),
    ] {
        if let Some(at) = header.column(required) {
            roles[at] = role;
        }
    }
    for at in &header.appended {
        roles[*at] = ColumnRole::Ignored;
    }
    let open = header.has_unused_id_column && *identity == IdentityBy::EventId;
    let hint = open.then(|| {
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
