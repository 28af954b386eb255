//! Keeps a worker going: apalis ends one for good at its first error, so another takes its place.

use std::{future::Future, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// First wait before a worker that ended is started again; doubled up to [`LONGEST_RESTART`].
const RESTART: Duration = Duration::from_millis(200);
/// Longest wait before a worker that ended is started again: what it lacks may be back for so long.
const LONGEST_RESTART: Duration = Duration::from_secs(3);
/// A worker that has lived for so long was well: what ends it is news.
const STEADY: Duration = Duration::from_secs(10);

/// Runs workers, one after the other, until `stop`. Each has a name of its own.
pub(super) async fn supervise<F, E>(
    what: &str,
    names: &str,
    stop: &CancellationToken,
    mut start: impl FnMut(String) -> F,
) where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    // Whoever drops this ends the worker too.
    let (mut worker, mut wait) = (JoinSet::new(), RESTART);
    for n in 0_u64.. {
        worker.spawn(start(format!("{names}-{n}")));
        let ended = tokio::select! {
            ended = worker.join_next() => ended,
            () = tokio::time::sleep(STEADY) => {
                if wait != RESTART {
                    tracing::info!(worker = what, "the worker of {what} is well again");
                }
                wait = RESTART;
                worker.join_next().await
            }
        };
        if stop.is_cancelled() {
            return;
        }
        let why = match ended {
            None | Some(Ok(Ok(()))) => "no reason given".into(),
            Some(Ok(Err(why))) => why.to_string(),
            Some(Err(panic)) => panic.to_string(),
        };
        // The first of a row says it; the others would say the same every few seconds.
        if wait == RESTART {
            tracing::warn!(
                worker = what,
                why,
                "the worker of {what} ended and is started again, until it lives"
            );
        } else {
            tracing::debug!(worker = what, why, "the worker of {what} ended again");
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        wait = (wait * 2).min(LONGEST_RESTART);
    }
}
