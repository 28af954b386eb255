//! `worker`: runs jobs only. Refused with the embedded store, which only one process can open.

use std::process::ExitCode;

use super::{refused, serve};
use crate::{app::Role, config::Config};

/// Runs jobs until a signal.
pub async fn run(config: Config) -> ExitCode {
    if !config.has_shared_store() {
        return refused(
            &"a worker beside other processes needs a store they share: set MONGO_URI, and REDIS_URL for a quick start of its jobs; \
              without them run `tallymill serve`, which works on its jobs itself (WORKER_CONCURRENCY sets how many at once)",
        );
    }
    serve::run(config, Role::Worker).await
}
