//! Batches: one document each, changed by compare-and-set.

use async_trait::async_trait;

use super::Result;
use crate::model::{Batch, BatchChange, BatchId, BatchStatus, Instant, Receipt, TransitionRefused};

/// The outcome of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed<T> {
    /// The change was applied; contains the changed document.
    Done(T),
    /// The state of the document does not allow the change.
    Refused(TransitionRefused),
    /// The document does not exist.
    Missing,
}

impl<T> Changed<T> {
    /// Returns the document, if the change was applied.
    #[must_use]
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(document) => Some(document),
            Self::Refused(_) | Self::Missing => None,
        }
    }
}

/// The outcome of a seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealed {
    /// The batch is visible.
    Batch(Box<Batch>),
    /// A live batch has the same bytes and options.
    DuplicateOf(BatchId),
    /// The upload was abandoned before, because its lease had expired.
    Abandoned,
}

/// Selects batches for a list.
#[derive(Debug, Clone, Default)]
pub struct BatchFilter {
    /// Statuses to list; every visible status if empty.
    pub statuses: Vec<BatchStatus>,
    /// Lists only batches of corrected rows of this batch.
    pub parent: Option<BatchId>,
    /// Lists only batches older than this one, the last of the previous page.
    pub before: Option<BatchId>,
}

/// Selects live batches by the time of their events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimeFilter {
    /// The first instant, inclusive, in microseconds since 1970 (UTC).
    pub from: i64,
    /// The end of the range, exclusive, in microseconds since 1970 (UTC).
    pub until: i64,
    /// Lists only batches after this (instant of the last event, batch), the last of the previous page.
    pub after: Option<(i64, BatchId)>,
}

/// Stores batches.
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// Adds a receiving batch.
    async fn create_batch(&self, batch: &Batch) -> Result<()>;
    /// Returns a batch of any status.
    async fn batch(&self, id: BatchId) -> Result<Option<Batch>>;
    /// Applies [`Batch::after`] by compare-and-set.
    async fn change_batch(&self, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>>;
    /// Makes a received batch visible, unless a live batch has the same content.
    async fn seal(&self, id: BatchId, receipt: Receipt, content: [u8; 32]) -> Result<Sealed>;
    /// Lists batches, newest first.
    async fn list_batches(&self, filter: &BatchFilter, limit: usize) -> Result<Vec<Batch>>;
    /// Lists live batches that have events in a time range, each with the instant of its last event: latest instant
    /// first, then newest batch first.
    async fn batches_by_event_time(
        &self,
        filter: &EventTimeFilter,
        limit: usize,
    ) -> Result<Vec<(i64, BatchId)>>;
    /// Lists published batches that were not verified since an instant, the longest unverified first.
    async fn unchecked_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>>;
    /// Lists deleted batches to purge: those never purged, and those purged once that were deleted before an instant.
    async fn unpurged_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>>;
    /// Forgets some batches that were deleted before an instant and purged, with their jobs and the digest of their
    /// content. Returns whether more may remain. A missing owner of a claim counts as deleted.
    async fn prune_tombstones(&self, before: Instant) -> Result<bool>;
}
