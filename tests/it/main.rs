//! The integration tests: one binary, a file a subject.

mod engine;
mod helpers;
mod simulation;
mod store_contract;
