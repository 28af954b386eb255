//! The upload itself: the body is parsed on a thread of its own while it arrives, the store encodes on
//! another, and a bounded channel stands between each two.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::{
    Dedupe, IngestError, Limits, UploadOptions,
    parsing::Parsing,
    taken::{Sink, Taken},
};
use crate::{
    clock::Clock,
    model::{Batch, BatchChange, BatchId, Columns, EventBlock, IdempotencyKey, Rejection},
    store::{Changed, EventWriter, Sealed, Store, StoreError},
};

/// Chunks of a body that wait for the parser; actix gives up to 64 KiB each.
pub(super) const WAITING_CHUNKS: usize = 16;
/// Parsed blocks that wait for the store.
const WAITING_BLOCKS: usize = 2;
/// Bytes parsed at a time, so that one large chunk does not pile up parsed blocks.
const PARSED_AT_ONCE: usize = 64 << 10;

/// Takes uploads.
#[derive(Clone)]
pub struct Ingest {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    owner: String,
}

/// What an upload became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// A new batch.
    New(Box<Batch>),
    /// Byte for byte one that is here already.
    DuplicateOf(BatchId),
}

impl Ingest {
    /// Takes uploads into this store; their leases carry `owner`.
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

    /// Stores one file. Whatever it returns but `Accepted`, nothing of it is visible. Dropped midway it
    /// leaves a receiving batch, which nobody sees and the sweep removes.
    ///
    /// # Errors
    /// [`IngestError`] says what is wrong with the file, its options, or the store.
    pub async fn upload<S, E>(
        &self,
        options: UploadOptions,
        body: S,
    ) -> Result<Accepted, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let batch = self.begin(&options).await?;
        self.fill(&batch, &options, body, None).await
    }

    /// Adds a batch for an upload that begins.
    pub(super) async fn begin(&self, options: &UploadOptions) -> Result<Batch, IngestError> {
        let now = self.clock.now();
        let batch = Batch::receiving(
            BatchId::at(now),
            options.source.clone(),
            options.dedupe != Dedupe::None,
            self.owner.clone(),
            now,
        );
        self.store.create_batch(&batch).await?;
        Ok(batch)
    }

    /// Stores a body as this batch; the batch is given up if that fails.
    pub(super) async fn fill<S, E>(
        &self,
        batch: &Batch,
        options: &UploadOptions,
        body: S,
        key: Option<IdempotencyKey>,
    ) -> Result<Accepted, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let id = batch.id;
        let mut sink = Stored {
            store: self.store.as_ref(),
            id,
            writer: None,
        };
        let stored = tokio::select! {
            stored = self.read(options, body, &mut sink) => stored,
            lost = self.keep_alive(id) => Err(lost),
        };
        let sealed = match stored {
            Ok(taken) => self.seal(batch, options, taken, key).await,
            Err(why) => Err(why),
        };
        match sealed {
            Ok(Sealed::Batch(batch)) => Ok(Accepted::New(batch)),
            Ok(Sealed::DuplicateOf(first)) => {
                self.abandon(id).await;
                Ok(Accepted::DuplicateOf(first))
            }
            Ok(Sealed::Abandoned) => Err(IngestError::GivenUp),
            Err(why) => {
                if !matches!(why, IngestError::OutcomeUnknown { .. }) {
                    self.abandon(id).await;
                }
                Err(why)
            }
        }
    }

    /// Reads a body into a sink.
    pub(super) async fn read<S, E>(
        &self,
        options: &UploadOptions,
        body: S,
        sink: &mut impl Sink,
    ) -> Result<Taken, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let (chunks, waiting_chunks) = mpsc::channel(WAITING_CHUNKS);
        let (steps, waiting_steps) = mpsc::channel(WAITING_BLOCKS);
        let parser = Parsing::new(options, &self.limits)?;
        std::thread::Builder::new()
            .name("csv-parser".into())
            .spawn(move || parser.run(waiting_chunks, &steps))
            .map_err(|source| StoreError::Unavailable {
                what: "a thread for parsing",
                source: Box::new(source),
            })?;
        // A file fault stops the parser, and with it the body: it is the reason, not the broken channel. Nor does
        // a fault wait for a client that is silent.
        let sending = async { Ok(send_body(body, chunks).await) };
        let most = self.limits.rejections;
        let taking = Taken::all(waiting_steps, options.strictness, most, sink);
        let (sent, taken) = futures_util::future::try_join(sending, taking).await?;
        sent?;
        taken.ok_or_else(|| IngestError::Body("the body ended before its end".into()))
    }

    async fn seal(
        &self,
        batch: &Batch,
        options: &UploadOptions,
        taken: Taken,
        key: Option<IdempotencyKey>,
    ) -> Result<Sealed, IngestError> {
        let expires_at = self.limits.batch_ttl.map(|kept| batch.created_at + kept);
        let (receipt, sha256) = taken.receipt(options, expires_at)?;
        let content = options.content_key(&sha256);
        let asked = options.request_digest(&sha256);
        if let Some(key) = key {
            // Before the seal: from then on the batch speaks for the key, whatever becomes of this process.
            self.note_content(key, batch, asked).await?;
        }
        let sealed = self.store.seal(batch.id, receipt, content).await;
        let sealed = sealed.map_err(|source| IngestError::OutcomeUnknown {
            id: batch.id,
            source,
        })?;
        if let (Some(key), Sealed::DuplicateOf(first)) = (key, &sealed) {
            self.note_duplicate(key, batch, *first, asked).await?;
        }
        Ok(sealed)
    }

    /// Renews the upload's lease; returns when the upload was taken for lost.
    async fn keep_alive(&self, id: BatchId) -> IngestError {
        loop {
            self.clock.sleep(self.limits.lease / 3).await;
            match self.store.change_batch(id, &BatchChange::RenewUpload).await {
                Ok(Changed::Done(_)) => {}
                Ok(Changed::Refused(_) | Changed::Missing) => return IngestError::GivenUp,
                Err(why) => {
                    tracing::warn!(batch.id = %id, error = %why, "can't renew the lease of upload {id}")
                }
            }
        }
    }

    /// Gives the upload up at once rather than leave it to the sweep, which does the same if this fails.
    pub(super) async fn abandon(&self, id: BatchId) {
        if let Err(why) = self.remove(id).await {
            tracing::warn!(batch.id = %id, error = %why, "can't remove upload {id}: the sweep will");
        }
    }

    async fn remove(&self, id: BatchId) -> Result<(), StoreError> {
        let abandon = BatchChange::Abandon {
            at: self.clock.now(),
            renewals: None,
        };
        self.store.change_batch(id, &abandon).await?;
        while self.store.drop_rejections(id).await? {}
        self.store.drop_events(id).await
    }
}

