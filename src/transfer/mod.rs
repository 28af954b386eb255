//! Transfers: files that arrive in parts. A part is durable before it is acknowledged; the complete file is ingested as
//! one upload. A request buffers one part, or its body if it has a checksum. After a crash, the next request continues
//! after the last durable part.

mod append;
mod checksum;
mod error;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, stream};

use crate::{
    clock::Clock,
    ingest::{BodyError, Ingest, IngestError, ResolvedOptions, UploadOptions, UploadOutcome},
    model::{
        IdempotencyKey, Instant, ProfileName, Transfer, TransferId, TransferOutcome, transfer,
    },
    store::{ClockReading, OpenTransferOutcome, Store, StoreError, TransferLimits},
};

use append::ActiveAppends;
pub use append::{Append, AppendRequest};
pub use checksum::{Checksum, InvalidChecksum};
pub use error::TransferError;

/// Maximum bytes of a part: small enough to buffer for each request, large enough to be worth an fsync.
const PART_BYTES: usize = 4 << 20;
/// Maximum bytes of a body with a checksum, which is buffered until the checksum is verified.
pub const MAX_CHECKED_BYTES: usize = 8 << 20;
/// Maximum open transfers.
const MAX_TRANSFERS: u64 = 1_000;
/// Maximum open transfers of one sender.
const MAX_TRANSFERS_PER_SENDER: u64 = 50;
/// Maximum stored bytes of all open transfers, as a multiple of the maximum file length.
const MAX_FULL_LENGTH_FILES: u64 = 16;
/// Lower bound of the limit on the parts of one file. Parts are limited because each costs an fsync.
const MIN_PARTS_LIMIT: u64 = 8_192;

/// A transfer and the number of its bytes that have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferProgress {
    /// The transfer.
    pub transfer: Transfer,
    /// Number of durable bytes: the offset at which the next part starts.
    pub end: u64,
}

impl TransferProgress {
    /// Returns whether the file is complete.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end == self.transfer.length
    }

    /// Returns the time at which the transfer is deleted unless more bytes arrive.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        transfer::expires_at(self.transfer.moved_at, self.end)
    }
}

/// Accepts files in parts.
#[derive(Clone)]
pub struct Transfers {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ingest: Ingest,
    max_length: u64,
    active: ActiveAppends,
}

