//! Renews the lease of a run in a task of its own: a body that is busy for long at a time cannot delay it.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::task::JoinSet;

use crate::{
    clock::Clock,
    job::ProgressReporter,
    model::{Job, JobChange},
    store::{Changed, Store},
};

/// A future that ends when a lease is lost.
pub(super) type LeaseLost = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The lease of one run.
pub(super) struct Renewal {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    /// The job as it was acquired.
    pub(super) job: Job,
    /// Stored with each renewal.
    pub(super) progress: Arc<ProgressReporter>,
    /// Time between two renewals.
    pub(super) period: Duration,
}

impl Renewal {
    /// Starts a task of the runtime that renews the lease until it is lost or the future is dropped.
    pub(super) fn spawn(self) -> LeaseLost {
        // Dropping the set ends the task.
        let mut task = JoinSet::new();
        task.spawn(self.renew_until_lost());
        Box::pin(async move {
            // A renewal that panics renews no more, so its lease is as good as lost.
            if let Some(Err(error)) = task.join_next().await {
                tracing::error!(%error, "the renewal of a lease ended early, its run ends too");
            }
        })
    }

    /// Returns a future that renews the lease only while it is polled.
    pub(super) fn inline(self) -> LeaseLost {
        Box::pin(self.renew_until_lost())
    }

    async fn renew_until_lost(self) {
        loop {
            self.clock.sleep(self.period).await;
            let renew = JobChange::Renew {
                token: self.job.token,
                progress: self.progress.latest(),
            };
            let (id, now) = (self.job.id, self.clock.now());
            match self.store.change_job(id, &renew, now).await {
                Ok(Changed::Done(_)) => {}
                Ok(Changed::Refused(_) | Changed::Missing) => {
                    log_lease_lost(&self.job);
                    return;
                }
                // The lease may outlast the outage.
                Err(error) if error.is_known_outage() => {
                    tracing::debug!(job.id = %id, %error, "lease of job {id} could not be renewed, will try again")
                }
                Err(error) => {
                    tracing::warn!(job.id = %id, %error, "lease of job {id} could not be renewed, will try again")
                }
            }
        }
    }
}

/// Logs that a run ends: the token of the lost lease refuses all its further writes.
pub(super) fn log_lease_lost(job: &Job) {
    tracing::warn!(job.id = %job.id, token = job.token, "lease of job {} was lost to another worker, this run ends", job.id);
}
