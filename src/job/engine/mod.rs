//! What happens to a job whatever it is about.
//!
//! ```text
//!        arm                 claim                    work done
//!  (new) ----> queued -----------------> running --------------------> completed --arm--> queued
//!                ^   lease lapsed, handed   |  |
//!                |   back, retry, delay     |  +-- attempts or crashes spent --> dead --retry--> queued
//!                +--------------------------+  +-- no longer wanted ----------> cancelled    \-discard-> discarded
//! ```

pub mod backoff;
pub mod desk;
pub mod runner;
pub mod sweep;
