//! tallymill: event CSVs in, every row accounted for, daily metrics out.
//!
//! Each module uses only modules above it; `tests/it/layering.rs` holds the rule, `ARCHITECTURE.md` has the map.

// Used by every stage.
pub mod model;

pub mod clock;

pub mod redis_client;

// From the bytes of a file to rows.
pub mod export;

pub mod receive;

pub mod parse;

// From rows to stored batches.
pub mod metric;

pub mod store;

pub mod ingest;

pub mod transfer;

// From stored batches to figures.
pub mod sort;

pub mod job;

// What users reach.
pub mod query;

pub mod limit;

pub mod http;

// The process.
pub mod config;

pub mod telemetry;

pub mod app;

pub mod cli;
