//! Idempotency keys: which batch the request with a key is about, and its outcome.

use async_trait::async_trait;

use super::Result;
use crate::model::{BatchId, IdempotencyEntry, IdempotencyKey, Instant};

/// Stores one entry per idempotency key.
#[async_trait]
pub trait IdempotencyStore: Send + Sync {
    /// Returns the entry of a key.
    async fn idempotency_entry(&self, key: IdempotencyKey) -> Result<Option<IdempotencyEntry>>;
    /// Adds an entry. Returns false, and changes nothing, if the key has one.
    async fn add_idempotency_entry(
        &self,
        key: IdempotencyKey,
        entry: &IdempotencyEntry,
    ) -> Result<bool>;
    /// Replaces the entry of a key if it is about `batch`. Returns whether it was.
    async fn replace_idempotency_entry(
        &self,
        key: IdempotencyKey,
        batch: BatchId,
        entry: &IdempotencyEntry,
    ) -> Result<bool>;
    /// Deletes the entry of a key if it is about `batch` and has no outcome.
    async fn release_idempotency_key(&self, key: IdempotencyKey, batch: BatchId) -> Result<()>;
    /// Deletes some entries opened before an instant. Returns whether more may remain.
    async fn prune_idempotency_entries(&self, before: Instant) -> Result<bool>;
}
