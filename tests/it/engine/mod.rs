//! The life of jobs over a real store: crashes, stale workers, retries, dead letters, verification. Tests advance the
//! clock and never wait.

mod abandonment;
mod damage;
mod dead_letters;
mod harness;
mod renewals;
mod scheduled;
mod seal;
mod service;
mod stream;

use std::time::Duration;

use tallymill::{
    clock::{Clock, Fixed},
    job::{DeletionOutcome, NudgeResult},
    model::{BatchChange, BatchStatus, Day, JobId, JobState},
    store::Changed,
};

use crate::helpers::{
    mutant::Mutant,
    now,
    store_fixtures::{DAY, Event, change, receiving},
};
use harness::{Fault, Harness};
use scheduled::run_verification;

const FEW: [Event<'static>; 3] = [
    ("e1", "login", "ann", 0),
    ("e2", "login", "bob", 1),
    ("e3", "logout", "ann", DAY),
];

fn figures_of_few() -> Vec<(i32, String, u64, u64)> {
    vec![(0, "login".into(), 2, 2), (1, "logout".into(), 1, 1)]
}

/// Starts a run whose process is killed at a verb.
fn kill_at(harness: &Harness, job: JobId, verb: &'static str) {
    harness.script.freeze(Some(verb));
    drop(harness.begin(job, "boot-1/killed", harness.clock.clone()));
    harness.script.freeze(None);
}

/// Runs a failing job each time it is due, until it is dead; returns the waits in seconds.
fn run_until_dead(harness: &Harness, job: JobId) -> Vec<f64> {
    let mut waits = Vec::new();
    while harness.run(job) == NudgeResult::Settled && harness.job(job).state == JobState::Queued {
        waits.push(harness.wait_for(job).as_secs_f64());
    }
    waits
}

#[test]
fn another_worker_completes_the_batch_of_a_killed_one() {
    for verb in ["claim", "put_partials", "mark_days", "replace_day"] {
        let mut harness = Harness::new();
        let (id, job) = harness.ask(1, &FEW);
        kill_at(&harness, job, verb);
        assert_eq!(harness.job(job).state, JobState::Running);
        assert_eq!(
            harness.run(job),
            NudgeResult::NotAcquired,
            "its lease has not run out"
        );
        harness.nudged();
        harness.expire();
        assert!(harness.nudged().contains(&job), "the sweep nudges it again");
        assert_eq!(harness.run(job), NudgeResult::Settled);
        assert_eq!(
            harness.status(id),
            BatchStatus::Completed,
            "killed at {verb}"
        );
        assert_eq!(harness.figures(), figures_of_few());
    }
}

#[test]
fn woken_stale_workers_cannot_publish_or_settle() {
    let mut harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.freeze(Some("put_partials"));
    let mut zombie = harness.begin(job, "boot-1/frozen", Fixed::default());
    harness.script.freeze(None);
    harness.expire();
    assert_eq!(harness.run(job), NudgeResult::Settled);
    let (batch, ledger) = (harness.batch(id), harness.job(job));
    assert_eq!(zombie.resume(), Some(NudgeResult::LeaseLost));
    assert_eq!((harness.batch(id), harness.job(job)), (batch, ledger));
    assert_eq!(harness.figures(), figures_of_few());
}

/// Two rows of one group, of which the frozen run lost one to a batch that is deleted meanwhile.
fn late_partials(harness: &mut Harness) -> Vec<(i32, String, u64, u64)> {
    let (owner, _) = harness.ask(1, &FEW[..1]);
    harness.drain();
    let (_, job) = harness.ask(2, &FEW[..2]);
    harness.script.freeze(Some("put_partials"));
    let mut zombie = harness.begin(job, "boot-1/frozen", Fixed::default());
    harness.script.freeze(None);
    now(harness.service().delete(owner)).expect("the ledger is here");
    harness.expire();
    harness.drain();
    assert_eq!(zombie.resume(), Some(NudgeResult::LeaseLost));
    now(harness.store().mark_days(&[Day(0)])).expect("marks");
    harness.pass();
    harness.pass();
    harness.drain();
    harness.figures()
}

