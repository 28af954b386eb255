//! The life of a job: armed in the ledger, acquired under a lease, run, settled.
//! The ledger is the truth; the queue carries job ids only, and may lose, delay or repeat them.

pub mod apalis;
mod body;
mod context;
mod engine;
mod limits;
mod queue;
mod retry;
pub mod schedule;
mod service;
mod timer;
pub mod work;

pub use body::{JobBodies, RunEnd, RunError};
pub use context::{JobContext, ProgressReporter};
pub use engine::{
    reconciler::Reconciler,
    runner::{NudgeResult, Runner},
};
pub use limits::JobLimits;
pub use queue::{Dispatch, DispatchError, JobQueue};
pub use service::{DeletionOutcome, JobService, KeyedOutcome};
pub use timer::{NudgeTimers, timed};
