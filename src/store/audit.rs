//! The audit log of admin actions: written, never read by the service.

use async_trait::async_trait;

use super::Result;
use crate::model::Instant;

/// One admin action.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    /// When it happened.
    pub at: Instant,
    /// The address of the client that sent the request, as far as known.
    pub actor: String,
    /// The name of the action.
    pub action: String,
    /// The job or queue that it applies to.
    pub subject: String,
    /// The result of the action.
    pub result: String,
}

/// Records admin actions.
#[async_trait]
pub trait AuditStore: Send + Sync {
    /// Appends an entry.
    async fn record_audit(&self, entry: &AuditEntry) -> Result<()>;
    /// Deletes some entries from before an instant. Returns whether more may remain.
    async fn prune_audit(&self, before: Instant) -> Result<bool>;
}
