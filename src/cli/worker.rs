//! `worker`: jobs only, beside other processes. An embedded store has one process, so there is none here.

use std::process::ExitCode;

use super::refused;

/// Says why it can't.
pub fn run() -> ExitCode {
    refused(
        &"a worker beside other processes needs a store they share, named by MONGO_URI, which this version \
          does not have yet: run `tallymill serve`, which works on its jobs itself (WORKER_CONCURRENCY sets how many at once)",
    )
}
