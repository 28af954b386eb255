//! What the schedule does: the check at midnight and the cleanup.

use std::time::Duration;

use tallymill::{
    clock::Clock,
    job::{KeyedRequest, NudgeResult},
    metric::Partial,
    model::{BatchStatus, JobId, JobState, RequestKey, Slot, Transfer, TransferId},
    store::{Changed, OpenTransferOutcome, TransferLimits},
};

use super::{
    FEW, run_until_dead,
    yard::{Fault, Yard},
};
use crate::helpers::{now, stock::DAY};

/// A day goes by, and the check at its end runs.
pub(super) fn pass_night(yard: &Yard) {
    yard.clock.advance(Duration::from_secs(86_400));
    let slot = JobId::Reprocess(Slot(yard.clock.now().timestamp()));
    now(yard.jobs().arm_once(slot)).expect("the ledger is here");
    yard.nudged();
    assert_eq!(yard.run(slot), NudgeResult::Settled);
    assert_eq!(yard.job(slot).state, JobState::Completed);
}

#[test]
fn the_nightly_check_finds_a_tampered_partial_and_recounts() {
    let yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    let (other, _) = yard.ask(2, &[("e8", "login", "joe", 5 * DAY)]);
    yard.drain();
    let (honest, truth) = (yard.batch(other), yard.figures());
    let token = yard.batch(id).published.expect("is published").token;
    let mut groups = now(yard.store().partials(id, token)).expect("reads");
    groups[0].partial = Partial::default();
    now(yard.store().put_partials(id, token, &groups)).expect("puts");

    pass_night(&yard);
    assert_eq!(yard.status(id), BatchStatus::Queued);
    assert_eq!(yard.nudged(), [job]);
    yard.run(job);
    let mended = yard.batch(id).published.expect("is published").token;
    assert!(mended > token);
    assert_eq!(yard.figures(), truth);
    pass_night(&yard);
    assert_eq!(yard.nudged(), [], "the second night has nothing to mend");
    assert_eq!(yard.batch(other).published, honest.published);
}

#[test]
fn a_job_that_died_of_errors_is_tried_on_three_nights_only() {
    let yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    yard.script.fail("scan_events", Some(Fault::Failed));
    run_until_dead(&yard, job);
    for _ in 0..3 {
        pass_night(&yard);
        assert_eq!(yard.job(job).state, JobState::Queued);
        assert_eq!(yard.status(id), BatchStatus::Queued);
        assert_eq!(run_until_dead(&yard, job).len(), 3, "with all its attempts");
        assert_eq!(yard.job(job).state, JobState::Dead);
    }
    pass_night(&yard);
    assert_eq!(yard.job(job).state, JobState::Dead);
    assert_eq!(yard.status(id), BatchStatus::Failed);
}

#[test]
fn cleanup_takes_old_unprocessed_batches_but_not_those_asked_for() {
    let yard = Yard::new();
    let forgotten = yard.upload(1, &FEW);
    let (asked, job) = yard.ask(2, &[("e8", "login", "joe", 0)]);
    yard.clock.advance(Duration::from_secs(3_599));
    let cleanup = |n: i64| {
        let slot = JobId::Cleanup(Slot(n));
        now(yard.jobs().arm_once(slot)).expect("the ledger is here");
        assert_eq!(yard.run(slot), NudgeResult::Settled);
    };
    cleanup(1);
    assert_eq!(
        yard.status(forgotten),
        BatchStatus::Uploaded,
        "a second is left"
    );
    yard.clock.advance(Duration::from_secs(1));
    cleanup(2);
    assert_eq!(yard.status(forgotten), BatchStatus::Deleted);
    assert_eq!(yard.batch(forgotten).purges, 1);
    assert_eq!(yard.status(asked), BatchStatus::Queued);
    let late = now(yard.service().process(forgotten, false)).expect("the ledger is here");
    assert!(matches!(late, Changed::Refused(_)));
    cleanup(3);
    assert_eq!(yard.batch(forgotten).purges, 1, "the second purge waits");
    yard.clock.advance(Duration::from_secs(3_601));
    cleanup(4);
    assert_eq!(yard.batch(forgotten).purges, 2);
    yard.run(job);
    assert_eq!(yard.status(asked), BatchStatus::Completed);
}

#[test]
fn cleanup_forgets_keys_of_requests_after_a_day_and_empty_files_after_an_hour() {
    let yard = Yard::new();
    let (asked, _) = yard.ask(1, &FEW);
    let key = RequestKey([7; 32]);
    let keyed = || now(yard.service().process_once(key, asked, false)).expect("the ledger is here");
    assert!(matches!(keyed(), KeyedRequest::Made(Changed::Done(_))));
    let file = Transfer {
        id: TransferId::at(yard.clock.now()),
        length: 9,
        options: std::collections::BTreeMap::new(),
        profile: None,
        sender: None,
        outcome: None,
        moved_at: yard.clock.now(),
    };
    let room = TransferLimits {
        transfers: 1,
        transfers_per_sender: 1,
        bytes: 9,
        parts_per_transfer: 3,
    };
    let begun = now(yard.store().open_transfer(&file, room));
    assert_eq!(begun.expect("opens"), OpenTransferOutcome::Opened);
    for (minutes, key_known, file_known) in
        [(59, true, true), (2, true, false), (1_440, false, false)]
    {
        yard.clock.advance(Duration::from_secs(minutes * 60));
        let slot = JobId::Cleanup(Slot(yard.clock.now().timestamp()));
        now(yard.jobs().arm_once(slot)).expect("the ledger is here");
        assert_eq!(yard.run(slot), NudgeResult::Settled);
        let found = now(yard.store().idempotency_entry(key)).expect("reads");
        assert_eq!(found.is_some(), key_known);
        let found = now(yard.store().transfer(file.id)).expect("reads");
        assert_eq!(found.is_some(), file_known);
    }
}
