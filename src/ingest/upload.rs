//! The upload of one file. While the body arrives, one thread parses it and another, of the store, encodes the events;
//! bounded channels connect these stages.

use std::{panic::AssertUnwindSafe, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::{
    BatchWriter, BodyError, Dedupe, DryRun, IngestError, Limits, Survey, UploadOptions,
    event_sink::EventSink,
    parsed_file::ParsedFile,
    parser_thread::{ParserMessages, ParserThread},
};
use crate::{
    clock::Clock,
    model::{Batch, BatchId, IdempotencyKey},
    store::{Sealed, Store, StoreError},
};

/// Chunks of a body in the channel to the parser thread. A chunk of actix has at most 64 KiB.
pub(super) const BODY_CHANNEL_CHUNKS: usize = 16;
/// Messages in the channel from the parser thread.
const PARSER_CHANNEL_MESSAGES: usize = 2;
/// Maximum bytes parsed at a time, so that one large chunk does not fill the memory with parsed rows.
const PARSED_CHUNK_BYTES: usize = 64 << 10;

/// Accepts uploads.
#[derive(Clone)]
pub struct Ingest {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    pub(super) owner: String,
}

/// The outcome of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadOutcome {
    /// The file is a new batch.
    Stored {
        /// The batch.
        batch: Box<Batch>,
        /// Whether an earlier request with the same idempotency key stored it.
        replayed: bool,
    },
    /// A live batch has the same file and options. Nothing was stored.
    Duplicate {
        /// The earlier batch.
        first: BatchId,
        /// Whether this is the outcome of an earlier request with the same idempotency key.
        replayed: bool,
    },
    /// The options request a dry run. Nothing was stored.
    DryRun(Box<DryRun>),
}

