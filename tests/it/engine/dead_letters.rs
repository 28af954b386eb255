//! The retry of all dead jobs, which is a job itself.

use std::time::Duration;

use tallymill::{
    job::NudgeResult,
    model::{BatchStatus, JobId, JobKind, JobState},
};

use super::{
    FEW,
    harness::{Fault, Harness},
    kill_at, run_until_dead,
};
use crate::helpers::now;

/// Returns the jobs of three batches, which are dead; each further run fails too.
fn dead_jobs(harness: &mut Harness) -> [JobId; 3] {
    harness.script.fail("scan_events", Some(Fault::Failed));
    let jobs = [1, 2, 3].map(|n| harness.ask(n, &FEW).1);
    for job in jobs {
        run_until_dead(harness, job);
    }
    harness.clock.advance(Duration::from_secs(1));
    jobs
}

fn retry_all(harness: &Harness, kind: Option<JobKind>) -> JobId {
    now(harness.service().retry_all(kind)).expect("the ledger is here")
}

fn states(harness: &Harness, jobs: [JobId; 3]) -> [JobState; 3] {
    jobs.map(|job| harness.job(job).state)
}

#[test]
fn a_retry_of_all_that_is_killed_retries_each_job_once() {
    let mut harness = Harness::new();
    let jobs = dead_jobs(&mut harness);
    let retry = retry_all(&harness, None);
    kill_at(&harness, retry, "record_audit");
    assert_eq!(states(&harness, jobs), [JobState::Queued; 3]);
    harness.clock.advance(Duration::from_secs(1));
    for job in jobs {
        run_until_dead(&harness, job);
    }
    let tokens = jobs.map(|job| harness.job(job).token);
    harness.expire();
    harness.wait_for(retry);
    assert_eq!(harness.run(retry), NudgeResult::Settled);
    assert_eq!(harness.job(retry).state, JobState::Completed);
    assert_eq!(states(&harness, jobs), [JobState::Dead; 3]);
    assert_eq!(jobs.map(|job| harness.job(job).token), tokens);

    harness.script.fail("scan_events", None);
    retry_all(&harness, None);
    harness.drain();
    assert_eq!(states(&harness, jobs), [JobState::Completed; 3]);
    for job in jobs {
        let batch = job.batch().expect("is of a batch");
        assert_eq!(harness.status(batch), BatchStatus::Completed);
    }
}

#[test]
fn a_retry_of_one_kind_leaves_the_others_dead() {
    let mut harness = Harness::new();
    let jobs = dead_jobs(&mut harness);
    let retry = retry_all(&harness, Some(JobKind::Undo));
    assert_eq!(harness.run(retry), NudgeResult::Settled);
    assert_eq!(states(&harness, jobs), [JobState::Dead; 3]);
    let retry = retry_all(&harness, Some(JobKind::Process));
    assert_eq!(harness.run(retry), NudgeResult::Settled);
    assert_eq!(states(&harness, jobs), [JobState::Queued; 3]);
}