impl Transfers {
    /// Returns transfers that pass complete files to `ingest`. The limits on stored bytes and parts are multiples of
    /// `max_length`; the caller of [`open`](Self::open) enforces it on each file.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        ingest: Ingest,
        max_length: u64,
    ) -> Self {
        Self {
            store,
            clock,
            ingest,
            max_length,
            active: ActiveAppends::default(),
        }
    }

    /// Creates a transfer. Its options are validated and resolved now, and used once the file is complete.
    ///
    /// # Errors
    /// [`TransferError`] if the options are invalid or request a dry run, or a limit is reached.
    pub async fn open(
        &self,
        length: u64,
        options: Vec<(String, String)>,
        sender: Option<String>,
    ) -> Result<TransferProgress, TransferError> {
        let resolved = self.ingest.resolve_options(options).await?;
        let ResolvedOptions { profile, pairs } = resolved;
        let options: BTreeMap<_, _> = pairs.into_iter().collect();
        if upload_options(profile.as_ref(), &options)?.dry_run {
            return Err(TransferError::DryRun);
        }
        let now = self.clock.now();
        let transfer = Transfer {
            id: TransferId::at(now),
            length,
            options,
            profile,
            sender,
            outcome: None,
            moved_at: now,
        };
        let limits = self.limits();
        let mut outcome = self.store.open_transfer(&transfer, limits).await?;
        // The transfers that fill the limit may have expired since the last cleanup.
        if let OpenTransferOutcome::Full(until) | OpenTransferOutcome::SenderFull(until) = outcome
            && until < now
        {
            self.prune().await?;
            outcome = self.store.open_transfer(&transfer, limits).await?;
        }
        match outcome {
            OpenTransferOutcome::Opened => Ok(TransferProgress { transfer, end: 0 }),
            OpenTransferOutcome::Full(until) => Err(TransferError::Full {
                seconds: self.seconds_until(until),
            }),
            OpenTransferOutcome::SenderFull(until) => Err(TransferError::SenderFull {
                seconds: self.seconds_until(until),
            }),
        }
    }

    fn limits(&self) -> TransferLimits {
        TransferLimits {
            transfers: MAX_TRANSFERS,
            transfers_per_sender: MAX_TRANSFERS_PER_SENDER,
            bytes: self.max_length.saturating_mul(MAX_FULL_LENGTH_FILES),
            parts_per_transfer: MIN_PARTS_LIMIT.max(self.max_length / PART_BYTES as u64 * 2),
        }
    }

    /// Deletes expired transfers.
    /// By the certain time: a clock that is ahead must not delete what is being sent.
    async fn prune(&self) -> Result<(), StoreError> {
        let reading = ClockReading {
            wall: self.clock.now(),
            running: self.clock.elapsed(),
        };
        let now = self.store.certain_time(reading).await?;
        while self.store.prune_transfers(now).await? {}
        Ok(())
    }

    /// Returns the seconds after which an instant has passed.
    fn seconds_until(&self, until: Instant) -> u64 {
        let seconds = (until - self.clock.now()).num_seconds() + 1;
        u64::try_from(seconds).unwrap_or(0).max(1)
    }

    /// Returns the progress of a transfer.
    ///
    /// # Errors
    /// [`TransferError::Missing`], also if it was terminated.
    pub async fn progress(&self, id: TransferId) -> Result<TransferProgress, TransferError> {
        match self.store.transfer(id).await? {
            Some((transfer, _)) if transfer.outcome == Some(TransferOutcome::Terminated) => {
                Err(TransferError::Missing(id))
            }
            // The parts of a settled transfer are deleted, but its file was complete.
            Some((transfer, _)) if transfer.outcome.is_some() => Ok(TransferProgress {
                end: transfer.length,
                transfer,
            }),
            Some((transfer, end)) => Ok(TransferProgress { transfer, end }),
            None => Err(TransferError::Missing(id)),
        }
    }

    /// Ingests a complete file, once, and returns its outcome. Later calls return the same outcome.
    ///
    /// # Errors
    /// [`TransferError::Ingest`] if the file is refused, or another request is ingesting it.
    pub async fn complete(
        &self,
        progress: &TransferProgress,
    ) -> Result<TransferOutcome, TransferError> {
        let Transfer {
            id,
            length,
            options,
            profile,
            outcome,
            ..
        } = &progress.transfer;
        if let Some(outcome) = outcome {
            return Ok(outcome.clone());
        }
        // If this process dies during the upload, the next request finds the batch by this key.
        let key = IdempotencyKey::new(b"", "transfer", &id.to_string());
        let options = upload_options(profile.as_ref(), options)?;
        let body = self.body(*id, *length);
        let outcome = match self.ingest.upload(&options, Some(key), body).await? {
            UploadOutcome::Stored { batch, .. } => TransferOutcome::Stored { batch: batch.id },
            UploadOutcome::Duplicate { first: batch, .. } => TransferOutcome::Duplicate { batch },
            UploadOutcome::DryRun(_) => return Err(TransferError::DryRun),
        };
        // The file is stored. Without its outcome, the next request finds the batch by the key.
        if let Err(error) = self.settle(*id, &outcome).await {
            tracing::warn!(transfer.id = %id, %error, "outcome of resumable upload {id} is not recorded, the next request will record it");
        }
        Ok(outcome)
    }

    /// Deletes the parts of a file that is incomplete or was refused.
    ///
    /// # Errors
    /// [`TransferError::Complete`] if the file is a batch, or will be one.
    pub async fn terminate(&self, id: TransferId) -> Result<(), TransferError> {
        let progress = self.progress(id).await?;
        let is_refused = matches!(
            progress.transfer.outcome,
            Some(TransferOutcome::Refused { .. })
        );
        if progress.is_complete() && !is_refused {
            return Err(TransferError::Complete);
        }
        Ok(self.settle(id, &TransferOutcome::Terminated).await?)
    }

    /// Records the outcome of a transfer, and deletes its parts. Does nothing if the transfer has an outcome.
    ///
    /// # Errors
    /// [`StoreError`] if the store failed.
    pub async fn settle(
        &self,
        id: TransferId,
        outcome: &TransferOutcome,
    ) -> Result<(), StoreError> {
        if self.store.settle_transfer(id, outcome).await? {
            self.store.drop_parts(id).await?;
        }
        Ok(())
    }

    /// Returns the bytes of a complete file, part by part.
    fn body(
        &self,
        id: TransferId,
        length: u64,
    ) -> impl Stream<Item = Result<Bytes, BodyError>> + '_ {
        stream::try_unfold(0, move |start| async move {
            if start == length {
                return Ok(None);
            }
            let part = self.store.part(id, start).await?;
            let part = part.ok_or_else(|| StoreError::Missing {
                what: format!("the part of upload {id} at {start}"),
            })?;
            let end = start + part.len() as u64;
            Ok(Some((part, end)))
        })
    }
}

fn upload_options(
    profile: Option<&ProfileName>,
    options: &BTreeMap<String, String>,
) -> Result<UploadOptions, IngestError> {
    Ok(UploadOptions::from_resolved(profile.cloned(), options)?)
}
