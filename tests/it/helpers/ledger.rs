//! The ledger of jobs in MongoDB, beside the processes that write it, and the proof that it holds for each job.

use std::collections::HashMap;

use chrono_tz::Tz;
use tallymill::{
    model::{Batch, BatchId, Job, JobId, JobKind, JobState, job::HistoryEntry},
    store::{BatchStore, JobStore, MetricStore, mongo::MongoStore},
};

/// More than any test has.
const ENOUGH: usize = 10_000;

/// The ledger as it was last seen.
pub(crate) struct Ledger {
    pub(crate) store: MongoStore,
    seen: HashMap<JobId, Job>,
}

/// What the runs of many jobs came to.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) jobs: usize,
    pub(crate) claims: i64,
    /// Claims beyond one per wish.
    pub(crate) extra: i64,
    pub(crate) lapses: usize,
}

impl Ledger {
    pub(crate) async fn open(uri: &str) -> Self {
        let store = MongoStore::open(uri, Tz::UTC).await.expect("opens");
        Self {
            store,
            seen: HashMap::new(),
        }
    }

    pub(crate) async fn job(&self, id: JobId) -> Job {
        let found = self.store.job(id).await.expect("reads");
        found.unwrap_or_else(|| panic!("no job {id}"))
    }

    pub(crate) async fn batch(&self, id: BatchId) -> Batch {
        let found = self.store.batch(id).await.expect("reads");
        found.unwrap_or_else(|| panic!("no batch {id}"))
    }

    /// Jobs that somebody has.
    pub(crate) async fn running(&self) -> Vec<Job> {
        let found = self.store.jobs_in(JobState::Running, None, ENOUGH);
        found.await.expect("reads")
    }

    /// Reads all jobs, and sees that since the last look no token shrank and no history was rewritten.
    pub(crate) async fn look(&mut self) -> Vec<Job> {
        for state in JobState::ALL {
            let found = self.store.jobs_in(state, None, ENOUGH).await;
            for job in found.expect("reads") {
                if let Some(before) = self.seen.get(&job.id) {
                    assert!(job.token >= before.token, "{before:#?} {job:#?}");
                    assert!(job.history.starts_with(&before.history), "{job:#?}");
                }
                self.seen.insert(job.id, job);
            }
        }
        self.seen.values().cloned().collect()
    }

    /// Whether nothing is left to do but what the clock brings.
    pub(crate) async fn is_at_rest(&mut self) -> bool {
        let idle = |job: &Job| of_the_clock(job) || job.state.is_idle();
        let stale = self.store.stale_days(None, ENOUGH).await.expect("reads");
        stale.is_empty() && self.look().await.iter().all(idle)
    }

    /// Proves each job's history and counts runs.
    pub(crate) async fn audit(&mut self) -> Runs {
        let mut runs = Runs::default();
        let jobs = self.look().await;
        for job in jobs.iter().filter(|job| !of_the_clock(job)) {
            is_sound(job);
            let wishes = match job.id {
                JobId::Process(id) => self.batch(id).await.wanted,
                _ => armings(job),
            };
            runs.jobs += 1;
            runs.claims += job.token;
            runs.extra += (job.token - wishes).max(0);
            let lapsed = |line: &&HistoryEntry| line.reason == "the worker's lease ran out";
            runs.lapses += job.history.iter().filter(lapsed).count();
        }
        runs
    }
}

/// Whether the clock arms it, so that there is always another.
fn of_the_clock(job: &Job) -> bool {
    matches!(job.id.kind(), JobKind::Cleanup | JobKind::Reprocess)
}

fn armings(job: &Job) -> i64 {
    let armed = job.history.iter().filter(|line| line.reason == "armed");
    i64::try_from(armed.count()).expect("few")
}

/// No run but of a queued job, no two at once, a token each, and after it is settled nothing until it is armed.
pub(crate) fn is_sound(job: &Job) {
    assert!(job.history.len() < Job::HISTORY, "too long to be proof");
    let first = job.history.first().expect("armed once");
    assert_eq!((first.to, &*first.reason), (JobState::Queued, "armed"));
    for pair in job.history.windows(2) {
        let [before, after] = pair else { continue };
        let sound = match before.to {
            JobState::Queued => after.to == JobState::Running,
            JobState::Running => after.to != JobState::Running,
            JobState::Completed | JobState::Cancelled => {
                (after.to, &*after.reason) == (JobState::Queued, "armed")
            }
            JobState::Dead | JobState::Discarded => false,
        };
        assert!(sound, "{before:?} then {after:?} in {job:#?}");
    }
    let claims = job.history.iter().filter(|l| l.to == JobState::Running);
    assert_eq!(claims.count() as i64, job.token, "{job:#?}");
}
