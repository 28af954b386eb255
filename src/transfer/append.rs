//! Appends the body of one request to a file, in parts that are durable one by one.

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

impl Transfers {
    /// Appends a body to the end of a file. Of a body that breaks off or is too long, the bytes received before are
    /// appended, unless it has a checksum.
    ///
    /// # Errors
    /// [`TransferError`] says why the body was not appended completely.
    pub async fn append<S>(
        &self,
        id: TransferId,
        request: AppendRequest,
        body: S,
    ) -> Result<TransferProgress, TransferError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let AppendRequest {
            offset,
            length,
            checksum,
        } = request;
        let before = self.progress(id).await?;
        if before.end != offset {
            return Err(TransferError::OffsetMismatch {
                requested: offset,
                end: before.end,
            });
        }
        let file_length = before.transfer.length;
        let missing = file_length - offset;
        if length.is_some_and(|length| length > missing) {
            let length = file_length;
            return Err(TransferError::TooLong { length });
        }
        let body = BoundedBody {
            body: std::pin::pin!(body),
            file_length,
            missing,
        };
        match checksum {
            Some(checksum) => self.append_checked(id, offset, body, &checksum).await?,
            None => self.append_unchecked(id, offset, body).await?,
        }
        self.progress(id).await
    }

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
