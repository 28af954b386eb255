//! When a job is abandoned, and what happens to its batch then.

use tallymill::model::{BatchStatus, JobId, JobState};

use super::{
    FEW, figures_of_few,
    harness::{Fault, Harness},
    kill_at, run_until_dead,
};
use crate::helpers::now;

/// Kills workers until the last allowed crash, which happens at a verb of the run.
fn crash_last_at(harness: &mut Harness, job: JobId, verb: &'static str) {
    for crash in 1..=5 {
        harness.wait_for(job);
        kill_at(harness, job, if crash == 5 { verb } else { "scan_events" });
        harness.expire();
    }
    harness.wait_for(job);
    harness.run(job);
}

#[test]
fn a_job_whose_work_is_done_is_not_abandoned() {
    let mut harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    // Between the end of the batch and the settlement.
    crash_last_at(&mut harness, job, "drop_stale_partials");
    assert_eq!(harness.status(id), BatchStatus::Completed);
    assert_eq!(harness.job(job).state, JobState::Completed);
    let (_, undo) = (now(harness.service().delete(id)), JobId::Undo(id));
    for _ in 0..5 {
        harness.wait_for(undo);
        kill_at(&harness, undo, "mark_days");
        harness.expire();
    }
    assert_eq!(harness.job(undo).state, JobState::Queued);
    harness.wait_for(undo);
    harness.run(undo);
    assert_eq!(harness.job(undo).state, JobState::Dead, "work is left");
}

#[test]
fn published_figures_of_an_abandoned_batch_reach_their_days() {
    let mut harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    // Between the publication and the marks.
    crash_last_at(&mut harness, job, "mark_days");
    assert_eq!(harness.status(id), BatchStatus::Failed);
    assert!(harness.batch(id).published.is_some());
    harness.pass();
    harness.pass();
    harness.drain();
    assert_eq!(harness.figures(), figures_of_few());
}

#[test]
fn deletion_of_a_failed_batch_withdraws_its_dead_letter() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.fail("scan_events", Some(Fault::Failed));
    run_until_dead(&harness, job);
    assert_eq!(harness.job(job).state, JobState::Dead);
    harness.script.fail("scan_events", None);
    now(harness.service().delete(id)).expect("the ledger is here");
    harness.drain();
    assert_eq!(harness.status(id), BatchStatus::Deleted);
    assert_eq!(harness.job(job).state, JobState::Cancelled);
}

#[test]
fn a_job_whose_batch_cannot_be_decoded_is_a_dead_letter() {
    let harness = Harness::new();
    let (_, job) = harness.ask(1, &FEW);
    for verb in ["batch", "change_batch"] {
        harness.script.fail(verb, Some(Fault::Corrupt));
    }
    harness.run(job);
    assert_eq!(harness.job(job).state, JobState::Dead);
}
