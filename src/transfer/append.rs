//! Appends the body of one request to a file, in parts that are durable one by one.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};

use super::{Checksum, MAX_CHECKED_BYTES, PART_BYTES, TransferError, TransferProgress, Transfers};
use crate::{
    ingest::BodyError,
    model::TransferId,
    store::{AppendPartOutcome, TransferPart},
};

/// The head of a request to append a body.
#[derive(Debug, Default)]
pub struct AppendRequest {
    /// The offset of the first byte in the file.
    pub offset: u64,
    /// The length of the body in bytes, if stated.
    pub length: Option<u64>,
    /// The checksum of the body, if stated.
    pub checksum: Option<Checksum>,
}

/// A body that must not go beyond the announced length of the file.
struct BoundedBody<S> {
    body: S,
    file_length: u64,
    missing: u64,
}

impl<S> BoundedBody<S>
where
    S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
{
    async fn next(&mut self) -> Result<Option<Bytes>, TransferError> {
        let Some(chunk) = self.body.next().await else {
            return Ok(None);
        };
        let chunk = chunk.map_err(TransferError::Interrupted)?;
        let missing = self.missing.checked_sub(chunk.len() as u64);
        let length = self.file_length;
        self.missing = missing.ok_or(TransferError::TooLong { length })?;
        Ok(Some(chunk))
    }
}

/// The transfers that this process appends to.
#[derive(Debug, Clone, Default)]
pub(super) struct ActiveAppends(Arc<Mutex<HashSet<TransferId>>>);

impl ActiveAppends {
    fn ids(&self) -> MutexGuard<'_, HashSet<TransferId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves a transfer; none if another request appends to it.
    fn begin(&self, id: TransferId) -> Option<ActiveAppend> {
        let is_first = self.ids().insert(id);
        is_first.then(|| ActiveAppend {
            all: self.clone(),
            id,
        })
    }
}

/// Keeps other requests from appending to the same transfer.
struct ActiveAppend {
    all: ActiveAppends,
    id: TransferId,
}

impl Drop for ActiveAppend {
    fn drop(&mut self) {
        self.all.ids().remove(&self.id);
    }
}

/// An append whose offset and length fit the file. Only its body is still to be received.
pub struct Append<'a> {
    transfers: &'a Transfers,
    active: ActiveAppend,
    request: AppendRequest,
    file_length: u64,
}

impl Transfers {
    /// Checks that a body can be appended, before any of it is received.
    ///
    /// # Errors
    /// [`TransferError`] if the body does not start at the end of the file or does not fit, or if another request
    /// appends to the same file.
    pub async fn begin_append(
        &self,
        id: TransferId,
        request: AppendRequest,
    ) -> Result<Append<'_>, TransferError> {
        // Other processes may append to it too: each part is a compare-and-set of its own.
        let active = self.active.begin(id).ok_or(TransferError::Busy)?;
        let before = self.progress(id).await?;
        if before.end != request.offset {
            return Err(TransferError::OffsetMismatch {
                requested: request.offset,
                end: before.end,
            });
        }
        let file_length = before.transfer.length;
        let missing = file_length - request.offset;
        if request.length.is_some_and(|length| length > missing) {
            let length = file_length;
            return Err(TransferError::TooLong { length });
        }
        Ok(Append {
            transfers: self,
            active,
            request,
            file_length,
        })
    }
}

impl Append<'_> {
    /// Appends the body to the end of the file. Of a body that breaks off or is too long, the bytes received before are
    /// appended, unless it has a checksum.
    ///
    /// # Errors
    /// [`TransferError`] says why the body was not appended completely.
    pub async fn body<S>(self, body: S) -> Result<TransferProgress, TransferError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let Self {
            transfers,
            active,
            request,
            file_length,
        } = self;
        let AppendRequest {
            offset, checksum, ..
        } = request;
        let body = BoundedBody {
            body: std::pin::pin!(body),
            file_length,
            missing: file_length - offset,
        };
        let id = active.id;
        match checksum {
            Some(checksum) => {
                transfers
                    .append_checked(id, offset, body, &checksum)
                    .await?
            }
            None => transfers.append_unchecked(id, offset, body).await?,
        }
        transfers.progress(id).await
    }
}

impl Transfers {
    async fn append_unchecked<S>(
        &self,
        id: TransferId,
        mut end: u64,
        mut body: BoundedBody<S>,
    ) -> Result<(), TransferError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
    {
        let mut buffer = BytesMut::new();
        let result = loop {
            match body.next().await {
                Ok(Some(chunk)) => buffer.extend_from_slice(&chunk),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
            while buffer.len() >= PART_BYTES {
                let part = buffer.split_to(PART_BYTES);
                end = self.append_part(id, end, part).await?;
            }
        };
        if !buffer.is_empty() {
            self.append_part(id, end, buffer).await?;
        }
        result
    }

    async fn append_checked<S>(
        &self,
        id: TransferId,
        mut end: u64,
        mut body: BoundedBody<S>,
        checksum: &Checksum,
    ) -> Result<(), TransferError>
    where
        S: Stream<Item = Result<Bytes, BodyError>> + Unpin,
    {
        let mut buffer = BytesMut::new();
        while let Some(chunk) = body.next().await? {
            if buffer.len() + chunk.len() > MAX_CHECKED_BYTES {
                return Err(TransferError::CheckedTooLong);
            }
            buffer.extend_from_slice(&chunk);
        }
        if !checksum.matches(&buffer) {
            return Err(TransferError::ChecksumMismatch);
        }
        while !buffer.is_empty() {
            let part = buffer.split_to(buffer.len().min(PART_BYTES));
            end = self.append_part(id, end, part).await?;
        }
        Ok(())
    }

    /// Makes one part durable. Returns the new end of the file.
    async fn append_part(
        &self,
        id: TransferId,
        start: u64,
        part: BytesMut,
    ) -> Result<u64, TransferError> {
        let part = TransferPart {
            start,
            bytes: part.freeze(),
            arrived_at: self.clock.now(),
        };
        let limits = self.limits();
        let mut outcome = self.store.append_part(id, part.clone(), limits).await?;
        // The transfers that fill the limit may have expired since the last cleanup.
        if let AppendPartOutcome::Full(until) = outcome
            && until < part.arrived_at
        {
            self.prune().await?;
            outcome = self.store.append_part(id, part, limits).await?;
        }
        match outcome {
            AppendPartOutcome::Appended(end) => Ok(end),
            AppendPartOutcome::WrongStart(end) => Err(TransferError::OffsetMismatch {
                requested: start,
                end,
            }),
            AppendPartOutcome::Closed => Err(TransferError::Missing(id)),
            AppendPartOutcome::TooManyParts => Err(TransferError::TooManyParts {
                limit: limits.parts_per_transfer,
            }),
            AppendPartOutcome::Full(until) => Err(TransferError::Full {
                seconds: self.seconds_until(until),
            }),
        }
    }
}
