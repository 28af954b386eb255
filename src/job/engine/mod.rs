//! The life of a job, whatever its kind.
//!
//! ```text
//!        arm              acquire                  run ended
//!  (new) ----> queued -----------------> running --------------------> completed --arm--> queued
//!                ^   lease expired,        |  |
//!                |   released, retry,     |  +-- attempts or crashes spent --> dead --retry--> queued
//!                |   delay                |                                       \--discard-> discarded
//!                +------------------------+  +-- no longer needed -----------> cancelled
//! ```

mod backoff;
pub(super) mod reconciler;
mod renewal;
pub(super) mod runner;
mod settlement;
