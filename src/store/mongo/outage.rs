//! Logs the outages of the server: one warning when one begins, one line when it ends, however many commands fail.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::{
    model::{CallFailure, Outage},
    store::{Result, StoreError},
};

/// Watches the results of all commands to one server.
pub(super) struct OutageLog {
    hosts: String,
    start: Instant,
    outage: Mutex<Outage>,
}

impl OutageLog {
    pub(super) fn new(hosts: String) -> Self {
        Self {
            hosts,
            start: Instant::now(),
            outage: Mutex::default(),
        }
    }

    /// Records the result of a command that began at `begun`; `writes` if it stores something. An error of an outage is
    /// returned as one that the log has.
    pub(super) fn record<T>(
        &self,
        result: Result<T>,
        failure: Option<CallFailure>,
        writes: bool,
        begun: Instant,
    ) -> Result<T> {
        let (begun, now) = (begun - self.start, self.start.elapsed());
        let mut outage = self.outage.lock().unwrap_or_else(PoisonError::into_inner);
        match (result, failure) {
            (Ok(value), _) => {
                if let Some(lasted) = outage.record_success(writes, begun, now) {
                    let (hosts, seconds) = (&self.hosts, lasted.as_secs_f64());
                    tracing::info!(
                        hosts,
                        seconds,
                        "MongoDB at {hosts} answers again after {seconds:.1} s"
                    );
                }
                Ok(value)
            }
            (Err(error), Some(failure)) => {
                if outage.record_failure(failure, begun, now) {
                    self.log_begin(&error, failure);
                }
                Err(error.of_known_outage())
            }
            (Err(error), None) => Err(error),
        }
    }

    fn log_begin(&self, error: &StoreError, failure: CallFailure) {
        let (hosts, fault) = (
            &self.hosts,
            match failure {
                CallFailure::Unreachable => "is unavailable",
                CallFailure::WritesRefused => "refuses writes",
            },
        );
        tracing::warn!(hosts, %error, "MongoDB at {hosts} {fault}: requests get 503 and jobs wait until it is back");
    }
}
