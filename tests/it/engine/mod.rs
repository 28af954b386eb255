//! The life of jobs over a real store: crashes, zombies, retries, dead letters, nights. Time is moved, never waited for.

mod night;
mod yard;

use std::time::Duration;

use tallymill::{
    clock::{Clock, Fixed},
    job::{DeletionRequest, NudgeResult},
    model::{BatchChange, BatchStatus, Day, JobId, JobState},
    store::Changed,
};

use crate::helpers::{
    mutant::Mutant,
    now,
    stock::{DAY, Event, change, receiving},
};
use night::pass_night;
use yard::{Fault, Yard};

const FEW: [Event<'static>; 3] = [
    ("e1", "login", "ann", 0),
    ("e2", "login", "bob", 1),
    ("e3", "logout", "ann", DAY),
];

fn figures_of_few() -> Vec<(i32, String, u64, u64)> {
    vec![(0, "login".into(), 2, 2), (1, "logout".into(), 1, 1)]
}

/// The run of a job whose process stops existing at this verb.
fn kill_at(yard: &Yard, job: JobId, verb: &'static str) {
    yard.script.freeze(Some(verb));
    drop(yard.begin(job, "boot-1/killed", yard.clock.clone()));
    yard.script.freeze(None);
}

/// Runs a job that fails, each time when it is due, until it is given up.
fn run_until_dead(yard: &Yard, job: JobId) -> Vec<f64> {
    let mut waits = Vec::new();
    while yard.run(job) == NudgeResult::Settled && yard.job(job).state == JobState::Queued {
        waits.push(yard.wait_for(job).as_secs_f64());
    }
    waits
}

#[test]
fn a_killed_worker_leaves_the_batch_to_the_next_one() {
    for verb in ["claim", "put_partials", "mark_days", "replace_day"] {
        let mut yard = Yard::new();
        let (id, job) = yard.ask(1, &FEW);
        kill_at(&yard, job, verb);
        assert_eq!(yard.job(job).state, JobState::Running);
        assert_eq!(
            yard.run(job),
            NudgeResult::NotAcquired,
            "its lease has not run out"
        );
        yard.nudged();
        yard.lapse();
        assert!(yard.nudged().contains(&job), "the sweep nudges it again");
        assert_eq!(yard.run(job), NudgeResult::Settled);
        assert_eq!(yard.status(id), BatchStatus::Completed, "killed at {verb}");
        assert_eq!(yard.figures(), figures_of_few());
    }
}

#[test]
fn a_frozen_worker_that_wakes_can_neither_publish_nor_settle() {
    let mut yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    yard.script.freeze(Some("put_partials"));
    let mut zombie = yard.begin(job, "boot-1/frozen", Fixed::default());
    yard.script.freeze(None);
    yard.lapse();
    assert_eq!(yard.run(job), NudgeResult::Settled);
    let (batch, ledger) = (yard.batch(id), yard.job(job));
    assert_eq!(zombie.go_on(), Some(NudgeResult::LeaseLost));
    assert_eq!((yard.batch(id), yard.job(job)), (batch, ledger));
    assert_eq!(yard.figures(), figures_of_few());
}

/// Two rows of one group, of which the frozen run has lost one to a batch that goes meanwhile.
fn late_partials(yard: &mut Yard) -> Vec<(i32, String, u64, u64)> {
    let (owner, _) = yard.ask(1, &FEW[..1]);
    yard.drain();
    let (_, job) = yard.ask(2, &FEW[..2]);
    yard.script.freeze(Some("put_partials"));
    let mut zombie = yard.begin(job, "boot-1/frozen", Fixed::default());
    yard.script.freeze(None);
    now(yard.service().delete(owner)).expect("the ledger is here");
    yard.lapse();
    yard.drain();
    assert_eq!(zombie.go_on(), Some(NudgeResult::LeaseLost));
    now(yard.store().mark_days(&[Day(0)])).expect("marks");
    yard.pass();
    yard.pass();
    yard.drain();
    yard.figures()
}

#[test]
fn partials_of_a_frozen_run_stay_apart_only_by_its_token() {
    let whole = [(0, "login".into(), 2, 2)];
    assert_eq!(late_partials(&mut Yard::new()), whole);
    let broken = late_partials(&mut Yard::new().without(Mutant::SharedPartials));
    assert_eq!(
        broken,
        [(0, "login".into(), 1, 1)],
        "shared, the stale ones are read"
    );
}

#[test]
fn a_worker_that_loses_its_lease_notices_and_lets_go() {
    let mut yard = Yard::new();
    let (_, job) = yard.ask(1, &FEW);
    yard.script.freeze(Some("put_partials"));
    let mut slow = yard.begin(job, "boot-1/slow", yard.clock.clone());
    yard.lapse();
    assert_eq!(
        slow.go_on(),
        Some(NudgeResult::LeaseLost),
        "its renewal is refused"
    );
}

