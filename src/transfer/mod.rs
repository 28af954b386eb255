//! Files that arrive in parts: each part durable before it is acknowledged, the whole file ingested as one that came at
//! once. Memory is one part a request. Whatever dies, the next request finds where the file ends and goes on there.

mod checksum;
mod error;

use std::{collections::BTreeMap, sync::Arc};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt, stream};

use crate::{
    clock::Clock,
    ingest::{Accepted, Ingest, IngestError, Kept, UploadOptions},
    model::{
        IdempotencyKey, Instant, ProfileName, Transfer, TransferId, TransferOutcome, transfer,
    },
    store::{
        AppendPartOutcome, OpenTransferOutcome, Store, StoreError, TransferLimits, TransferPart,
    },
};

pub use checksum::{Checksum, InvalidChecksum};
pub use error::TransferError;

/// Bytes of one part: few enough to hold, enough to be worth an fsync.
const PART_BYTES: usize = 4 << 20;
/// Longest body that a checksum may be of, since nothing of it counts before all of it is here.
pub const CHECKED_BYTES: usize = 8 << 20;
/// Files that may be on their way at once.
const TRANSFERS: u64 = 1_000;
/// How many of them one sender may have.
const OF_SENDER: u64 = 50;
/// How many files of the longest length may be kept.
const LONGEST_FILES: u64 = 16;
/// Parts of one file: each is made durable on its own.
const PARTS: u64 = 8_192;

/// How far a file has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file.
    pub transfer: Transfer,
    /// Where it ends.
    pub end: u64,
}

impl Progress {
    /// Whether all of it is here.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.end == self.transfer.length
    }

    /// When it is forgotten unless more arrives.
    #[must_use]
    pub fn expires_at(&self) -> Instant {
        transfer::expires_at(self.transfer.moved_at, self.end)
    }
}

/// What is said of a body that is to be appended.
#[derive(Debug, Default)]
pub struct Piece {
    /// Where it begins.
    pub start: u64,
    /// Its bytes, if that is known before they come.
    pub length: Option<u64>,
    /// What they come to.
    pub checksum: Option<Checksum>,
}

/// A body of which no more is taken than the file lacks.
struct Arriving<S> {
    body: S,
    length: u64,
    left: u64,
}

impl<S, E> Arriving<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<IngestError>,
{
    async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        let Some(chunk) = self.body.next().await else {
            return Ok(None);
        };
        let chunk = chunk.map_err(|why| TransferError::Ingest(why.into()))?;
        let left = self.left.checked_sub(chunk.len() as u64);
        let length = self.length;
        self.left = left.ok_or(TransferError::TooLong { length })?;
        Ok(Some(chunk))
    }
}

/// Takes files in parts.
#[derive(Clone)]
pub struct Transfers {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    ingest: Ingest,
    longest: u64,
}

