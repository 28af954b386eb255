//! Keeps a worker going: apalis ends one for good at its first error, so another takes its place.

use std::{future::Future, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// First wait before a worker that ended is started again; doubled up to [`LONGEST_RESTART`].
const RESTART: Duration = Duration::from_millis(200);
/// Longest wait before a worker that ended is started again.
const LONGEST_RESTART: Duration = Duration::from_secs(10);

/// Runs workers, one after the other, until `stop`. Each has a name of its own.
pub(super) async fn supervise<F, E>(
    what: &str,
    stop: &CancellationToken,
    mut start: impl FnMut(String) -> F,
) where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    let (workers, mut wait) = (TaskTracker::new(), RESTART);
    for n in 0_u64.. {
        let ended = workers.spawn(start(format!("{what}-{n}"))).await;
        if stop.is_cancelled() {
            return;
        }
        let why = match ended {
            Ok(Ok(())) => "no reason given".into(),
            Ok(Err(why)) => why.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::warn!(
            worker = what,
            why,
            "the worker of {what} ended and is started again in {wait:?}"
        );
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        wait = (wait * 2).min(LONGEST_RESTART);
    }
}
