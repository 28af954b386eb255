//! The parser's thread: chunks of a body in, columns, rows and an end out, over bounded channels.
//! It stops at the first fault of the file, which is the last it says.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{
    IngestError, Limits, OptionFault, UploadOptions,
    survey::{Survey, TooMany},
};
use crate::{
    model::{ColumnRole, Columns},
    parse::{Header, Parsed, Parser, Required, Summary},
    receive::{Received, Receiver},
};

/// What the parser hands on.
pub(super) enum Step {
    Columns(Columns),
    Rows(Parsed),
    End(Box<End>),
}

/// What is known when the last row has been seen.
pub(super) struct End {
    pub(super) received: Received,
    pub(super) summary: Summary,
    pub(super) survey: Survey,
}

/// The parser's thread.
pub(super) struct Parsing {
    receiver: Receiver,
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
            receiver: Receiver::new(limits.receive),
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
        mut chunks: mpsc::Receiver<Bytes>,
        steps: &mpsc::Sender<Result<Step, IngestError>>,
    ) {
        while let Some(chunk) = chunks.blocking_recv() {
            if chunk.is_empty() {
                let end = self.end(steps);
                return drop(steps.blocking_send(end));
            }
            if let Err(why) = self.chunk(&chunk, steps) {
                // Closing this channel stops the body; what is to be said goes first.
                return drop(steps.blocking_send(Err(why)));
            }
        }
    }

    fn chunk(
        &mut self,
        chunk: &[u8],
        steps: &mpsc::Sender<Result<Step, IngestError>>,
    ) -> Result<(), IngestError> {
        for text in self.receiver.push(chunk)? {
            self.parser.feed(text)?;
        }
        self.hand_on(steps)
    }

    fn end(mut self, steps: &mpsc::Sender<Result<Step, IngestError>>) -> Result<Step, IngestError> {
        let receiver = std::mem::replace(&mut self.receiver, Receiver::new(self.limits.receive));
        let (tail, received) = receiver.finish()?;
        self.parser.feed(&tail)?;
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
            send(steps, Step::Columns(columns(header)))?;
        }
        while let Some(parsed) = self.parser.take() {
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

fn send(steps: &mpsc::Sender<Result<Step, IngestError>>, step: Step) -> Result<(), IngestError> {
    // Nobody takes it when the store has failed, which is told from there.
    steps
        .blocking_send(Ok(step))
        .map_err(|_| IngestError::Body("the upload has ended".into()))
}

fn columns(header: &Header) -> Columns {
    let mut roles = vec![ColumnRole::Attribute; header.labels.len()];
    for (required, role) in [
        (Required::EventType, ColumnRole::EventType),
        (Required::Timestamp, ColumnRole::Timestamp),
        (Required::UserId, ColumnRole::UserId),
        (Required::EventId, ColumnRole::EventId),
    ] {
        if let Some(at) = header.column(required) {
            roles[at] = role;
        }
    }
    let hint = header.hint_id_column.then(|| {
        "the column `id` is kept as an attribute, since files often number their rows 1, 2, 3, …: if it really names \
         the event everywhere, rename it to `event_id` or send `columns=event_id:id`, and repeats are recognised"
            .to_owned()
    });
    Columns {
        labels: header.labels.clone(),
        roles,
        hint,
    }
}
