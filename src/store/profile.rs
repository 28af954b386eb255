//! Profiles: named sets of upload options.

use async_trait::async_trait;

use super::Result;
use crate::model::{Profile, ProfileName};

/// The outcome of storing a profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutProfileOutcome {
    /// The name was free.
    Created,
    /// A profile of that name was replaced.
    Replaced,
    /// The name was free, but the maximum number of profiles is reached.
    LimitReached,
}

/// Stores profiles.
#[async_trait]
pub trait ProfileStore: Send + Sync {
    /// Adds a profile or replaces that of the same name. Concurrent additions may exceed `limit` by a few.
    async fn put_profile(&self, profile: &Profile, limit: u64) -> Result<PutProfileOutcome>;
    /// Returns a profile.
    async fn profile(&self, name: &ProfileName) -> Result<Option<Profile>>;
    /// Lists profiles by name, after one.
    async fn profiles(&self, after: Option<&ProfileName>, limit: usize) -> Result<Vec<Profile>>;
    /// Deletes a profile. Returns whether it existed.
    async fn drop_profile(&self, name: &ProfileName) -> Result<bool>;
}
