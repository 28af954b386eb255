//! Uploads with an idempotency key: the same file sent again under its key gets the outcome of the first upload.
//! The entry of a key names a batch from before the first byte, so the state of that batch says whether the upload is
//! under way, complete, or failed. The lease of a key is that of its batch.

use bytes::Bytes;
use futures_util::Stream;
use tokio::sync::mpsc;

use super::{
    BodyError, Ingest, IngestError, UploadOptions, UploadOutcome, parser_thread,
    upload::{BODY_CHANNEL_CHUNKS, send_body},
};
use crate::{
    model::{Batch, BatchId, BatchStatus, IdempotencyEntry, IdempotencyKey, IdempotencyOutcome},
    receive::ReceivedFile,
    store::StoreError,
};

/// The earlier upload with a key.
enum EarlierUpload {
    /// The key is new.
    None,
    /// The upload of this batch failed.
    Failed(BatchId),
    /// The upload is complete.
    Complete {
        /// The digest of the request.
        digest: Option<[u8; 32]>,
        /// The outcome, marked as replayed.
        outcome: UploadOutcome,
    },
}

impl Ingest {
    /// Stores a file under a key, or compares it with the file stored under the key. An upload that fails releases its
    /// key, because its batch is abandoned.
    pub(super) async fn upload_once<S>(
        &self,
        key: IdempotencyKey,
        options: &UploadOptions,
        body: S,
    ) -> Result<UploadOutcome, IngestError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let failed = match self.earlier_upload(key).await? {
            EarlierUpload::Complete { digest, outcome } => {
                let received = self.receive_only(options, body).await?;
                return if digest
                    == Some(options.request_digest(&received.sha256, self.limits.time_zone))
                {
                    Ok(outcome)
                } else {
                    Err(IngestError::KeyReused)
                };
            }
            EarlierUpload::Failed(batch) => Some(batch),
            EarlierUpload::None => None,
        };
        let writer = self.begin_batch(options).await?;
        if !self.claim_key(key, failed, writer.batch()).await? {
            writer.abandon().await;
            return Err(IngestError::KeyBusy);
        }
        self.store_file(writer, options, Some(key), body).await
    }

    async fn earlier_upload(&self, key: IdempotencyKey) -> Result<EarlierUpload, IngestError> {
        let Some(entry) = self.store.idempotency_entry(key).await? else {
            return Ok(EarlierUpload::None);
        };
        let IdempotencyEntry {
            batch: id,
            request_digest: digest,
            outcome,
            wanted_before: _,
            opened_at: _,
        } = entry;
        let replayed = true;
        if outcome == Some(IdempotencyOutcome::Duplicate) {
            let first = id;
            let outcome = UploadOutcome::Duplicate { first, replayed };
            return Ok(EarlierUpload::Complete { digest, outcome });
        }
        match self.store.batch(id).await? {
            Some(batch) if batch.receipt.is_some() => {
                // The batch was sealed between the two reads. Its digest was recorded before the seal.
                let digest = match digest {
                    None => {
                        let entry = self.store.idempotency_entry(key).await?;
                        entry.and_then(|entry| entry.request_digest)
                    }
                    known => known,
                };
                let batch = Box::new(batch);
                let outcome = UploadOutcome::Stored { batch, replayed };
                Ok(EarlierUpload::Complete { digest, outcome })
            }
            Some(batch) if batch.status == BatchStatus::Receiving => Err(IngestError::KeyBusy),
            Some(_) | None => Ok(EarlierUpload::Failed(id)),
        }
    }

    /// Makes the key name this batch in place of the failed one. Returns false if another upload did so first.
    async fn claim_key(
        &self,
        key: IdempotencyKey,
        failed: Option<BatchId>,
        batch: &Batch,
    ) -> Result<bool, StoreError> {
        let entry = entry(batch, None);
        match failed {
            Some(failed) => {
                let store = &self.store;
                store.replace_idempotency_entry(key, failed, &entry).await
            }
            None => self.store.add_idempotency_entry(key, &entry).await,
        }
    }

    /// Records the digest of the upload. If the key names another batch by now, this one was abandoned and cannot be
    /// sealed.
    pub(super) async fn record_digest(
        &self,
        key: IdempotencyKey,
        batch: &Batch,
        digest: [u8; 32],
    ) -> Result<(), StoreError> {
        let entry = entry(batch, Some(digest));
        let store = &self.store;
        store
            .replace_idempotency_entry(key, batch.id, &entry)
            .await?;
        Ok(())
    }

    /// Records that the file is a duplicate of `first`.
    pub(super) async fn record_duplicate(
        &self,
        key: IdempotencyKey,
        batch: &Batch,
        first: BatchId,
        digest: [u8; 32],
    ) -> Result<(), StoreError> {
        let entry = IdempotencyEntry {
            batch: first,
            outcome: Some(IdempotencyOutcome::Duplicate),
            ..entry(batch, Some(digest))
        };
        let store = &self.store;
        store
            .replace_idempotency_entry(key, batch.id, &entry)
            .await?;
        Ok(())
    }

    /// Reads a body to its end without parsing it.
    async fn receive_only<S>(
        &self,
        options: &UploadOptions,
        body: S,
    ) -> Result<ReceivedFile, IngestError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let (chunks, received_chunks) = mpsc::channel(BODY_CHANNEL_CHUNKS);
        let (receive, limits) = (options.receive, self.limits.receive);
        let reading = tokio::task::spawn_blocking(move || {
            parser_thread::receive_only(received_chunks, receive, limits)
        });
        // An error of the body closes the channel, so it is the cause of the reader's error.
        let (sent, received) = tokio::join!(send_body(body, chunks), reading);
        sent?;
        let received = received.map_err(|error| StoreError::Failed {
            what: "reading a body",
            source: Box::new(error),
        });
        Ok(received??)
    }
}

fn entry(batch: &Batch, request_digest: Option<[u8; 32]>) -> IdempotencyEntry {
    IdempotencyEntry {
        batch: batch.id,
        request_digest,
        outcome: None,
        wanted_before: None,
        opened_at: batch.created_at,
    }
}