#[test]
fn the_token_separates_partials_of_a_stale_run() {
    let whole = [(0, "login".into(), 2, 2)];
    assert_eq!(late_partials(&mut Harness::new()), whole);
    let broken = late_partials(&mut Harness::new().without(Mutant::SharedPartials));
    assert_eq!(
        broken,
        [(0, "login".into(), 1, 1)],
        "shared, the stale ones are read"
    );
}

#[test]
fn a_run_ends_once_its_lease_is_lost() {
    let mut harness = Harness::new();
    let (_, job) = harness.ask(1, &FEW);
    harness.script.freeze(Some("put_partials"));
    let mut slow = harness.begin(job, "boot-1/slow", harness.clock.clone());
    harness.expire();
    assert_eq!(
        slow.resume(),
        Some(NudgeResult::LeaseLost),
        "its renewal is refused"
    );
}

#[test]
fn renewed_leases_do_not_expire() {
    let mut harness = Harness::new();
    let (_, job) = harness.ask(1, &FEW);
    harness.script.freeze(Some("put_partials"));
    let mut busy = harness.begin(job, "boot-1/busy", harness.clock.clone());
    for _ in 0..12 {
        harness.clock.advance(Duration::from_secs(10));
        assert_eq!(busy.resume(), None);
        harness.pass();
    }
    let lease = harness.job(job).lease.expect("is running");
    assert_eq!((lease.owner.as_str(), lease.renewals), ("boot-1/busy", 12));
    harness.script.freeze(None);
    assert_eq!(busy.resume(), Some(NudgeResult::Settled));
}

#[test]
fn a_failing_job_dies_after_four_runs_and_may_be_retried() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.fail("scan_events", Some(Fault::Failed));
    let waits = run_until_dead(&harness, job);
    assert_eq!(waits.len(), 3, "{waits:?}");
    for (wait, exact) in waits.iter().zip([5.0, 10.0, 20.0]) {
        assert!((exact * 0.8..=exact * 1.2).contains(wait), "{waits:?}");
    }
    assert_eq!(harness.script.passed("scan_events"), 4);
    let dead = harness.job(job);
    assert_eq!((dead.state, dead.attempt), (JobState::Dead, 4));
    let failures = dead
        .history
        .iter()
        .filter(|line| line.reason.contains("scan_events"));
    assert_eq!(failures.count(), 4, "{:?}", dead.history);
    assert_eq!(harness.status(id), BatchStatus::Failed);
    assert!(
        harness
            .batch(id)
            .failure
            .is_some_and(|why| why.contains("planned"))
    );
    assert_eq!(
        harness.run(job),
        NudgeResult::NotAcquired,
        "a dead job is not run"
    );

    harness.script.fail("scan_events", None);
    let retried = now(harness.service().retry(job)).expect("the ledger is here");
    assert!(matches!(retried, Changed::Done(_)));
    harness.drain();
    assert_eq!(harness.status(id), BatchStatus::Completed);
    assert_eq!(harness.batch(id).failure, None);
    assert_eq!(harness.figures(), figures_of_few());
}

#[test]
fn jobs_run_only_once_they_are_due() {
    let harness = Harness::new();
    let (_, job) = harness.ask(1, &FEW);
    harness.script.fail("scan_events", Some(Fault::Failed));
    harness.run(job);
    let wait = harness.job(job).run_at - harness.clock.now();
    let wait = wait.to_std().expect("later");
    harness.clock.advance(wait - Duration::from_millis(1));
    assert_eq!(harness.run(job), NudgeResult::NotAcquired);
    harness.clock.advance(Duration::from_millis(1));
    assert_eq!(harness.run(job), NudgeResult::Settled);
}

