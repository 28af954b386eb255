//! The promises of the service for requests: once the ledger has a change, the answer is not an error.

use tallymill::{
    job::DeletionOutcome,
    model::{BatchStatus, JobId, JobState},
    store::Changed,
};

use super::{
    FEW,
    harness::{Fault, Harness},
    run_until_dead,
};
use crate::helpers::now;

#[test]
fn a_change_that_is_made_is_answered_though_arming_fails() {
    let mut harness = Harness::new();
    let id = harness.upload(1, &FEW);
    let (process, undo) = (JobId::Process(id), JobId::Undo(id));
    harness.script.fail("arm", Some(Fault::Unavailable));
    let service = harness.scripted_service();
    let asked = now(service.process(id, false)).expect("the change is made");
    assert_eq!(asked, Changed::Done(process));
    harness.script.fail("add_job", Some(Fault::Unavailable));
    let again = now(service.process(id, false)).expect("the first request made it");
    assert_eq!(again, Changed::Done(process));
    assert_eq!(harness.nudged(), [], "no job is armed");
    harness.pass();
    harness.drain();
    assert_eq!(harness.status(id), BatchStatus::Completed);
    let forced = now(service.process(id, true)).expect("the change is made");
    assert_eq!(forced, Changed::Done(process));
    let deleted = now(service.delete(id)).expect("the change is made");
    assert_eq!(deleted, DeletionOutcome::Queued(undo));
    harness.pass();
    harness.drain();
    assert_eq!(harness.status(id), BatchStatus::Deleted);
}

#[test]
fn a_retry_that_took_effect_is_reported_as_made() {
    let mut harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.fail("scan_events", Some(Fault::Failed));
    run_until_dead(&harness, job);
    harness.script.fail("scan_events", None);
    harness.script.fail("change_job", Some(Fault::Unavailable));
    let retried = now(harness.scripted_service().retry(job)).expect("the batch is queued");
    assert!(matches!(retried, Changed::Done(job) if job.state == JobState::Queued));
    harness.script.fail("change_job", None);
    harness.pass();
    harness.drain();
    assert_eq!(harness.status(id), BatchStatus::Completed);
}
