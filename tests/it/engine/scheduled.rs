//! The scheduled jobs: verification and cleanup.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use tallymill::{
    clock::{Clock, Fixed},
    job::{KeyedOutcome, NudgeResult},
    metric::Partial,
    model::{BatchStatus, IdempotencyKey, Instant, JobId, JobState, Slot, Transfer, TransferId},
    store::{Changed, OpenTransferOutcome, TransferLimits},
    transfer::{AppendRequest, TransferError},
};

use super::{
    FEW,
    harness::{Fault, Harness},
    run_until_dead,
};
use crate::helpers::{now, store_fixtures::DAY};

/// Advances the clock by a day and runs the verification.
pub(super) fn run_verification(harness: &Harness) {
    harness.clock.advance(Duration::from_secs(86_400));
    let slot = JobId::Reprocess(Slot(harness.clock.now().timestamp()));
    now(harness.jobs().arm_once(slot)).expect("the ledger is here");
    harness.nudged();
    assert_eq!(harness.run(slot), NudgeResult::Settled);
    assert_eq!(harness.job(slot).state, JobState::Completed);
}

#[test]
fn verification_recounts_a_tampered_partial() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    let (other, _) = harness.ask(2, &[("e8", "login", "joe", 5 * DAY)]);
    harness.drain();
    let (honest, truth) = (harness.batch(other), harness.figures());
    let token = harness.batch(id).published.expect("is published").token;
    let mut groups = now(harness.store().partials(id, token, None, 1_000)).expect("reads");
    groups[0].partial = Partial::default();
    now(harness.store().put_partials(id, token, &groups)).expect("puts");

    run_verification(&harness);
    assert_eq!(harness.status(id), BatchStatus::Queued);
    assert_eq!(harness.nudged(), [job]);
    harness.run(job);
    let mended = harness.batch(id).published.expect("is published").token;
    assert!(mended > token);
    assert_eq!(harness.figures(), truth);
    run_verification(&harness);
    assert_eq!(
        harness.nudged(),
        [],
        "the second verification finds nothing"
    );
    assert_eq!(harness.batch(other).published, honest.published);
}

#[test]
fn verification_revives_a_dead_job_three_times() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.fail("scan_events", Some(Fault::Failed));
    run_until_dead(&harness, job);
    for _ in 0..3 {
        run_verification(&harness);
        assert_eq!(harness.job(job).state, JobState::Queued);
        assert_eq!(harness.status(id), BatchStatus::Queued);
        assert_eq!(
            run_until_dead(&harness, job).len(),
            3,
            "with all its attempts"
        );
        assert_eq!(harness.job(job).state, JobState::Dead);
    }
    run_verification(&harness);
    assert_eq!(harness.job(job).state, JobState::Dead);
    assert_eq!(harness.status(id), BatchStatus::Failed);
}

#[test]
fn cleanup_deletes_only_old_unprocessed_batches() {
    let harness = Harness::new();
    let unprocessed = harness.upload(1, &FEW);
    let (requested, job) = harness.ask(2, &[("e8", "login", "joe", 0)]);
    harness.clock.advance(Duration::from_secs(3_599));
    let cleanup = |n: i64| {
        let slot = JobId::Cleanup(Slot(n));
        now(harness.jobs().arm_once(slot)).expect("the ledger is here");
        assert_eq!(harness.run(slot), NudgeResult::Settled);
    };
    cleanup(1);
    assert_eq!(
        harness.status(unprocessed),
        BatchStatus::Uploaded,
        "a second is left"
    );
    harness.clock.advance(Duration::from_secs(1));
    cleanup(2);
    assert_eq!(harness.status(unprocessed), BatchStatus::Deleted);
    assert_eq!(harness.batch(unprocessed).purges, 1);
    assert_eq!(harness.status(requested), BatchStatus::Queued);
    let late = now(harness.service().process(unprocessed, false)).expect("the ledger is here");
    assert!(matches!(late, Changed::Refused(_)));
    cleanup(3);
    assert_eq!(
        harness.batch(unprocessed).purges,
        1,
        "the second purge waits"
    );
    harness.clock.advance(Duration::from_secs(3_601));
    cleanup(4);
    assert_eq!(harness.batch(unprocessed).purges, 2);
    harness.run(job);
    assert_eq!(harness.status(requested), BatchStatus::Completed);
}

/// A clock that is set two days ahead.
#[derive(Clone)]
struct Ahead(Fixed);

#[async_trait]
impl Clock for Ahead {
    fn now(&self) -> Instant {
        self.0.now() + Duration::from_secs(2 * 86_400)
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, wait: Duration) {
        self.0.sleep(wait).await;
    }
}

