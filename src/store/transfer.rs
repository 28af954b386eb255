//! Transfers: files that arrive in parts. A part is durable once it is appended; the end of a file is the end of its
//! last part.

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;
use crate::model::{Instant, Transfer, TransferId, TransferOutcome, transfer};

/// Limits on transfers without an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransferLimits {
    /// Most open transfers.
    pub transfers: u64,
    /// Most open transfers of one sender.
    pub transfers_per_sender: u64,
    /// Most bytes stored of all open transfers.
    pub bytes: u64,
    /// Most parts of one transfer.
    pub parts_per_transfer: u64,
}

/// The outcome of opening a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenTransferOutcome {
    /// The transfer is stored, and empty.
    Opened,
    /// A limit is reached until at least this instant, unless another transfer ends before.
    Full(Instant),
    /// The limit of the sender is reached until at least this instant, unless another of its transfers ends before.
    SenderFull(Instant),
}

/// A part of a file.
#[derive(Debug, Clone)]
pub struct TransferPart {
    /// The offset of its first byte in the file.
    pub start: u64,
    /// Its content.
    pub bytes: Bytes,
    /// When it arrived.
    pub arrived_at: Instant,
}

/// The outcome of appending a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendPartOutcome {
    /// The part is durable; the new end of the file.
    Appended(u64),
    /// The part does not start at the end of the file, which is this.
    WrongStart(u64),
    /// The transfer does not exist or has an outcome.
    Closed,
    /// The transfer has the maximum number of parts.
    TooManyParts,
    /// The limit of bytes is reached until at least this instant, unless another transfer ends before.
    Full(Instant),
}

/// Stores transfers and their parts.
#[async_trait]
pub trait TransferStore: Send + Sync {
    /// Adds a transfer if the limits allow it. Concurrent additions may exceed them by a few.
    async fn open_transfer(
        &self,
        transfer: &Transfer,
        limits: TransferLimits,
    ) -> Result<OpenTransferOutcome>;
    /// Returns a transfer and the end of its file.
    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>>;
    /// Appends a part that starts at the end of the file, and makes it durable. Concurrent appends may exceed the
    /// limits by a few parts.
    async fn append_part(
        &self,
        id: TransferId,
        part: TransferPart,
        limits: TransferLimits,
    ) -> Result<AppendPartOutcome>;
    /// Returns the content of the part that starts at an offset.
    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>>;
    /// Records the outcome of a transfer. Returns false, and changes nothing, if it has one or does not exist.
    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool>;
    /// Deletes the parts of a transfer that has an outcome.
    async fn drop_parts(&self, id: TransferId) -> Result<()>;
    /// Deletes one expired transfer with its parts. Returns whether more may remain; if not, orphaned parts have been
    /// deleted too.
    async fn prune_transfers(&self, now: Instant) -> Result<bool>;
}

/// A transfer without an outcome, reduced to what counts against the limits.
pub(super) struct OpenTransfer {
    pub(super) sender: Option<String>,
    pub(super) end: u64,
    pub(super) moved_at: Instant,
}

impl TransferLimits {
    /// Checks whether another transfer of `sender` is allowed beside the open ones.
    pub(super) fn check_open(
        &self,
        open: &[OpenTransfer],
        sender: Option<&str>,
    ) -> OpenTransferOutcome {
        let full = open.len() as u64 >= self.transfers || stored_bytes(open) >= self.bytes;
        let of_sender = || {
            let named = open.iter().filter(|_| sender.is_some());
            named.filter(|other| other.sender.as_deref() == sender)
        };
        if of_sender().count() as u64 >= self.transfers_per_sender
            && let Some(until) = first_expiry(of_sender())
        {
            return OpenTransferOutcome::SenderFull(until);
        }
        match first_expiry(open.iter()) {
            Some(until) if full => OpenTransferOutcome::Full(until),
            Some(_) | None => OpenTransferOutcome::Opened,
        }
    }

    /// Returns until when `bytes` more are refused beside the open transfers; none if they are allowed.
    pub(super) fn bytes_refused_until(&self, open: &[OpenTransfer], bytes: u64) -> Option<Instant> {
        let full = stored_bytes(open).saturating_add(bytes) > self.bytes;
        first_expiry(open.iter()).filter(|_| full)
    }
}

fn stored_bytes(transfers: &[OpenTransfer]) -> u64 {
    let bytes = transfers.iter().map(|transfer| transfer.end);
    bytes.fold(0, u64::saturating_add)
}

fn first_expiry<'a>(transfers: impl Iterator<Item = &'a OpenTransfer>) -> Option<Instant> {
    transfers
        .map(|transfer| transfer::expires_at(transfer.moved_at, transfer.end))
        .min()
}