#[test]
fn a_worker_that_renews_keeps_its_lease() {
    let mut yard = Yard::new();
    let (_, job) = yard.ask(1, &FEW);
    yard.script.freeze(Some("put_partials"));
    let mut busy = yard.begin(job, "boot-1/busy", yard.clock.clone());
    for _ in 0..12 {
        yard.clock.advance(Duration::from_secs(10));
        assert_eq!(busy.go_on(), None);
        yard.pass();
    }
    let lease = yard.job(job).lease.expect("is running");
    assert_eq!((lease.owner.as_str(), lease.renewals), ("boot-1/busy", 12));
    yard.script.freeze(None);
    assert_eq!(busy.go_on(), Some(NudgeResult::Settled));
}

#[test]
fn a_job_that_always_fails_is_dead_after_four_runs_and_a_retry_makes_it_good() {
    let yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    yard.script.fail("scan_events", Some(Fault::Failed));
    let waits = run_until_dead(&yard, job);
    assert_eq!(waits.len(), 3, "{waits:?}");
    for (wait, exact) in waits.iter().zip([5.0, 10.0, 20.0]) {
        assert!((exact * 0.8..=exact * 1.2).contains(wait), "{waits:?}");
    }
    assert_eq!(yard.script.passed("scan_events"), 4);
    let dead = yard.job(job);
    assert_eq!((dead.state, dead.attempt), (JobState::Dead, 4));
    let failures = dead
        .history
        .iter()
        .filter(|line| line.reason.contains("scan_events"));
    assert_eq!(failures.count(), 4, "{:?}", dead.history);
    assert_eq!(yard.status(id), BatchStatus::Failed);
    assert!(
        yard.batch(id)
            .failure
            .is_some_and(|why| why.contains("planned"))
    );
    assert_eq!(
        yard.run(job),
        NudgeResult::NotAcquired,
        "nobody tries a dead job"
    );

    yard.script.fail("scan_events", None);
    let retried = now(yard.service().retry(job)).expect("the ledger is here");
    assert!(matches!(retried, Changed::Done(_)));
    yard.drain();
    assert_eq!(yard.status(id), BatchStatus::Completed);
    assert_eq!(yard.batch(id).failure, None);
    assert_eq!(yard.figures(), figures_of_few());
}

#[test]
fn a_job_is_not_run_before_its_delay_is_over() {
    let yard = Yard::new();
    let (_, job) = yard.ask(1, &FEW);
    yard.script.fail("scan_events", Some(Fault::Failed));
    yard.run(job);
    let wait = yard.job(job).run_at - yard.clock.now();
    let wait = wait.to_std().expect("later");
    yard.clock.advance(wait - Duration::from_millis(1));
    assert_eq!(yard.run(job), NudgeResult::NotAcquired);
    yard.clock.advance(Duration::from_millis(1));
    assert_eq!(yard.run(job), NudgeResult::Settled);
}

#[test]
fn a_poison_job_is_dead_after_exactly_as_many_lapses_as_are_allowed() {
    let mut yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    for crash in 1..=5 {
        yard.wait_for(job);
        kill_at(&yard, job, "scan_events");
        yard.lapse();
        let queued = yard.job(job);
        assert_eq!((queued.state, queued.crashes), (JobState::Queued, crash));
    }
    yard.wait_for(job);
    assert_eq!(yard.run(job), NudgeResult::Settled);
    assert_eq!(yard.script.passed("scan_events"), 0, "it is not run again");
    let dead = yard.job(job);
    assert_eq!((dead.state, dead.died_of_error), (JobState::Dead, false));
    assert_eq!(yard.status(id), BatchStatus::Failed);
    pass_night(&yard);
    assert_eq!(
        yard.job(job).state,
        JobState::Dead,
        "no night tries it again"
    );
}

#[test]
fn a_store_that_is_away_costs_no_attempt() {
    let yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    yard.script.fail("scan_events", Some(Fault::Unavailable));
    for _ in 0..10 {
        assert_eq!(yard.run(job), NudgeResult::Settled);
        let waiting = yard.job(job);
        assert_eq!((waiting.state, waiting.attempt), (JobState::Queued, 0));
        assert!(yard.wait_for(job) > Duration::ZERO);
    }
    yard.script.fail("scan_events", None);
    assert_eq!(yard.run(job), NudgeResult::Settled);
    assert_eq!(yard.status(id), BatchStatus::Completed);
}

