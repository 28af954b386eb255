//! Claims: which batch counts which event identity, and the overlaps between batches that follow from it.

use async_trait::async_trait;

use super::Result;
use crate::model::{BatchId, Content, IdentityKey};

/// A row that asks to count an identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The identity.
    pub key: IdentityKey,
    /// The row that has it.
    pub row: u32,
    /// The digest of the row's content.
    pub content: Content,
}

/// A claim that was refused because another row owns the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForeignClaim {
    /// The index of the refused claim in the request.
    pub index: usize,
    /// The batch that owns the identity.
    pub owner: BatchId,
    /// The owner's row.
    pub row: u32,
    /// The digest of the owner's content.
    pub content: Content,
}

/// A row that is not counted because another row owns its identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Loss {
    /// The row that is not counted.
    pub row: u32,
    /// The row that is counted.
    pub original_row: u32,
    /// Whether the contents of the two rows differ.
    pub conflict: bool,
}

/// The rows of one batch that are not counted because another batch owns their identities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The batch whose rows are not counted.
    pub loser: BatchId,
    /// The batch that owns the identities; equal to `loser` for repeats within one file.
    pub owner: BatchId,
    /// Number of rows with equal content.
    pub duplicates: u64,
    /// Number of rows with different content.
    pub conflicts: u64,
    /// At most [`Overlap::SAMPLES`] of the rows: conflicts first, then by row.
    pub samples: Vec<Loss>,
}

impl Overlap {
    /// Most rows listed with an overlap; its counts are of all rows.
    pub const SAMPLES: usize = 100;
}

/// Stores claims and overlaps.
#[async_trait]
pub trait ClaimStore: Send + Sync {
    /// Claims identities, given in key order, that have no owner. A claim already owned by the same batch and row
    /// succeeds. Returns the claims that were refused.
    async fn claim(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<ForeignClaim>>;
    /// Transfers identities that `from`, a void batch, still owns; claims the others as [`ClaimStore::claim`] does.
    /// Returns the claims that were refused.
    async fn take_over(
        &self,
        id: BatchId,
        from: BatchId,
        claims: &[Claim],
    ) -> Result<Vec<ForeignClaim>>;
    /// Releases those of these identities that the batch owns.
    async fn release(&self, id: BatchId, keys: &[IdentityKey]) -> Result<()>;
    /// Returns the indices of the claims that the batch does not own for that row.
    async fn unowned_claims(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<usize>>;
    /// Stores overlaps; replaces those of the same loser and owner.
    async fn put_overlaps(&self, overlaps: &[Overlap]) -> Result<()>;
    /// Lists the overlaps of a loser by owner, after one owner.
    async fn overlaps_of_loser(
        &self,
        loser: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>>;
    /// Lists the overlaps of an owner by loser, after one loser.
    async fn overlaps_of_owner(
        &self,
        owner: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>>;
    /// Deletes all overlaps of a batch, as loser and as owner.
    async fn drop_overlaps(&self, id: BatchId) -> Result<()>;
}
