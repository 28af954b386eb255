//! The integration tests: one binary, a file a subject.

mod batches;
mod engine;
mod helpers;
mod metrics;
mod simulation;
mod store_contract;
mod uploads;