impl Ingest {
    /// Accepts uploads into `store`. `owner` identifies this process in the leases of uploads.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        owner: String,
    ) -> Self {
        Self {
            store,
            clock,
            limits,
            owner,
        }
    }

    /// Stores one file, once per idempotency key. If the future is dropped, the batch remains invisible until the
    /// reconciler deletes it.
    ///
    /// # Errors
    /// [`IngestError`] if the options, the body, the file or the store is at fault. Nothing of the file is visible then,
    /// except perhaps after [`IngestError::OutcomeUnknown`].
    pub async fn upload<S>(
        &self,
        options: &UploadOptions,
        key: Option<IdempotencyKey>,
        body: S,
    ) -> Result<UploadOutcome, IngestError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        if options.dry_run {
            let run = self.dry_run(options, body).await?;
            return Ok(UploadOutcome::DryRun(Box::new(run)));
        }
        match key {
            Some(key) => self.upload_once(key, options, body).await,
            None => {
                let writer = self.begin_batch(options).await?;
                self.store_file(writer, options, None, body).await
            }
        }
    }

    /// Returns a survey with the limits of uploads, for the events of one batch.
    #[must_use]
    pub fn survey(&self) -> Survey {
        let now = self.clock.now().timestamp_micros();
        Survey::new(self.limits.event_types, self.limits.days, now)
    }

    pub(super) async fn begin_batch(
        &self,
        options: &UploadOptions,
    ) -> Result<BatchWriter, StoreError> {
        BatchWriter::begin(self, &options.source, options.dedupe != Dedupe::None).await
    }

    /// Stores a file as the batch of `writer`. Abandons the batch if this fails, or if the file is a duplicate.
    pub(super) async fn store_file<S>(
        &self,
        mut writer: BatchWriter,
        options: &UploadOptions,
        key: Option<IdempotencyKey>,
        body: S,
    ) -> Result<UploadOutcome, IngestError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let outcome = self.write_and_seal(&mut writer, options, key, body).await;
        if !matches!(outcome, Ok(UploadOutcome::Stored { .. })) {
            writer.abandon().await;
        }
        outcome
    }

    async fn write_and_seal<S>(
        &self,
        writer: &mut BatchWriter,
        options: &UploadOptions,
        key: Option<IdempotencyKey>,
        body: S,
    ) -> Result<UploadOutcome, IngestError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let lease = writer.lease();
        let file = tokio::select! {
            file = self.read_file(options, body, writer) => file?,
            lost = lease.renew_until_lost() => return Err(lost),
        };
        let content_key = options.content_key(file.sha256(), self.limits.time_zone);
        let digest = options.request_digest(file.sha256(), self.limits.time_zone);
        if let Some(key) = key {
            // Before the seal: a sealed batch is the outcome of its key, even if this process dies right after it.
            self.record_digest(key, writer.batch(), digest).await?;
        }
        let origin = file.origin(options);
        let replayed = false;
        match writer
            .seal(origin, file.summary(options), content_key)
            .await?
        {
            Sealed::Batch(batch) => Ok(UploadOutcome::Stored { batch, replayed }),
            Sealed::DuplicateOf(first) => {
                if let Some(key) = key {
                    let batch = writer.batch();
                    self.record_duplicate(key, batch, first, digest).await?;
                }
                Ok(UploadOutcome::Duplicate { first, replayed })
            }
            Sealed::Abandoned => Err(IngestError::Abandoned),
        }
    }

    /// Passes the rows of a file to `sink`.
    pub(super) async fn read_file<S>(
        &self,
        options: &UploadOptions,
        body: S,
        sink: &mut impl EventSink,
    ) -> Result<ParsedFile, IngestError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let (chunks, received_chunks) = mpsc::channel(BODY_CHANNEL_CHUNKS);
        let (messages, received_messages) = mpsc::channel(PARSER_CHANNEL_MESSAGES);
        let parser = ParserThread::new(options, self.survey(), &self.limits)?;
        std::thread::Builder::new()
            .name("csv-parser".into())
            .spawn(move || {
                reporting_panics(&messages, || parser.run(received_chunks, &messages));
            })
            .map_err(|source| StoreError::Unavailable {
                what: "a thread for parsing",
                source: Box::new(source),
            })?;
        let mut body_error = None;
        let sending = async {
            body_error = send_body(body, chunks).await.err();
            Ok(())
        };
        let receiving = ParsedFile::receive(received_messages, options.tolerance, sink);
        // Ends at the first error of the file, even while the client sends nothing.
        let file = futures_util::future::try_join(sending, receiving).await;
        // The error of a body that broke off is the least specific one: a faulty file is reported before it.
        match (body_error, file) {
            (Some(error), _) if error.is_of_request() => Err(error.into()),
            (_, Err(error)) => Err(error),
            (Some(error), Ok(_)) => Err(error.into()),
            (None, Ok(((), Some(file)))) => Ok(file),
            (None, Ok(((), None))) => Err(BodyError::EndedEarly.into()),
        }
    }
}

/// Runs the parser. Sends an error if it panics, since a channel that merely closes means that the body broke off.
fn reporting_panics(messages: &ParserMessages, parse: impl FnOnce()) {
    if std::panic::catch_unwind(AssertUnwindSafe(parse)).is_err() {
        // Nobody receives it if the upload ended before.
        let _ = messages.blocking_send(Err(IngestError::ParserPanicked));
    }
}

/// Sends a body to the parser thread, followed by an empty chunk. Ends early if the thread stops at a faulty file, which
/// the thread itself reports.
pub(super) async fn send_body<S>(body: S, chunks: mpsc::Sender<Bytes>) -> Result<(), BodyError>
where
    S: Stream<Item = Result<Bytes, BodyError>>,
{
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk?;
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(PARSED_CHUNK_BYTES));
            if chunks.send(part).await.is_err() {
                return Ok(());
            }
        }
    }
    // Marks the body as complete. A channel that closes without it belongs to a client that disconnected.
    let _ = chunks.send(Bytes::new()).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_the_parser_is_no_fault_of_the_body() {
        let (messages, mut received) = mpsc::channel(1);
        reporting_panics(&messages, || panic!("a bug"));
        let received = received.try_recv().expect("a message");
        assert!(matches!(received, Err(IngestError::ParserPanicked)));
    }
}
