//! The integration tests: one binary, a file a subject.

mod apalis_pitfalls;
mod batches;
mod cli;
mod cluster;
mod crash;
mod dispatch_contract;
mod dry_run;
mod engine;
mod errors;
mod events;
mod fixtures;
mod helpers;
mod identity;
mod keys;
mod layering;
mod limit;
mod metrics;
mod mongo_away;
mod page;
mod profiles;
mod queue;
mod readme;
mod redis_app;
mod simulation;
mod store_contract;
mod uploads;
