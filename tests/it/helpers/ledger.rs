//! Reads the ledger of jobs in MongoDB beside the processes that write it, and checks the history of each job.

use std::collections::HashMap;

use chrono_tz::Tz;
use tallymill::{
    model::{Batch, BatchId, Job, JobId, JobKind, JobState, job::HistoryEntry},
    store::{BatchStore, JobStore, MetricStore, mongo::MongoStore},
};

/// Page size above the number of jobs of any test.
const ALL_JOBS: usize = 10_000;

/// The ledger as of the last read.
pub(crate) struct Ledger {
    pub(crate) store: MongoStore,
    seen: HashMap<JobId, Job>,
}

/// Sums over the runs of all jobs.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) jobs: usize,
    pub(crate) claims: i64,
    /// Runs beyond one per request.
    pub(crate) extra: i64,
    pub(crate) expires: usize,
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

    /// Returns the running jobs.
    pub(crate) async fn running(&self) -> Vec<Job> {
        let found = self.store.jobs_in(JobState::Running, None, ALL_JOBS);
        found.await.expect("reads")
    }

    /// Reads all jobs; asserts that no token decreased and no history was rewritten since the last read.
    pub(crate) async fn refresh(&mut self) -> Vec<Job> {
        for state in JobState::ALL {
            let found = self.store.jobs_in(state, None, ALL_JOBS).await;
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

    /// Returns whether no job is left but those of the schedule.
    pub(crate) async fn is_at_rest(&mut self) -> bool {
        let idle = |job: &Job| is_scheduled(job) || job.state.is_idle();
        let stale = self.store.stale_days(None, ALL_JOBS).await.expect("reads");
        stale.is_empty() && self.refresh().await.iter().all(idle)
    }

    /// Checks the history of each job and counts runs.
    pub(crate) async fn audit(&mut self) -> Runs {
        let mut runs = Runs::default();
        let jobs = self.refresh().await;
        for job in jobs.iter().filter(|job| !is_scheduled(job)) {
            is_sound(job);
            let requests = match job.id {
                JobId::Process(id) => self.batch(id).await.wanted,
                _ => armings(job),
            };
            runs.jobs += 1;
            runs.claims += job.token;
            runs.extra += (job.token - requests).max(0);
            let expired = |line: &&HistoryEntry| line.reason == "the worker's lease ran out";
            runs.expires += job.history.iter().filter(expired).count();
        }
        runs
    }
}

/// Returns whether a job is armed by the schedule.
fn is_scheduled(job: &Job) -> bool {
    matches!(job.id.kind(), JobKind::Cleanup | JobKind::Reprocess)
}

fn armings(job: &Job) -> i64 {
    let armed = job.history.iter().filter(|line| line.reason == "armed");
    i64::try_from(armed.count()).expect("few")
}

/// Asserts: a run begins with a queued job, no two overlap, each has a new token, and a settled job stays settled until armed.
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
