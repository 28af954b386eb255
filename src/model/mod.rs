//! The values of the service, and the pure transition functions of batches and jobs.
//! No IO, no async, no clock.

pub mod batch;
pub mod columns;
pub mod error_chain;
pub mod event;
pub mod id;
pub mod idempotency;
pub mod identity;
pub mod job;
pub mod outage;
pub mod profile;
pub mod proposal;
pub mod receipt;
pub mod rejection;
pub mod transfer;
pub mod version;
pub mod zone;

pub use batch::{Batch, BatchChange, BatchStatus, Published, RunCounts};
pub use columns::{ColumnRole, Columns};
pub use error_chain::with_causes;
pub use event::{EventBlock, TextColumn};
pub use id::{BatchId, Day, JobId, JobKind, RetryRequest, Slot};
pub use idempotency::{IdempotencyEntry, IdempotencyKey, IdempotencyOutcome};
pub use identity::{Content, Identity, IdentityBy, IdentityKey};
pub use job::{Job, JobChange, JobPhase, JobProgress, JobState, RunOutcome};
pub use outage::{CallFailure, Outage};
pub use profile::{Profile, ProfileName};
pub use proposal::{Evidence, Proposal, ProposalScope};
pub use receipt::{EventDigest, FileOrigin, Origin, Receipt, StreamOrigin};
pub use rejection::{Fault, FaultCode, Rejection};
pub use transfer::{Transfer, TransferId, TransferOutcome};
pub use version::version;

/// An instant of the wall clock.
pub type Instant = chrono::DateTime<chrono::Utc>;

/// The state of a batch or a job does not allow a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{change}` does not apply to {subject} which is {state}")]
pub struct TransitionRefused {
    /// The name of the change.
    pub change: &'static str,
    /// The batch or the job.
    pub subject: String,
    /// Its state.
    pub state: String,
}
