//! Nudges jobs when they become due, so that a retry does not wait for the next pass of the reconciler. Timers are lost
//! at a restart, and beyond a bound; the reconciler finds their jobs due.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Dispatch, DispatchError};
use crate::{clock::Clock, model::JobId};

/// Most timers that run at once.
const MAX_TIMERS: usize = 1_000;
/// Requests that wait to become timers.
const MAX_REQUESTS: usize = 100;

/// A queue with timers.
struct TimedDispatch {
    dispatch: Arc<dyn Dispatch>,
    requests: mpsc::Sender<(JobId, Duration)>,
}

/// The timers of a queue. None runs before [`NudgeTimers::run`].
pub struct NudgeTimers {
    dispatch: Arc<dyn Dispatch>,
    clock: Arc<dyn Clock>,
    requests: mpsc::Receiver<(JobId, Duration)>,
}

/// Adds timers to a queue that nudges at once.
#[must_use]
pub fn timed(
    dispatch: Arc<dyn Dispatch>,
    clock: Arc<dyn Clock>,
) -> (Arc<dyn Dispatch>, NudgeTimers) {
    let (sender, requests) = mpsc::channel(MAX_REQUESTS);
    let timers = NudgeTimers {
        dispatch: Arc::clone(&dispatch),
        clock,
        requests,
    };
    let timed = TimedDispatch {
        dispatch,
        requests: sender,
    };
    (Arc::new(timed), timers)
}

#[async_trait]
impl Dispatch for TimedDispatch {
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
        self.dispatch.nudge(job).await
    }

    fn nudge_after(&self, job: JobId, wait: Duration) {
        if self.requests.try_send((job, wait)).is_err() {
            tracing::debug!(job.id = %job, "no timer for job {job}, the reconciler will nudge it");
        }
    }

    fn kind(&self) -> &'static str {
        self.dispatch.kind()
    }

    async fn answers(&self) -> bool {
        self.dispatch.answers().await
    }
}

impl NudgeTimers {
    /// Nudges each job when its wait is over, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let clock = self.clock.as_ref();
        let mut waiting = FuturesUnordered::new();
        loop {
            tokio::select! {
                request = self.requests.recv() => {
                    let Some((job, wait)) = request else { return };
                    if waiting.len() >= MAX_TIMERS {
                        tracing::debug!(job.id = %job, "{MAX_TIMERS} timers run, the reconciler will nudge job {job}");
                        continue;
                    }
                    waiting.push(async move {
                        clock.sleep(wait).await;
                        job
                    });
                }
                Some(job) = waiting.next() => {
                    if let Err(error) = self.dispatch.nudge(job).await {
                        tracing::debug!(job.id = %job, %error, "nudge of job {job} failed, the reconciler will repeat it");
                    }
                }
                () = stop.cancelled() => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::{clock::Fixed, model::Slot};

    /// A queue that passes its nudges to the test.
    struct Nudges(mpsc::UnboundedSender<JobId>);

    #[async_trait]
    impl Dispatch for Nudges {
        async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
            self.0.send(job).expect("the test receives");
            Ok(())
        }
    }

    fn job(n: i64) -> JobId {
        JobId::Cleanup(Slot(n))
    }

    #[tokio::test]
    async fn jobs_are_nudged_when_they_are_due() {
        let (sender, mut nudged) = mpsc::unbounded_channel();
        let (clock, stop) = (Fixed::default(), CancellationToken::new());
        let (dispatch, timers) = timed(Arc::new(Nudges(sender)), Arc::new(clock.clone()));
        dispatch.nudge_after(job(2), Duration::from_secs(20));
        dispatch.nudge_after(job(1), Duration::from_secs(10));
        dispatch.nudge_after(job(0), Duration::ZERO);
        let mut running = JoinSet::new();
        running.spawn(timers.run(stop.clone()));
        // The wait of the last request is over only once the others are timers.
        assert_eq!(nudged.recv().await, Some(job(0)));
        assert!(nudged.try_recv().is_err());
        for n in [1, 2] {
            clock.advance(Duration::from_secs(10));
            assert_eq!(nudged.recv().await, Some(job(n)));
            assert!(nudged.try_recv().is_err());
        }
        stop.cancel();
        running.join_all().await;
    }

    #[tokio::test]
    async fn timers_beyond_the_bound_are_dropped() {
        let (sender, mut nudged) = mpsc::unbounded_channel();
        let (clock, stop) = (Fixed::default(), CancellationToken::new());
        let (dispatch, timers) = timed(Arc::new(Nudges(sender)), Arc::new(clock.clone()));
        let mut running = JoinSet::new();
        running.spawn(timers.run(stop.clone()));
        for n in 0..MAX_TIMERS as i64 + 50 {
            dispatch.nudge_after(job(n), Duration::from_secs(10));
            tokio::task::yield_now().await;
        }
        clock.advance(Duration::from_secs(10));
        for _ in 0..MAX_TIMERS {
            nudged.recv().await.expect("a nudge");
        }
        stop.cancel();
        running.join_all().await;
        assert!(nudged.try_recv().is_err());
    }
}
