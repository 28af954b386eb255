//! Rejected rows: one document per row, identified by batch and row number.

use async_trait::async_trait;

use super::Result;
use crate::model::{BatchId, Rejection};

/// Stores rejected rows.
#[async_trait]
pub trait RejectionStore: Send + Sync {
    /// Stores rejections of a batch; a row that is appended twice is stored once.
    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()>;
    /// Lists the first `limit` rejections of a batch after row `after`, in row order.
    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>>;
    /// Deletes some rejections of a batch. Returns whether more may remain.
    async fn drop_rejections(&self, id: BatchId) -> Result<bool>;
}
