//! Rejected rows of a batch: one document each, by batch and row.

use async_trait::async_trait;

use super::Result;
use crate::model::{BatchId, Rejection};

/// Stores rejected rows.
#[async_trait]
pub trait RejectionStore: Send + Sync {
    /// Adds rejections; a row that is added twice is stored once.
    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()>;
    /// Lists rejections in row order, after a row.
    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>>;
    /// Deletes some rejections of a batch. Returns whether more may remain.
    async fn drop_rejections(&self, id: BatchId) -> Result<bool>;
}
