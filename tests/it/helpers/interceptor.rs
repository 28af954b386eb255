//! The hook of an intercepted store: blocks an actor, makes a verb fail, and observes outcomes.

use async_trait::async_trait;
use tallymill::store::Result;

/// Called before each verb; may wait, may refuse.
#[async_trait]
pub(crate) trait VerbInterceptor: Send + Sync {
    async fn before_verb(&self, verb: &'static str) -> Result<()>;

    /// Called with what a verb did.
    fn observed(&self, _: Observation) {}
}

/// A rare outcome. Tests count them to prove that histories reach them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Observation {
    /// A claim was taken over from a deleted batch.
    TakeOver,
    /// A claim was lost to another batch.
    LostClaim,
    /// A run was not allowed to publish.
    PublishRefused,
    /// A worker was not allowed to settle.
    SettleRefused,
    /// A run continued after an earlier run had published.
    Resumed,
    /// A run failed and is retried.
    Retry,
    /// A job died.
    Dead,
    /// A stopping worker released its job.
    Released,
    /// A lease expired.
    Expire,
    /// A batch was deleted during a run.
    UndoWhileProcessing,
    /// A file was uploaded again.
    Reupload,
    /// A loser was requested to count again.
    Recount,
}

impl Observation {
    pub(crate) const ALL: [Self; 12] = [
        Self::TakeOver,
        Self::LostClaim,
        Self::PublishRefused,
        Self::SettleRefused,
        Self::Resumed,
        Self::Retry,
        Self::Dead,
        Self::Released,
        Self::Expire,
        Self::UndoWhileProcessing,
        Self::Reupload,
        Self::Recount,
    ];
}
