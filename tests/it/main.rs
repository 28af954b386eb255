//! The integration tests: one binary, a file a subject.

mod batches;
mod cli;
mod crash;
mod fixtures;
mod helpers;
mod layering;
mod metrics;
mod page;
mod simulation;
mod uploads;
