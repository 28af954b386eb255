//! What is kept of requests beside batches: the keys that clients give them, options under a name, and files that
//! arrive in parts.

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;
use crate::model::{
    BatchId, Instant, KeyEntry, Profile, ProfileName, RequestKey, Transfer, TransferId,
    TransferOutcome,
};

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

/// What became of a part that was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// It is durable, and the file ends here now.
    Until(u64),
    /// The file ends elsewhere, since another part was ahead.
    Elsewhere(u64),
    /// There is no such file, or nothing more is taken of it.
    Closed,
}

/// How much may be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Files.
    pub transfers: u64,
    /// Bytes of all of them when they are whole.
    pub bytes: u64,
}

/// Files that arrive in parts.
#[async_trait]
pub trait TransferStore: Send + Sync {
    /// Adds one; false if there is no room for it beside those without an outcome. Where several are added at one
    /// moment a few more may get in.
    async fn open_transfer(&self, transfer: &Transfer, room: Room) -> Result<bool>;
    /// Reads one, and where it ends so far.
    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>>;
    /// Appends a part that begins where the file ends, and makes it durable.
    async fn append_part(
        &self,
        id: TransferId,
        start: u64,
        bytes: Bytes,
        now: Instant,
    ) -> Result<Appended>;
    /// Reads the part that begins there.
    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>>;
    /// Writes down what it came to, unless that is known already; false if it was, or there is none.
    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool>;
    /// Removes its parts; nothing is appended to one with an outcome.
    async fn drop_parts(&self, id: TransferId) -> Result<()>;
    /// Forgets one of which nothing has arrived since, with its parts; true while there may be more.
    async fn prune_transfers(&self, before: Instant) -> Result<bool>;
}