#[test]
fn a_crashing_job_dies_after_the_allowed_expiries() {
    let mut harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    for crash in 1..=5 {
        harness.wait_for(job);
        kill_at(&harness, job, "scan_events");
        harness.expire();
        let queued = harness.job(job);
        assert_eq!((queued.state, queued.crashes), (JobState::Queued, crash));
    }
    harness.wait_for(job);
    assert_eq!(harness.run(job), NudgeResult::Settled);
    assert_eq!(
        harness.script.passed("scan_events"),
        0,
        "it is not run again"
    );
    let dead = harness.job(job);
    assert_eq!((dead.state, dead.died_of_error), (JobState::Dead, false));
    assert_eq!(harness.status(id), BatchStatus::Failed);
    run_verification(&harness);
    assert_eq!(
        harness.job(job).state,
        JobState::Dead,
        "no night tries it again"
    );
}

#[test]
fn an_unavailable_store_costs_no_attempt() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.fail("scan_events", Some(Fault::Unavailable));
    for _ in 0..10 {
        assert_eq!(harness.run(job), NudgeResult::Settled);
        let waiting = harness.job(job);
        assert_eq!((waiting.state, waiting.attempt), (JobState::Queued, 0));
        assert!(harness.wait_for(job) > Duration::ZERO);
    }
    harness.script.fail("scan_events", None);
    assert_eq!(harness.run(job), NudgeResult::Settled);
    assert_eq!(harness.status(id), BatchStatus::Completed);
}

#[test]
fn a_disk_that_refuses_delays_a_job_ever_longer_and_then_ends_it() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.fail("scan_events", Some(Fault::Blocked));
    let waits = run_until_dead(&harness, job);
    assert_eq!(waits.len(), 8, "{waits:?}");
    assert!(
        waits[0] < 7.0 && waits[3] > 30.0 && waits[7] == 300.0,
        "{waits:?}"
    );
    let dead = harness.job(job);
    assert_eq!((dead.state, dead.attempt), (JobState::Dead, 1));
    let reason = dead.last_error.expect("a reason");
    assert!(reason.contains("mend it, then retry"), "{reason}");
    assert_eq!(harness.status(id), BatchStatus::Failed);
}

#[test]
fn a_stopping_worker_releases_its_job_at_once() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.script.freeze(Some("put_partials"));
    let mut worker = harness.begin(job, "boot-1/stopping", harness.clock.clone());
    worker.stop.cancel();
    assert_eq!(worker.resume(), Some(NudgeResult::Settled));
    let queued = harness.job(job);
    assert_eq!(
        (queued.state, queued.attempt, queued.crashes, queued.lease),
        (JobState::Queued, 0, 0, None)
    );
    harness.script.freeze(None);
    assert_eq!(harness.run(job), NudgeResult::Settled, "without any wait");
    assert_eq!(harness.status(id), BatchStatus::Completed);
    assert_eq!(harness.figures(), figures_of_few());
}

#[test]
fn deletion_gives_claims_to_the_losers() {
    let harness = Harness::new();
    let (first, _) = harness.ask(1, &FEW);
    harness.drain();
    let (second, job) = harness.ask(2, &[FEW[0], FEW[1], ("e9", "login", "eve", 2)]);
    let (stranger, _) = harness.ask(3, &[("e7", "login", "joe", 3)]);
    harness.drain();
    let losses = now(harness.store().overlaps_of_loser(second, None, 9)).expect("reads");
    let named: Vec<_> = losses.iter().map(|o| (o.owner, o.duplicates)).collect();
    assert_eq!(named, [(first, 2)]);
    let wanted = harness.batch(stranger).wanted;

    let undone = now(harness.service().delete(first)).expect("the ledger is here");
    assert_eq!(undone, DeletionOutcome::Queued(JobId::Undo(first)));
    assert_eq!(harness.nudged(), [JobId::Undo(first)]);
    harness.run(JobId::Undo(first));
    assert_eq!(harness.nudged(), [job], "only the loser is counted again");
    harness.run(job);
    let counts = harness
        .batch(second)
        .published
        .expect("is published")
        .counts;
    assert_eq!((counts.counted, counts.duplicate), (3, 0));
    assert_eq!(harness.figures(), [(0, "login".into(), 4, 4)]);
    assert_eq!(
        now(harness.store().overlaps_of_loser(second, None, 9)).expect("reads"),
        []
    );
    assert_eq!(harness.status(first), BatchStatus::Deleted);
    assert_eq!(harness.batch(stranger).wanted, wanted);
    let again = now(harness.service().delete(first)).expect("the ledger is here");
    assert_eq!(again, DeletionOutcome::AlreadyDeleted);
}