#[test]
fn a_worker_that_stops_hands_its_job_back_and_the_next_resumes_at_once() {
    let yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    yard.script.freeze(Some("put_partials"));
    let mut worker = yard.begin(job, "boot-1/stopping", yard.clock.clone());
    worker.stop.cancel();
    assert_eq!(worker.go_on(), Some(NudgeResult::Settled));
    let queued = yard.job(job);
    assert_eq!(
        (queued.state, queued.attempt, queued.crashes, queued.lease),
        (JobState::Queued, 0, 0, None)
    );
    yard.script.freeze(None);
    assert_eq!(yard.run(job), NudgeResult::Settled, "without any wait");
    assert_eq!(yard.status(id), BatchStatus::Completed);
    assert_eq!(yard.figures(), figures_of_few());
}

#[test]
fn an_undo_gives_claims_to_the_losers_by_name() {
    let yard = Yard::new();
    let (first, _) = yard.ask(1, &FEW);
    yard.drain();
    let (second, job) = yard.ask(2, &[FEW[0], FEW[1], ("e9", "login", "eve", 2)]);
    let (stranger, _) = yard.ask(3, &[("e7", "login", "joe", 3)]);
    yard.drain();
    let losses = now(yard.store().overlaps_of_loser(second, None, 9)).expect("reads");
    let named: Vec<_> = losses.iter().map(|o| (o.owner, o.duplicates)).collect();
    assert_eq!(named, [(first, 2)]);
    let wanted = yard.batch(stranger).wanted;

    let undone = now(yard.service().delete(first)).expect("the ledger is here");
    assert_eq!(undone, DeletionRequest::Queued(JobId::Undo(first)));
    assert_eq!(yard.nudged(), [JobId::Undo(first)]);
    yard.run(JobId::Undo(first));
    assert_eq!(yard.nudged(), [job], "only the loser counts anew");
    yard.run(job);
    let counts = yard.batch(second).published.expect("is published").counts;
    assert_eq!((counts.counted, counts.duplicate), (3, 0));
    assert_eq!(yard.figures(), [(0, "login".into(), 4, 4)]);
    assert_eq!(
        now(yard.store().overlaps_of_loser(second, None, 9)).expect("reads"),
        []
    );
    assert_eq!(yard.status(first), BatchStatus::Deleted);
    assert_eq!(yard.batch(stranger).wanted, wanted);
    let again = now(yard.service().delete(first)).expect("the ledger is here");
    assert_eq!(again, DeletionRequest::AlreadyDeleted);
}

#[test]
fn a_conflict_keeps_the_batch_that_was_processed_first() {
    let yard = Yard::new();
    let older = yard.upload(1, &[("e1", "login", "ann", 0)]);
    yard.ask(2, &[("e1", "logout", "ann", 0)]);
    yard.drain();
    now(yard.service().process(older, false)).expect("the ledger is here");
    yard.drain();
    let counts = yard.batch(older).published.expect("is published").counts;
    assert_eq!(
        (counts.counted, counts.duplicate, counts.conflict),
        (0, 0, 1)
    );
    assert_eq!(yard.figures(), [(0, "logout".into(), 1, 1)]);
}

#[test]
fn asking_again_changes_nothing_unless_forced() {
    let yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    yard.drain();
    let (batch, ledger) = (yard.batch(id), yard.job(job));
    let again = now(yard.service().process(id, false)).expect("the ledger is here");
    assert_eq!(again, Changed::Done(job));
    yard.drain();
    assert_eq!((yard.batch(id), yard.job(job)), (batch, ledger));
    now(yard.service().process(id, true)).expect("the ledger is here");
    yard.drain();
    assert_eq!(yard.batch(id).published.map(|p| p.computed), Some(2));
    assert_eq!(yard.figures(), figures_of_few());
}

#[test]
fn leases_of_an_earlier_start_lapse_at_once() {
    let yard = Yard::new();
    let (id, job) = yard.ask(1, &FEW);
    let upload = now(receiving(yard.store(), 9));
    kill_at(&yard, job, "put_partials");
    yard.nudged();
    let mut yard = yard.restarted("boot-2/");
    yard.pass();
    assert_eq!(yard.nudged(), [job]);
    assert_eq!(
        yard.status(upload),
        BatchStatus::Deleted,
        "so does an upload's"
    );
    yard.script.freeze(Some("put_partials"));
    let mut own = yard.begin(job, "boot-2/w", yard.clock.clone());
    yard.pass();
    assert_eq!(yard.job(job).state, JobState::Running, "but not its own");
    yard.script.freeze(None);
    assert_eq!(own.go_on(), Some(NudgeResult::Settled));
    assert_eq!(yard.status(id), BatchStatus::Completed);
}

#[test]
fn a_batch_whose_job_was_never_armed_is_found_by_the_sweep() {
    let mut yard = Yard::new();
    let id = yard.upload(1, &FEW);
    now(change(
        yard.store(),
        id,
        BatchChange::Process { force: false },
    ));
    yard.pass();
    yard.drain();
    assert_eq!(yard.status(id), BatchStatus::Completed);
}
