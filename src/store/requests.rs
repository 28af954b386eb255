//! What is kept of requests beside batches: the keys that clients give them, options under a name, and files that
//! arrive in parts.

use async_trait::async_trait;
use bytes::Bytes;

use super::Result;
use crate::model::{
    BatchId, Instant, KeyEntry, Profile, ProfileName, RequestKey, Transfer, TransferId,
    TransferOutcome, transfer,
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

/// What became of a file that was to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It is there, and empty.
    Open,
    /// There is no room for it, at least until the first of the others is forgotten or done.
    Full(Instant),
    /// Nor for another of its sender.
    SenderFull(Instant),
}

/// A part of a file.
#[derive(Debug, Clone)]
pub struct Part {
    /// Where it begins.
    pub start: u64,
    /// What is in it.
    pub bytes: Bytes,
    /// When it arrived.
    pub at: Instant,
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
    /// The file has as many parts as it may have.
    TooManyParts,
    /// There is no room for its bytes, at least until the first of the others is forgotten or done.
    Full(Instant),
}

/// How much may be on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Files.
    pub transfers: u64,
    /// Files of one sender.
    pub of_sender: u64,
    /// Bytes that have arrived of all of them.
    pub bytes: u64,
    /// Parts of one file.
    pub parts: u64,
}

/// A file without an outcome, as far as room is concerned.
pub(super) struct Underway {
    pub(super) sender: Option<String>,
    pub(super) end: u64,
    pub(super) moved_at: Instant,
}

impl Room {
    /// Whether another file fits beside these.
    pub(super) fn for_file(&self, others: &[Underway], sender: Option<&str>) -> Begun {
        let full = others.len() as u64 >= self.transfers || stored(others) >= self.bytes;
        let own = || {
            let named = others.iter().filter(|_| sender.is_some());
            named.filter(|other| other.sender.as_deref() == sender)
        };
        if own().count() as u64 >= self.of_sender
            && let Some(until) = first_gone(own())
        {
            return Begun::SenderFull(until);
        }
        match first_gone(others.iter()) {
            Some(until) if full => Begun::Full(until),
            Some(_) | None => Begun::Open,
        }
    }

    /// Until when so many more bytes don't fit beside these; none if they do.
    pub(super) fn no_bytes_until(&self, others: &[Underway], more: u64) -> Option<Instant> {
        let full = stored(others).saturating_add(more) > self.bytes;
        first_gone(others.iter()).filter(|_| full)
    }
}

fn stored(files: &[Underway]) -> u64 {
    let bytes = files.iter().map(|file| file.end);
    bytes.fold(0, u64::saturating_add)
}

fn first_gone<'a>(files: impl Iterator<Item = &'a Underway>) -> Option<Instant> {
    files
        .map(|file| transfer::expires_at(file.moved_at, file.end))
        .min()
}

/// Files that arrive in parts.
#[async_trait]
pub trait TransferStore: Send + Sync {
    /// Adds one if there is room for it beside those without an outcome. Where several are added at one moment a few
    /// more may get in.
    async fn open_transfer(&self, transfer: &Transfer, room: Room) -> Result<Begun>;
    /// Reads one, and where it ends so far.
    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>>;
    /// Appends a part that begins where the file ends, and makes it durable. Where several are appended at one moment
    /// a few more than there is room for may get in.
    async fn append_part(&self, id: TransferId, part: Part, room: Room) -> Result<Appended>;
    /// Reads the part that begins there.
    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>>;
    /// Writes down what it came to, unless that is known already; false if it was, or there is none.
    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool>;
    /// Removes its parts; nothing is appended to one with an outcome.
    async fn drop_parts(&self, id: TransferId) -> Result<()>;
    /// Forgets one that has expired, with its parts; true while there may be more. In the end removes parts of files
    /// that take no more.
    async fn prune_transfers(&self, now: Instant) -> Result<bool>;
}
