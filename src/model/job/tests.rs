//! The state machine as a table, and what it must never allow.

use super::*;
use crate::model::Day;
use chrono::TimeDelta;

fn now() -> Instant {
    Instant::default() + TimeDelta::days(20_000)
}

fn job(state: JobState) -> Job {
    let mut job = Job::armed(JobId::Rollup(Day(1)), now());
    job.token = 3;
    job.state = state;
    job.died_of_error = true;
    if state == JobState::Running {
        job.lease = Some(Lease {
            owner: "w".into(),
            renewals: 2,
        });
    }
    job
}

/// Every state against every change: the state machine as a table.
#[test]
fn each_state_allows_just_what_the_table_says() {
    let settle = |outcome| JobChange::Settle { token: 3, outcome };
    let later = now() + TimeDelta::seconds(5);
    let table = [
        (
            JobChange::Arm,
            "queued>queued running>running completed>queued dead>queued cancelled>queued discarded>queued",
        ),
        (JobChange::Acquire { owner: "w".into() }, "queued>running"),
        (
            JobChange::Renew {
                token: 3,
                progress: None,
            },
            "running>running",
        ),
        (settle(RunOutcome::Completed), "running>completed"),
        (settle(RunOutcome::MoreRequested), "running>queued"),
        (
            settle(RunOutcome::Retry {
                error: "e".into(),
                run_at: later,
            }),
            "running>queued",
        ),
        (
            settle(RunOutcome::Delay {
                reason: "r".into(),
                run_at: later,
                is_blocked: false,
            }),
            "running>queued",
        ),
        (
            settle(RunOutcome::Dead {
                error: "e".into(),
                of_error: true,
            }),
            "running>dead",
        ),
        (settle(RunOutcome::Cancelled), "running>cancelled"),
        (settle(RunOutcome::Released), "running>queued"),
        (
            JobChange::Expire {
                token: 3,
                renewals: 2,
                run_at: later,
            },
            "running>queued",
        ),
        (JobChange::Retry, "dead>queued"),
        (JobChange::Discard, "dead>discarded"),
        (JobChange::Withdraw, "dead>cancelled"),
        (JobChange::Revive { most: 3 }, "dead>queued"),
    ];
    for (change, expected) in table {
        let moves: Vec<String> = JobState::ALL
            .into_iter()
            .filter_map(|from| {
                let after = job(from).after(&change, now()).ok()?;
                Some(format!("{}>{}", from.as_str(), after.state.as_str()))
            })
            .collect();
        assert_eq!(moves.join(" "), expected, "{}", change.name());
    }
}

#[test]
fn a_stale_token_neither_renews_nor_settles_nor_expires() {
    let it = job(JobState::Running);
    assert!(
        it.after(
            &JobChange::Renew {
                token: 2,
                progress: None
            },
            now()
        )
        .is_err()
    );
    assert!(
        it.after(
            &JobChange::Settle {
                token: 2,
                outcome: RunOutcome::Completed
            },
            now()
        )
        .is_err()
    );
    assert!(
        it.after(
            &JobChange::Expire {
                token: 2,
                renewals: 2,
                run_at: now()
            },
            now()
        )
        .is_err()
    );
    assert!(
        it.after(
            &JobChange::Expire {
                token: 3,
                renewals: 1,
                run_at: now()
            },
            now()
        )
        .is_err(),
        "it has renewed since"
    );
}

#[test]
fn the_token_grows_at_each_claim_and_is_never_reset() {
    let claim = JobChange::Acquire { owner: "w".into() };
    let first = job(JobState::Queued).after(&claim, now()).expect("due");
    let dead = JobChange::Settle {
        token: first.token,
        outcome: RunOutcome::Dead {
            error: "e".into(),
            of_error: true,
        },
    };
    let again = first
        .after(&dead, now())
        .and_then(|j| j.after(&JobChange::Retry, now()))
        .and_then(|j| j.after(&claim, now()));
    assert_eq!(again.expect("retried").token, 5);
}

#[test]
fn a_job_is_not_claimed_before_its_time() {
    let mut it = job(JobState::Queued);
    it.run_at = now() + TimeDelta::seconds(1);
    assert!(
        it.after(&JobChange::Acquire { owner: "w".into() }, now())
            .is_err()
    );
}

#[test]
fn crashes_count_only_without_progress_between() {
    let crash = |mut it: Job, done: u64| {
        it = it
            .after(&JobChange::Acquire { owner: "w".into() }, now())
            .expect("due");
        let progress = Some(JobProgress {
            phase: JobPhase::Claim,
            done,
            total: 100,
        });
        it = it
            .after(
                &JobChange::Renew {
                    token: it.token,
                    progress,
                },
                now(),
            )
            .expect("its own");
        it.after(
            &JobChange::Expire {
                token: it.token,
                renewals: 1,
                run_at: now(),
            },
            now(),
        )
        .expect("expired")
    };
    let once = crash(job(JobState::Queued), 10);
    let twice = crash(once.clone(), 10);
    assert_eq!((once.crashes, twice.crashes), (1, 2));
    assert_eq!(crash(twice, 20).crashes, 1, "it came farther than ever");
}

#[test]
fn a_dead_job_is_tried_again_on_three_nights_only() {
    let mut it = job(JobState::Dead);
    let revive = JobChange::Revive { most: 3 };
    for _ in 0..3 {
        it = it.after(&revive, now()).expect("a night is left");
        it.state = JobState::Dead;
        it.died_of_error = true;
    }
    assert!(it.after(&revive, now()).is_err());
}

#[test]
fn history_is_bounded() {
    let mut it = job(JobState::Completed);
    for _ in 0..300 {
        it = it.after(&JobChange::Arm, now()).expect("any state");
        it.state = JobState::Completed;
    }
    assert_eq!(it.history.len(), Job::HISTORY);
}
