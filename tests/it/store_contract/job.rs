//! The contract of the job ledger.

use std::sync::Arc;

use tallymill::{
    model::{Day, Instant, Job, JobChange, JobId, JobState, RunOutcome, Slot},
    store::{Changed, Store},
};
use tokio::task::JoinSet;

use crate::helpers::store_fixtures::{at, id};

fn job(n: i32) -> JobId {
    JobId::Rollup(Day(n))
}

async fn change(store: &dyn Store, job: JobId, change: JobChange, now: Instant) -> Option<Job> {
    let changed = store.change_job(job, &change, now).await;
    changed.expect("answers").done()
}

async fn acquire(store: &dyn Store, job: JobId, now: Instant) -> Option<Job> {
    let owner = "w".into();
    change(store, job, JobChange::Acquire { owner }, now).await
}

async fn settle(store: &dyn Store, job: JobId, token: i64, now: Instant) -> Option<Job> {
    let outcome = RunOutcome::Completed;
    change(store, job, JobChange::Settle { token, outcome }, now).await
}

fn expire(token: i64, renewals: u64, run_at: Instant) -> JobChange {
    JobChange::Expire {
        token,
        renewals,
        run_at,
    }
}

pub(super) async fn adding_a_job_leaves_an_existing_one_unchanged(store: Arc<dyn Store>) {
    store.add_job(job(1), at(0)).await.expect("adds");
    assert_eq!(store.due_jobs(at(9), 10).await.expect("lists"), [job(1)]);
    let running = acquire(&*store, job(1), at(1)).await.expect("is due");
    store.add_job(job(1), at(2)).await.expect("exists");
    let found = store.job(job(1)).await.expect("reads");
    assert_eq!(found.as_ref(), Some(&running));
    let settled = settle(&*store, job(1), running.token, at(3)).await;
    store.add_job(job(1), at(4)).await.expect("exists");
    assert_eq!(store.job(job(1)).await.expect("reads"), settled);
}

pub(super) async fn arming_twice_queues_one_job(store: Arc<dyn Store>) {
    let first = store.arm(job(1), at(0)).await.expect("arms");
    assert_eq!(store.arm(job(1), at(5)).await.expect("arms"), first);
    assert_eq!(store.due_jobs(at(9), 10).await.expect("lists"), [job(1)]);
    assert_eq!(store.count_jobs(JobState::Queued).await.expect("counts"), 1);
    let running = acquire(&*store, job(1), at(6)).await.expect("is due");
    assert_eq!(store.arm(job(1), at(7)).await.expect("arms"), running);
}

pub(super) async fn leases_of_due_jobs_are_acquired_once(store: Arc<dyn Store>) {
    store.arm(job(1), at(5)).await.expect("arms");
    assert!(
        acquire(&*store, job(1), at(4)).await.is_none(),
        "not yet due"
    );
    assert!(acquire(&*store, job(1), at(5)).await.is_some());
    assert!(acquire(&*store, job(1), at(5)).await.is_none());
    let none = JobChange::Acquire { owner: "w".into() };
    let missing = store.change_job(job(2), &none, at(5)).await;
    assert!(matches!(missing, Ok(Changed::Missing)));
}

pub(super) async fn one_of_twenty_workers_acquires_the_lease(store: Arc<dyn Store>) {
    store.arm(job(1), at(0)).await.expect("arms");
    let mut workers = JoinSet::new();
    for _ in 0..20 {
        let store = Arc::clone(&store);
        workers.spawn(async move { acquire(&*store, job(1), at(0)).await.is_some() });
    }
    let won = workers.join_all().await.into_iter().filter(|won| *won);
    assert_eq!(won.count(), 1);
}

pub(super) async fn expired_leases_are_acquired_with_a_higher_token(store: Arc<dyn Store>) {
    store.arm(job(1), at(0)).await.expect("arms");
    let first = acquire(&*store, job(1), at(0)).await.expect("is due");
    let expired = change(&*store, job(1), expire(first.token, 0, at(9)), at(3)).await;
    assert_eq!(expired.expect("expires").crashes, 1);
    assert!(
        acquire(&*store, job(1), at(8)).await.is_none(),
        "not yet due"
    );
    let second = acquire(&*store, job(1), at(9)).await.expect("is due");
    assert!(second.token > first.token);
    settle(&*store, job(1), second.token, at(9))
        .await
        .expect("owns the lease");
    store.arm(job(1), at(9)).await.expect("arms");
    let third = acquire(&*store, job(1), at(9)).await.expect("is due");
    assert!(
        third.token > second.token,
        "arming does not reset the token"
    );
}

pub(super) async fn renewed_leases_do_not_expire(store: Arc<dyn Store>) {
    store.arm(job(1), at(0)).await.expect("arms");
    let token = acquire(&*store, job(1), at(0)).await.expect("is due").token;
    let renew = JobChange::Renew {
        token,
        progress: None,
    };
    change(&*store, job(1), renew, at(1))
        .await
        .expect("owns the lease");
    let stale = change(&*store, job(1), expire(token, 0, at(9)), at(3)).await;
    assert!(stale.is_none());
    let seen = change(&*store, job(1), expire(token, 1, at(9)), at(3)).await;
    assert!(seen.is_some());
}

