//! The nouns of the service: plain values and the two transition functions.
//! No IO, no async, no clock: everything here can be checked by reading it.

pub mod batch;
pub mod columns;
pub mod event;
pub mod id;
pub mod idempotency;
pub mod identity;
pub mod job;
pub mod profile;
pub mod receipt;
pub mod rejection;
pub mod transfer;

pub use batch::{Batch, BatchChange, BatchStatus, Published, RunCounts};
pub use columns::{ColumnRole, Columns};
pub use event::{EventBlock, TextColumn};
pub use id::{BatchId, Day, JobId, JobKind, Slot};
pub use idempotency::{IdempotencyEntry, IdempotencyKey, IdempotencyOutcome};
pub use identity::{Content, Identity, IdentityBy, IdentityKey};
pub use job::{Job, JobChange, JobPhase, JobProgress, JobState, RunOutcome};
pub use profile::{Profile, ProfileName};
pub use receipt::{FileOrigin, Origin, Receipt, StreamOrigin};
pub use rejection::{Fault, FaultCode, Rejection};
pub use transfer::{Transfer, TransferId, TransferOutcome};

/// A wall-clock instant as documents carry it.
pub type Instant = chrono::DateTime<chrono::Utc>;

/// Why a document did not change: the state it was found in does not allow it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{change}` does not apply to {subject} which is {state}")]
pub struct TransitionRefused {
    /// What was asked for.
    pub change: &'static str,
    /// What it was asked of.
    pub subject: String,
    /// The state that refused it.
    pub state: String,
}