/// Stores rows as those of a receiving batch.
struct Stored<'a> {
    store: &'a dyn Store,
    id: BatchId,
    writer: Option<Box<dyn EventWriter>>,
}

impl Sink for Stored<'_> {
    async fn open(&mut self, columns: &Columns) -> Result<(), StoreError> {
        self.writer = Some(self.store.write_events(self.id, columns).await?);
        Ok(())
    }

    async fn events(&mut self, block: EventBlock) -> Result<(), StoreError> {
        match &mut self.writer {
            Some(writer) => writer.append(block).await,
            None => Ok(()),
        }
    }

    async fn rejections(&mut self, rejections: Vec<Rejection>) -> Result<(), StoreError> {
        self.store.append_rejections(self.id, &rejections).await
    }

    async fn close(&mut self) -> Result<(), StoreError> {
        match self.writer.take() {
            Some(writer) => writer.finish().await,
            None => Ok(()),
        }
    }
}

pub(super) async fn send_body<S, E>(body: S, chunks: mpsc::Sender<Bytes>) -> Result<(), IngestError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<IngestError>,
{
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(Into::into)?;
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(PARSED_AT_ONCE));
            if chunks.send(part).await.is_err() {
                // The parser has stopped at a fault, and says so itself.
                return Ok(());
            }
        }
    }
    // An empty chunk says that the body is whole: a channel that only closes may be a client that went away.
    let _ = chunks.send(Bytes::new()).await;
    Ok(())
}
