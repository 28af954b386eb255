//! Two lanes of a queue. Every worker of the main lane may be busy with large batches for an hour; one further worker, of
//! the express lane, runs only what is short, so that an undo or a small batch does not wait for them.
//!
//! A nudge that may be of a short job goes to both lanes. The express worker drops those of long jobs; the lease makes
//! sure that one worker runs a job that both receive.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    job::{Dispatch, DispatchError},
    model::JobId,
};

/// The sending half of both lanes.
pub(super) struct Lanes {
    pub(super) main: Arc<dyn Dispatch>,
    pub(super) express: Arc<dyn Dispatch>,
}

/// Whether some jobs of this kind are short.
fn may_be_short(job: JobId) -> bool {
    match job {
        JobId::Process(_) | JobId::Undo(_) | JobId::Rollup(_) => true,
        JobId::Reprocess(_) | JobId::Cleanup(_) | JobId::Retry(_) => false,
    }
}

#[async_trait]
impl Dispatch for Lanes {
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
        let main = self.main.nudge(job).await;
        if main.is_ok() && may_be_short(job) {
            // The main lane has it, so this is no failure.
            let _ = self.express.nudge(job).await;
        }
        main
    }

    fn kind(&self) -> &'static str {
        self.main.kind()
    }

    async fn answers(&self) -> bool {
        self.main.answers().await
    }
}
