//! The bodies of the five kinds of job. Each may be stopped at any await and done again from its start.

mod claim;
pub mod cleanup;
mod fold;
pub mod process;
pub mod reprocess;
pub mod rollup;
pub mod undo;
