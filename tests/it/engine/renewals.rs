//! The lease of a run is renewed beside its body, however busy the body is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tallymill::{
    clock::{Clock, Fixed, System},
    job::{JobBodies, JobContext, NudgeResult, RunEnd, RunError},
    model::JobId,
    store::{Result, Store},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    FEW,
    harness::{Harness, Script},
};

/// Renewals that each body waits for.
const RENEWALS: u32 = 3;
/// Longest wait of a body, which is spent only if its lease is not renewed.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A body that never waits: one blocks its thread, the other yields only when its budget is used up.
struct BusyBody {
    script: Arc<Script>,
    clock: Fixed,
    blocks: bool,
}

#[async_trait]
impl JobBodies for BusyBody {
    async fn run(&self, _: JobId, _: &JobContext<'_>) -> std::result::Result<RunEnd, RunError> {
        let time = System::start();
        // One change acquires the lease.
        while self.script.passed("change_job") <= RENEWALS {
            assert!(time.elapsed() < TIMEOUT, "the lease is not renewed");
            self.clock.advance(Duration::from_secs(10));
            if self.blocks {
                std::thread::yield_now();
            } else {
                tokio::task::consume_budget().await;
            }
        }
        Ok(RunEnd::Completed)
    }

    async fn is_short(&self, _: JobId, _: &dyn Store) -> Result<bool> {
        Ok(false)
    }

    async fn end_without_run(&self, _: JobId, _: &JobContext<'_>) -> Result<Option<RunEnd>> {
        Ok(None)
    }

    async fn abandon(&self, _: JobId, _: &JobContext<'_>, _: &str) -> Result<()> {
        Ok(())
    }
}

#[test]
fn a_busy_body_keeps_its_lease() {
    for blocks in [false, true] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .build()
            .expect("a runtime");
        let harness = Harness::new();
        let (_, job) = harness.ask(1, &FEW);
        let body = BusyBody {
            script: Arc::clone(&harness.script),
            clock: harness.clock.clone(),
            blocks,
        };
        let runner = harness.runner(Arc::new(body), "boot-1/busy", CancellationToken::new());
        let ran = runtime.block_on(async move {
            let mut run = JoinSet::new();
            run.spawn(async move { runner.run(job).await });
            run.join_next().await.expect("a run")
        });
        assert_eq!(ran.expect("no panic"), NudgeResult::Settled, "{blocks}");
    }
}