impl Transfers {
    /// Takes files of at most `longest` bytes for `ingest`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, ingest: Ingest, longest: u64) -> Self {
        Self {
            store,
            clock,
            ingest,
            longest,
        }
    }

    /// Begins a file of `sender` that will be taken with these options.
    ///
    /// # Errors
    /// [`TransferError`] if the options make no sense, or there is no room.
    pub async fn open(
        &self,
        length: u64,
        options: Vec<(String, String)>,
        sender: Option<String>,
    ) -> Result<Progress, TransferError> {
        let (profile, options) = self.ingest.stated(options).await?;
        let options: BTreeMap<_, _> = options.into_iter().collect();
        if options_of(&options, profile.as_ref())?.dry_run {
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
        let mut begun = self.begin(&transfer).await?;
        // What makes it full may have expired: no need to wait for the next cleanup.
        if let OpenTransferOutcome::Full(until) | OpenTransferOutcome::SenderFull(until) = begun
            && until < now
        {
            while self.store.prune_transfers(now).await? {}
            begun = self.begin(&transfer).await?;
        }
        match begun {
            OpenTransferOutcome::Opened => Ok(Progress { transfer, end: 0 }),
            OpenTransferOutcome::Full(until) => Err(self.full_until(until)),
            OpenTransferOutcome::SenderFull(until) => Err(TransferError::SenderFull {
                seconds: self.seconds_until(until),
            }),
        }
    }

    async fn begin(&self, transfer: &Transfer) -> Result<OpenTransferOutcome, StoreError> {
        self.store.open_transfer(transfer, self.room()).await
    }

    fn room(&self) -> TransferLimits {
        TransferLimits {
            transfers: TRANSFERS,
            transfers_per_sender: OF_SENDER,
            bytes: self.longest.saturating_mul(LONGEST_FILES),
            parts_per_transfer: PARTS.max(self.longest / PART_BYTES as u64 * 2),
        }
    }

    fn full_until(&self, until: Instant) -> TransferError {
        let seconds = self.seconds_until(until);
        TransferError::Full { seconds }
    }

    fn seconds_until(&self, until: Instant) -> u64 {
        let left = (until - self.clock.now()).num_seconds() + 1;
        u64::try_from(left).unwrap_or(0).max(1)
    }

    /// How far a file has come.
    ///
    /// # Errors
    /// [`TransferError::Missing`], also if it was given up.
    pub async fn progress(&self, id: TransferId) -> Result<Progress, TransferError> {
        match self.store.transfer(id).await? {
            Some((transfer, _)) if transfer.outcome == Some(TransferOutcome::Terminated) => {
                Err(TransferError::Missing(id))
            }
            // Its parts are gone, but it is whole.
            Some((transfer, _)) if transfer.outcome.is_some() => Ok(Progress {
                end: transfer.length,
                transfer,
            }),
            Some((transfer, end)) => Ok(Progress { transfer, end }),
            None => Err(TransferError::Missing(id)),
        }
    }

    /// Appends a body that begins where the file ends. What arrived of a body that breaks off, or is longer than it said,
    /// is kept, unless it has a checksum. Gives how far the file is then.
    ///
    /// # Errors
    /// [`TransferError`] says why no more was taken.
    pub async fn append<S, E>(
        &self,
        id: TransferId,
        piece: Piece,
        body: S,
    ) -> Result<Progress, TransferError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let Piece {
            start, checksum, ..
        } = piece;
        let before = self.progress(id).await?;
        if before.end != start {
            return Err(TransferError::Elsewhere {
                asked: start,
                end: before.end,
            });
        }
        let length = before.transfer.length;
        if piece.length.is_some_and(|bytes| bytes > length - start) {
            return Err(TransferError::TooLong { length });
        }
        let arriving = Arriving {
            body: std::pin::pin!(body),
            length,
            left: length - start,
        };
        match checksum {
            Some(checksum) => self.append_checked(id, start, arriving, &checksum).await?,
            None => self.append_bit_by_bit(id, start, arriving).await?,
        }
        self.progress(id).await
    }

    async fn append_bit_by_bit<S, E>(
        &self,
        id: TransferId,
        mut end: u64,
        mut arriving: Arriving<S>,
    ) -> Result<(), TransferError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<IngestError>,
    {
        let mut waiting = BytesMut::new();
        let last = loop {
            match arriving.next().await {
                Ok(Some(chunk)) => waiting.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(why) => break Err(why),
            }
            while waiting.len() >= PART_BYTES {
                end = self.keep(id, end, waiting.split_to(PART_BYTES)).await?;
            }
        };
        if !waiting.is_empty() {
            self.keep(id, end, waiting).await?;
        }
        last
    }

    async fn append_checked<S, E>(
        &self,
        id: TransferId,
        mut end: u64,
        mut arriving: Arriving<S>,
        checksum: &Checksum,
    ) -> Result<(), TransferError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<IngestError>,
    {
        let mut waiting = BytesMut::new();
        while let Some(chunk) = arriving.next().await? {
            if waiting.len() + chunk.len() > CHECKED_BYTES {
                return Err(TransferError::CheckedTooLong);
            }
            waiting.extend_from_slice(&chunk);
        }
        if !checksum.matches(&waiting) {
            return Err(TransferError::WrongChecksum);
        }
        while !waiting.is_empty() {
            let next = waiting.split_to(waiting.len().min(PART_BYTES));
            end = self.keep(id, end, next).await?;
        }
        Ok(())
    }

    async fn keep(&self, id: TransferId, start: u64, part: BytesMut) -> Result<u64, TransferError> {
        let part = TransferPart {
            start,
            bytes: part.freeze(),
            arrived_at: self.clock.now(),
        };
        match self.store.append_part(id, part, self.room()).await? {
            AppendPartOutcome::Appended(end) => Ok(end),
            AppendPartOutcome::WrongStart(end) => {
                Err(TransferError::Elsewhere { asked: start, end })
            }
            AppendPartOutcome::Closed => Err(TransferError::Missing(id)),
            AppendPartOutcome::TooManyParts => Err(TransferError::TooManyParts {
                limit: self.room().parts_per_transfer,
            }),
            AppendPartOutcome::Full(until) => Err(self.full_until(until)),
        }
    }

    /// Ingests a file that is whole, once, however often it is asked for; gives what it came to.
    ///
    /// # Errors
    /// [`TransferError::Ingest`] if the file is refused, or has to be asked for again.
    pub async fn conclude(&self, whole: &Progress) -> Result<TransferOutcome, TransferError> {
        let Transfer {
            id,
            length,
            options,
            profile,
            outcome,
            ..
        } = &whole.transfer;
        if let Some(outcome) = outcome {
            return Ok(outcome.clone());
        }
        // One who dies here has the batch stand for the key: whoever comes next finds it.
        let key = IdempotencyKey::new(b"", "transfer", &id.to_string());
        let options = options_of(options, profile.as_ref())?;
        let kept = self
            .ingest
            .upload_once(key, options, self.body(*id, *length));
        let (Kept::Now(accepted) | Kept::Before(accepted)) = kept.await?;
        let outcome = match accepted {
            Accepted::New(batch) => TransferOutcome::Stored { batch: batch.id },
            Accepted::DuplicateOf(batch) => TransferOutcome::Duplicate { batch },
        };
        self.settle(*id, &outcome).await?;
        Ok(outcome)
    }

    /// Gives a file up that is not whole, or was refused.
    ///
    /// # Errors
    /// [`TransferError::Whole`] if it is a batch, or about to become one.
    pub async fn give_up(&self, id: TransferId) -> Result<(), TransferError> {
        let before = self.progress(id).await?;
        let refused = matches!(
            before.transfer.outcome,
            Some(TransferOutcome::Refused { .. })
        );
        if before.is_whole() && !refused {
            return Err(TransferError::Whole);
        }
        Ok(self.settle(id, &TransferOutcome::Terminated).await?)
    }

    /// Writes down what a file came to, and lets go of its bytes.
    ///
    /// # Errors
    /// [`StoreError`] if the store is away.
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

    fn body(
        &self,
        id: TransferId,
        length: u64,
    ) -> impl Stream<Item = Result<Bytes, IngestError>> + '_ {
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

fn options_of(
    options: &BTreeMap<String, String>,
    profile: Option<&ProfileName>,
) -> Result<UploadOptions, IngestError> {
    Ok(UploadOptions {
        profile: profile.cloned(),
        ..UploadOptions::from_pairs(options)?
    })
}
