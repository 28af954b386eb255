//! tallymill: event CSVs in, every row accounted for, daily metrics out.
//!
//! The modules are listed in the order in which a file travels; data flows down, never up.

pub mod clock;
pub mod ingest;
pub mod job;
pub mod metric;
pub mod model;
pub mod parse;
pub mod query;
pub mod receive;
pub mod sort;
pub mod store;