#[test]
fn the_batch_processed_first_wins_a_conflict() {
    let harness = Harness::new();
    let older = harness.upload(1, &[("e1", "login", "ann", 0)]);
    harness.ask(2, &[("e1", "logout", "ann", 0)]);
    harness.drain();
    now(harness.service().process(older, false)).expect("the ledger is here");
    harness.drain();
    let counts = harness.batch(older).published.expect("is published").counts;
    assert_eq!(
        (counts.counted, counts.duplicate, counts.conflict),
        (0, 0, 1)
    );
    assert_eq!(harness.figures(), [(0, "logout".into(), 1, 1)]);
}

#[test]
fn repeats_in_a_file_are_compared_with_the_counted_row() {
    let harness = Harness::new();
    harness.ask(1, &[("e1", "login", "ann", 0)]);
    harness.drain();
    let repeats = [("e1", "login", "bob", 0), ("e1", "login", "ann", 0)];
    let (id, _) = harness.ask(2, &repeats);
    harness.drain();
    let counts = harness.batch(id).published.expect("is published").counts;
    assert_eq!(
        (counts.counted, counts.duplicate, counts.conflict),
        (0, 1, 1)
    );
}

#[test]
fn repeated_requests_change_nothing_unless_forced() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    harness.drain();
    let (batch, ledger) = (harness.batch(id), harness.job(job));
    let again = now(harness.service().process(id, false)).expect("the ledger is here");
    assert_eq!(again, Changed::Done(job));
    harness.drain();
    assert_eq!((harness.batch(id), harness.job(job)), (batch, ledger));
    now(harness.service().process(id, true)).expect("the ledger is here");
    harness.drain();
    assert_eq!(harness.batch(id).published.map(|p| p.computed), Some(2));
    assert_eq!(harness.figures(), figures_of_few());
}

#[test]
fn leases_of_an_earlier_start_expire_at_once() {
    let harness = Harness::new();
    let (id, job) = harness.ask(1, &FEW);
    let upload = now(receiving(harness.store(), 9));
    kill_at(&harness, job, "put_partials");
    harness.nudged();
    let mut harness = harness.restarted("boot-2/");
    harness.pass();
    assert_eq!(harness.nudged(), [job]);
    assert_eq!(
        harness.status(upload),
        BatchStatus::Deleted,
        "so does an upload's"
    );
    harness.script.freeze(Some("put_partials"));
    let mut own = harness.begin(job, "boot-2/w", harness.clock.clone());
    harness.pass();
    assert_eq!(harness.job(job).state, JobState::Running, "but not its own");
    harness.script.freeze(None);
    assert_eq!(own.resume(), Some(NudgeResult::Settled));
    assert_eq!(harness.status(id), BatchStatus::Completed);
}

#[test]
fn the_reconciler_arms_missing_jobs() {
    let mut harness = Harness::new();
    let id = harness.upload(1, &FEW);
    now(change(
        harness.store(),
        id,
        BatchChange::Process { force: false },
    ));
    harness.pass();
    harness.drain();
    assert_eq!(harness.status(id), BatchStatus::Completed);
}