#[test]
fn a_clock_that_is_ahead_deletes_nothing_at_once() {
    let mut harness = Harness::new();
    let waiting = harness.upload(1, &FEW);
    harness.pass();
    let cleanup = |n: i64| {
        let slot = JobId::Cleanup(Slot(n));
        now(harness.jobs().arm_once(slot)).expect("the ledger is here");
        assert_eq!(
            harness.run_by(slot, Ahead(harness.clock.clone())),
            NudgeResult::Settled
        );
    };
    cleanup(1);
    assert_eq!(harness.status(waiting), BatchStatus::Uploaded);
    // It is accepted once the service has run for as long as an upload may wait.
    harness.clock.advance(Duration::from_secs(3_599));
    cleanup(2);
    assert_eq!(harness.status(waiting), BatchStatus::Uploaded);
    harness.clock.advance(Duration::from_secs(1));
    cleanup(3);
    assert_eq!(harness.status(waiting), BatchStatus::Deleted);
}

#[test]
fn cleanup_prunes_idempotency_keys_and_empty_transfers() {
    let harness = Harness::new();
    let (asked, _) = harness.ask(1, &FEW);
    let key = IdempotencyKey([7; 32]);
    let keyed =
        || now(harness.service().process_once(key, asked, false)).expect("the ledger is here");
    assert!(matches!(keyed(), KeyedOutcome::Made(Changed::Done(_))));
    let file = Transfer {
        id: TransferId::at(harness.clock.now()),
        length: 9,
        options: std::collections::BTreeMap::new(),
        profile: None,
        sender: None,
        outcome: None,
        moved_at: harness.clock.now(),
    };
    let room = TransferLimits {
        transfers: 1,
        transfers_per_sender: 1,
        bytes: 9,
        parts_per_transfer: 3,
    };
    let begun = now(harness.store().open_transfer(&file, room));
    assert_eq!(begun.expect("opens"), OpenTransferOutcome::Opened);
    for (minutes, key_known, file_known) in
        [(59, true, true), (2, true, false), (1_440, false, false)]
    {
        harness.clock.advance(Duration::from_secs(minutes * 60));
        let slot = JobId::Cleanup(Slot(harness.clock.now().timestamp()));
        now(harness.jobs().arm_once(slot)).expect("the ledger is here");
        assert_eq!(harness.run(slot), NudgeResult::Settled);
        let found = now(harness.store().idempotency_entry(key)).expect("reads");
        assert_eq!(found.is_some(), key_known);
        let found = now(harness.store().transfer(file.id)).expect("reads");
        assert_eq!(found.is_some(), file_known);
    }
}

#[test]
fn a_slot_of_a_monthly_schedule_runs_once_however_late_a_restart() {
    let harness = Harness::new();
    let slot = JobId::Reprocess(Slot(harness.clock.now().timestamp()));
    now(harness.jobs().arm_once(slot)).expect("the ledger is here");
    assert_eq!(harness.nudged(), [slot]);
    assert_eq!(harness.run(slot), NudgeResult::Settled);
    for _ in 0..3 {
        harness.clock.advance(Duration::from_secs(9 * 86_400));
        let cleanup = JobId::Cleanup(Slot(harness.clock.now().timestamp()));
        now(harness.jobs().arm_once(cleanup)).expect("the ledger is here");
        assert_eq!(harness.run(cleanup), NudgeResult::Settled);
        harness.nudged();
        // A process that starts arms the last slot of its schedule.
        now(harness.jobs().arm_once(slot)).expect("the ledger is here");
        assert_eq!(harness.nudged(), []);
    }
}

#[tokio::test]
async fn a_part_that_waits_as_told_for_other_transfers_to_expire_is_appended() {
    let harness = Harness::new();
    // The bytes of sixteen files are stored at once.
    let transfers = harness.transfers(10);
    let append = async |id, offset, bytes: &'static str| {
        let request = AppendRequest {
            offset,
            ..AppendRequest::default()
        };
        let body = stream::iter([Ok(Bytes::from_static(bytes.as_bytes()))]);
        transfers.begin_append(id, request).await?.body(body).await
    };
    let begin = async |bytes| {
        let begun = transfers.open(10, Vec::new(), None).await.expect("opens");
        let id = begun.transfer.id;
        append(id, 0, bytes).await.expect("appends");
        id
    };
    for _ in 0..15 {
        begin("0123456789").await;
    }
    begin("01234").await;
    harness.clock.advance(Duration::from_millis(10_500));
    let last = begin("0").await;
    let refused = append(last, 1, "12345")
        .await
        .expect_err("more than are stored at once");
    let TransferError::Full { seconds } = refused else {
        panic!("{refused}");
    };
    harness.clock.advance(Duration::from_secs(seconds));
    let progress = append(last, 1, "12345")
        .await
        .expect("the others have expired");
    assert_eq!(progress.end, 6);
}
