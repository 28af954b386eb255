//! What stands before a staged store: it may hold an actor up, make a verb fail, and count what happens.

use async_trait::async_trait;
use tallymill::store::Result;

/// Asked before each verb: may wait, may refuse.
#[async_trait]
pub(crate) trait Gate: Send + Sync {
    async fn pass(&self, verb: &'static str) -> Result<()>;

    /// Told what came of a verb.
    fn saw(&self, _: Seen) {}
}

/// Something that happened, for a test that wants to know that it does happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// A claim was taken over from a batch that is gone.
    TakeOver,
    /// A claim was lost to another batch.
    LostClaim,
    /// A run was not allowed to publish.
    PublishRefused,
    /// A worker was not allowed to settle.
    SettleRefused,
    /// A run went on where one before it had published.
    Resumed,
    /// A run failed and will be tried again.
    Retry,
    /// A job was given up.
    Dead,
    /// A worker that stops gave its job back.
    HandedBack,
    /// A lease ran out.
    Lapse,
    /// A batch was taken back while a run was at it.
    UndoWhileProcessing,
    /// A file came again while the first was there.
    Reupload,
    /// A loser was asked to count anew.
    Recount,
}

impl Seen {
    pub(crate) const ALL: [Self; 12] = [
        Self::TakeOver,
        Self::LostClaim,
        Self::PublishRefused,
        Self::SettleRefused,
        Self::Resumed,
        Self::Retry,
        Self::Dead,
        Self::HandedBack,
        Self::Lapse,
        Self::UndoWhileProcessing,
        Self::Reupload,
        Self::Recount,
    ];
}
