//! The integration tests: one binary, a file a subject.

mod batches;
mod cli;
mod crash;
mod engine;
mod fixtures;
mod helpers;
mod layering;
mod metrics;
mod page;
mod simulation;
mod store_contract;
mod uploads;