pub(super) async fn stale_tokens_are_refused(store: Arc<dyn Store>) {
    store.arm(job(1), at(0)).await.expect("arms");
    let stale = acquire(&*store, job(1), at(0)).await.expect("is due").token;
    let expired = change(&*store, job(1), expire(stale, 0, at(0)), at(0)).await;
    assert!(expired.is_some());
    let renew = JobChange::Renew {
        token: stale,
        progress: None,
    };
    for _ in 0..2 {
        assert!(settle(&*store, job(1), stale, at(1)).await.is_none());
        assert!(
            change(&*store, job(1), renew.clone(), at(1))
                .await
                .is_none()
        );
        // First while the job is queued, then while another worker runs it.
        acquire(&*store, job(1), at(1)).await;
    }
    let now = store.job(job(1)).await.expect("reads").expect("exists");
    assert_eq!((now.state, now.token), (JobState::Running, stale + 1));
}

pub(super) async fn settled_jobs_stay_settled(store: Arc<dyn Store>) {
    store.arm(job(1), at(0)).await.expect("arms");
    let token = acquire(&*store, job(1), at(0)).await.expect("is due").token;
    let settled = settle(&*store, job(1), token, at(1))
        .await
        .expect("owns the lease");
    assert!(settle(&*store, job(1), token, at(2)).await.is_none());
    assert!(acquire(&*store, job(1), at(2)).await.is_none());
    let expired = change(&*store, job(1), expire(token, 0, at(2)), at(2)).await;
    assert!(expired.is_none());
    assert_eq!(store.job(job(1)).await.expect("reads"), Some(settled));
    assert_eq!(store.due_jobs(at(9), 10).await.expect("lists"), []);
}

pub(super) async fn longest_due_jobs_come_first_up_to_the_limit(store: Arc<dyn Store>) {
    for (n, armed) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
        store.arm(job(n), at(armed)).await.expect("arms");
    }
    let due = store.due_jobs(at(30), 10).await.expect("lists");
    assert_eq!(due, [job(2), job(3), job(1)]);
    let two = store.due_jobs(at(30), 2).await.expect("lists");
    assert_eq!(two, [job(2), job(3)]);
}

pub(super) async fn pages_of_jobs_are_stable_under_inserts(store: Arc<dyn Store>) {
    for n in 1..=7i32 {
        // Jobs of one instant are ordered by id.
        let armed = at(u64::from(n.unsigned_abs()) / 3);
        store.arm(job(n), armed).await.expect("arms");
    }
    let (mut after, mut seen) = (None, Vec::new());
    for inserted in 8.. {
        let page = store.jobs_in(JobState::Queued, after, 2).await;
        let page = page.expect("lists");
        let Some(last) = page.last() else { break };
        after = Some((last.changed_at, last.id));
        seen.extend(page.iter().map(|j| j.id));
        store.arm(job(inserted), at(9)).await.expect("arms");
    }
    assert_eq!(seen, [7, 6, 5, 4, 3, 2, 1].map(job));
}

pub(super) async fn all_scheduled_jobs_but_the_latest_of_a_kind_are_pruned(store: Arc<dyn Store>) {
    // The other kind has no job.
    let slots = [1, 2, 3].map(|slot| JobId::Cleanup(Slot(slot)));
    for job in slots {
        store.arm(job, at(0)).await.expect("arms");
        let token = acquire(&*store, job, at(0)).await.expect("is due").token;
        settle(&*store, job, token, at(1))
            .await
            .expect("owns the lease");
    }
    while store.prune_jobs(at(2)).await.expect("prunes") {}
    let mut left = Vec::new();
    for job in slots {
        left.extend(store.job(job).await.expect("reads").map(|job| job.id));
    }
    assert_eq!(left, [slots[2]]);
}

pub(super) async fn only_settled_scheduled_jobs_are_pruned(store: Arc<dyn Store>) {
    let waiting = JobId::Reprocess(Slot(2));
    let retained = [JobId::Process(id(1)), JobId::Undo(id(1)), job(1)];
    let slots = [JobId::Cleanup(Slot(1)), JobId::Reprocess(Slot(1))];
    // A slot that is pruned before the next one is due would run again at each start.
    let latest = JobId::Cleanup(Slot(2));
    let retained = retained.into_iter().chain([latest]);
    for job in retained.clone().chain(slots) {
        store.arm(job, at(0)).await.expect("arms");
        let token = acquire(&*store, job, at(0)).await.expect("is due").token;
        settle(&*store, job, token, at(1))
            .await
            .expect("owns the lease");
    }
    store.arm(waiting, at(0)).await.expect("arms");
    while store.prune_jobs(at(1)).await.expect("prunes") {}
    assert!(
        store.job(slots[0]).await.expect("reads").is_some(),
        "too new"
    );
    while store.prune_jobs(at(2)).await.expect("prunes") {}
    for job in slots {
        assert_eq!(store.job(job).await.expect("reads"), None);
    }
    for job in retained.chain([waiting]) {
        assert!(store.job(job).await.expect("reads").is_some(), "{job}");
    }
}
