//! What is kept of requests beside files: the keys that clients give them, and options under a name.

use async_trait::async_trait;

use super::Result;
use crate::model::{BatchId, Instant, KeyEntry, Profile, ProfileName, RequestKey};

/// Requests that clients have named, so that a repeated one is known.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Reads one.
    async fn key(&self, key: RequestKey) -> Result<Option<KeyEntry>>;
    /// Adds one; false if it is there, which is then left as it is.
    async fn open_key(&self, key: RequestKey, entry: &KeyEntry) -> Result<bool>;
    /// Replaces one that is about `batch`; false if there is none, or it is about another.
    async fn change_key(&self, key: RequestKey, batch: BatchId, entry: &KeyEntry) -> Result<bool>;
    /// Forgets one that is about `batch` and has come to nothing.
    async fn drop_key(&self, key: RequestKey, batch: BatchId) -> Result<()>;
    /// Forgets those that were opened before; true while there may be more.
    async fn prune_keys(&self, before: Instant) -> Result<bool>;
}

/// What became of a profile that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// There was none of this name.
    New,
    /// It took the place of another.
    Replaced,
    /// There are as many as may be.
    Full,
}

/// Named sets of upload options.
#[async_trait]
pub trait ProfileStore: Send + Sync {
    /// Adds one or replaces that of the same name. There are at most `most`, or a few more where several are added at
    /// one moment.
    async fn put_profile(&self, profile: &Profile, most: u64) -> Result<Put>;
    /// Reads one.
    async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>>;
    /// Profiles by name, after one.
    async fn profiles(&self, after: Option<&ProfileName>, limit: usize) -> Result<Vec<Profile>>;
    /// Removes one; false if there is none.
    async fn drop_profile(&self, name: &ProfileName) -> Result<bool>;
}
