//! tallymill: event CSVs in, every row accounted for, daily metrics out.
//!
//! The modules are listed in the order in which a file travels; data flows down, never up.

pub mod clock;
pub mod model;
pub mod redis_client;

pub mod export;

pub mod receive;

pub mod parse;

pub mod ingest;

pub mod store;

pub mod sort;

pub mod metric;

pub mod transfer;

pub mod job;

pub mod query;

pub mod limit;

pub mod http;

pub mod config;

pub mod telemetry;

pub mod app;

pub mod cli;
