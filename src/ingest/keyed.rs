//! Uploads that carry a key: the same file sent again under it is answered as the first time, and never stored twice.
//! The key names a batch from before its first byte; the state of that batch says whether the upload goes on, was made,
//! or died, so the lease of a key is that of its batch.

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use super::{
    Accepted, Ingest, IngestError, UploadOptions, parsing,
    pipeline::{WAITING_CHUNKS, send_body},
};
use crate::{
    model::{Batch, BatchId, BatchStatus, IdempotencyEntry, IdempotencyKey, IdempotencyOutcome},
    receive::ReceivedFile,
    store::StoreError,
};

/// What an upload with a key became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It was stored now.
    Now(Accepted),
    /// It had been stored before, and came to this.
    Before(Accepted),
}

/// What is known of a key before its upload.
enum Earlier {
    /// Nothing.
    Unknown,
    /// An upload that came to nothing.
    Died(BatchId),
    /// An upload of this content.
    Made(Option<[u8; 32]>, Accepted),
}

impl Ingest {
    /// Stores one file under a key, or looks whether it is the one that was stored under it. An upload that fails
    /// gives its key back.
    ///
    /// # Errors
    /// As [`Ingest::upload`]; [`IngestError::KeyBusy`] and [`IngestError::KeyReused`].
    pub async fn upload_once<S, E>(
        &self,
        key: IdempotencyKey,
        options: UploadOptions,
        body: S,
    ) -> Result<Kept, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let died = match self.earlier(key).await? {
            Earlier::Made(content, accepted) => {
                let received = self.only_read(&options, body).await?;
                return if content == Some(options.request_digest(&received.sha256)) {
                    Ok(Kept::Before(accepted))
                } else {
                    Err(IngestError::KeyReused)
                };
            }
            Earlier::Died(batch) => Some(batch),
            Earlier::Unknown => None,
        };
        let batch = self.begin(&options).await?;
        if !self.take_key(key, died, &batch).await? {
            self.abandon(batch.id).await;
            return Err(IngestError::KeyBusy);
        }
        // The batch of an upload that fails is given up, and with it the key is free.
        let filled = self.fill(&batch, &options, body, Some(key)).await;
        filled.map(Kept::Now)
    }

    async fn earlier(&self, key: IdempotencyKey) -> Result<Earlier, IngestError> {
        let Some(entry) = self.store.idempotency_entry(key).await? else {
            return Ok(Earlier::Unknown);
        };
        let IdempotencyEntry {
            batch: id,
            request_digest: content,
            outcome,
            opened_at: _,
        } = entry;
        if outcome == Some(IdempotencyOutcome::Duplicate) {
            return Ok(Earlier::Made(content, Accepted::DuplicateOf(id)));
        }
        match self.store.batch(id).await? {
            Some(batch) if batch.receipt.is_some() => {
                // It was sealed between the two looks; what it holds was written down before that.
                let content = match content {
                    None => self
                        .store
                        .idempotency_entry(key)
                        .await?
                        .and_then(|entry| entry.request_digest),
                    known => known,
                };
                Ok(Earlier::Made(content, Accepted::New(Box::new(batch))))
            }
            Some(batch) if batch.status == BatchStatus::Receiving => Err(IngestError::KeyBusy),
            Some(_) | None => Ok(Earlier::Died(id)),
        }
    }

    /// Lets the key stand for this batch; false if another upload was ahead.
    async fn take_key(
        &self,
        key: IdempotencyKey,
        died: Option<BatchId>,
        batch: &Batch,
    ) -> Result<bool, StoreError> {
        let entry = entry(batch, None);
        match died {
            Some(died) => {
                self.store
                    .replace_idempotency_entry(key, died, &entry)
                    .await
            }
            None => self.store.add_idempotency_entry(key, &entry).await,
        }
    }

    /// Writes down what the key's upload holds. If the key stands for another batch by now, this one was given up, and
    /// can't be sealed.
    pub(super) async fn note_content(
        &self,
        key: IdempotencyKey,
        batch: &Batch,
        content: [u8; 32],
    ) -> Result<(), StoreError> {
        let entry = entry(batch, Some(content));
        self.store
            .replace_idempotency_entry(key, batch.id, &entry)
            .await
            .map(drop)
    }

    /// Writes down that the file was there already.
    pub(super) async fn note_duplicate(
        &self,
        key: IdempotencyKey,
        batch: &Batch,
        first: BatchId,
        content: [u8; 32],
    ) -> Result<(), StoreError> {
        let entry = IdempotencyEntry {
            batch: first,
            outcome: Some(IdempotencyOutcome::Duplicate),
            ..entry(batch, Some(content))
        };
        self.store
            .replace_idempotency_entry(key, batch.id, &entry)
            .await
            .map(drop)
    }

    /// Reads a body to its end, and stores nothing of it.
    async fn only_read<S, E>(
        &self,
        options: &UploadOptions,
        body: S,
    ) -> Result<ReceivedFile, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let (chunks, waiting) = mpsc::channel(WAITING_CHUNKS);
        let (receive, limits) = (options.receive, self.limits.receive);
        let reading =
            tokio::task::spawn_blocking(move || parsing::only_read(waiting, receive, limits));
        // What the reader says of the body goes before the channel that it closes.
        let (sent, received) = tokio::join!(send_body(body, chunks), reading);
        sent?;
        let received = received.map_err(|why| StoreError::Failed {
            what: "reading a body",
            source: Box::new(why),
        });
        Ok(received??)
    }
}

fn entry(batch: &Batch, content: Option<[u8; 32]>) -> IdempotencyEntry {
    IdempotencyEntry {
        batch: batch.id,
        request_digest: content,
        outcome: None,
        opened_at: batch.created_at,
    }
}
