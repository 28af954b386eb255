//! Replaces workers, since apalis ends a worker for good at its first error.

use std::{future::Future, time::Duration};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// First wait before an ended worker is replaced; doubled up to [`LONGEST_RESTART`].
const RESTART: Duration = Duration::from_millis(200);
/// Longest wait before an ended worker is replaced.
const LONGEST_RESTART: Duration = Duration::from_secs(3);
/// Age at which a worker counts as healthy, so that its end is a new incident.
const HEALTHY_AGE: Duration = Duration::from_secs(10);

/// Runs workers, one after the other, until `stop`. Each has its own name, since apalis refuses one that is in use.
pub(super) async fn supervise<F, E>(
    name_prefix: &str,
    stop: &CancellationToken,
    mut start: impl FnMut(String) -> F,
) where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: std::fmt::Display + Send + 'static,
{
    // Dropping the set ends the worker.
    let (mut worker, mut wait) = (JoinSet::new(), RESTART);
    for n in 0_u64.. {
        worker.spawn(start(format!("{name_prefix}-{n}")));
        let ended = tokio::select! {
            ended = worker.join_next() => ended,
            () = tokio::time::sleep(HEALTHY_AGE) => {
                if wait != RESTART {
                    tracing::info!("queue worker is healthy again");
                }
                wait = RESTART;
                worker.join_next().await
            }
        };
        if stop.is_cancelled() {
            return;
        }
        let reason = match ended {
            None | Some(Ok(Ok(()))) => "no reason given".into(),
            Some(Ok(Err(error))) => error.to_string(),
            Some(Err(panic)) => panic.to_string(),
        };
        // One warning per incident: the following ends would repeat it every few seconds.
        if wait == RESTART {
            tracing::warn!(
                reason,
                "queue worker ended, replacing it until a worker stays up"
            );
        } else {
            tracing::debug!(reason, "queue worker ended again, replacing it");
        }
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
        wait = (wait * 2).min(LONGEST_RESTART);
    }
}
