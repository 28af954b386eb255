//! The integration tests: one binary, a file a subject.

mod batches;
mod helpers;
mod metrics;
mod simulation;
mod uploads;
