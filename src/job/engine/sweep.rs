//! Makes what should be out of what is: arms jobs that are missing, takes back leases that stand still,
//! nudges what is due. Everything else may be lost as long as this runs.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{backoff::delay, desk::Desk};
use crate::{
    clock::Clock,
    job::{Dispatch, Limits},
    model::{BatchChange, BatchId, BatchStatus, Day, Job, JobChange, JobId, JobState},
    store::{BatchFilter, Result, Store},
};

/// Documents read at once.
const PAGE: usize = 200;
/// Due jobs nudged by one sweep: the rest stands in the ledger, and the queue stays short.
const NUDGES: usize = 1_000;
/// Leases watched; more than any pool has workers.
const WATCHED: usize = 10_000;

/// A lease as it was last seen to move, on this observer's own clock.
struct Seen {
    token: i64,
    renewals: u64,
    since: Duration,
}

/// The sweep of one process.
pub struct Sweep {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    desk: Desk,
    limits: Limits,
    /// Set where one process owns the store: leases of other starts have lapsed at once.
    owner_prefix: Option<String>,
    jobs: HashMap<JobId, Seen>,
    uploads: HashMap<BatchId, Seen>,
    stale: HashSet<Day>,
}

impl Sweep {
    /// A sweep that has seen nothing yet.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        dispatch: Arc<dyn Dispatch>,
        limits: Limits,
        owner_prefix: Option<String>,
    ) -> Self {
        let desk = Desk::new(Arc::clone(&store), Arc::clone(&clock), dispatch);
        Self {
            store,
            clock,
            desk,
            limits,
            owner_prefix,
            jobs: HashMap::new(),
            uploads: HashMap::new(),
            stale: HashSet::new(),
        }
    }

    /// One pass.
    ///
    /// # Errors
    /// [`StoreError`](crate::store::StoreError) if the store is away; the next pass does the rest.
    pub async fn pass(&mut self) -> Result<()> {
        self.take_back_leases().await?;
        self.give_up_uploads().await?;
        self.arm_batches().await?;
        self.arm_days().await?;
        for id in self.store.due_jobs(self.clock.now(), NUDGES).await? {
            self.desk.nudge(id).await;
        }
        Ok(())
    }

    async fn take_back_leases(&mut self) -> Result<()> {
        let running = self.store.jobs_in(JobState::Running, None, WATCHED).await?;
        let mut seen = HashMap::new();
        for job in &running {
            let Some(lease) = &job.lease else { continue };
            let before = self.jobs.remove(&job.id);
            let now = self.watch(before, &lease.owner, job.token, lease.renewals);
            match now {
                Watch::Lapsed => self.lapse(job, lease.renewals).await?,
                Watch::Moving(at) => drop(seen.insert(job.id, at)),
            }
        }
        self.jobs = seen;
        Ok(())
    }

    async fn lapse(&self, job: &Job, renewals: u64) -> Result<()> {
        tracing::warn!(job.id = %job.id, token = job.token, crashes = job.crashes + 1, "the lease of job {} ran out", job.id);
        let run_at =
            self.clock.now() + delay(self.limits.backoff, job.crashes, job.token.cast_unsigned());
        // The first lapse is mostly a restart: it need not wait.
        let run_at = if job.crashes == 0 {
            self.clock.now()
        } else {
            run_at
        };
        let lapse = JobChange::Lapse {
            token: job.token,
            renewals,
            run_at,
        };
        self.store
            .change_job(job.id, &lapse, self.clock.now())
            .await
            .map(drop)
    }

    async fn give_up_uploads(&mut self) -> Result<()> {
        let mut seen = HashMap::new();
        for (id, (owner, renewals)) in self.all(BatchStatus::Receiving).await? {
            let before = self.uploads.remove(&id);
            match self.watch(before, &owner, 0, renewals) {
                Watch::Lapsed => self.abandon(id, renewals).await?,
                Watch::Moving(at) => drop(seen.insert(id, at)),
            }
        }
        self.uploads = seen;
        Ok(())
    }

    /// Gives an upload up and removes what it left; cleanup looks again later, for what a late writer adds.
    async fn abandon(&self, id: BatchId, renewals: u64) -> Result<()> {
        let abandon = BatchChange::Abandon {
            at: self.clock.now(),
            renewals: Some(renewals),
        };
        if self
            .store
            .change_batch(id, &abandon)
            .await?
            .done()
            .is_some()
        {
            tracing::warn!(batch.id = %id, "upload {id} was never finished and is removed");
            while self.store.drop_rejections(id).await? {}
            self.store.drop_events(id).await?;
        }
        Ok(())
    }

    fn watch(&self, before: Option<Seen>, owner: &str, token: i64, renewals: u64) -> Watch {
        if self
            .owner_prefix
            .as_ref()
            .is_some_and(|mine| !owner.starts_with(mine))
        {
            return Watch::Lapsed;
        }
        let now = self.clock.elapsed();
        match before {
            Some(seen) if (seen.token, seen.renewals) == (token, renewals) => {
                if now.saturating_sub(seen.since) >= self.limits.lease {
                    Watch::Lapsed
                } else {
                    Watch::Moving(seen)
                }
            }
            Some(_) | None => Watch::Moving(Seen {
                token,
                renewals,
                since: now,
            }),
        }
    }

    async fn arm_batches(&self) -> Result<()> {
        for status in [BatchStatus::Queued, BatchStatus::Processing] {
            for (id, _) in self.all(status).await? {
                let job = JobId::Process(id);
                if self.store.job(job).await?.is_none_or(|j| j.state.is_idle()) {
                    self.desk.arm(job).await?;
                }
            }
        }
        for (id, _) in self.all(BatchStatus::Deleting).await? {
            self.arm_unless_given_up(JobId::Undo(id)).await?;
        }
        Ok(())
    }

    /// Arms the rollup of days that have been stale for two sweeps; a run that has just marked them is at it.
    async fn arm_days(&mut self) -> Result<()> {
        let mut stale = HashSet::new();
        let mut after = None;
        loop {
            let page = self.store.stale_days(after, PAGE).await?;
            after = page.last().copied();
            for day in &page {
                if self.stale.contains(day) {
                    self.arm_unless_given_up(JobId::Rollup(*day)).await?;
                }
            }
            let last = page.len() < PAGE;
            stale.extend(page);
            if last {
                self.stale = stale;
                return Ok(());
            }
        }
    }

    /// A job that died waits for an admin, or for the night.
    async fn arm_unless_given_up(&self, job: JobId) -> Result<()> {
        let state = self.store.job(job).await?.map(|j| j.state);
        match state {
            None | Some(JobState::Completed | JobState::Cancelled) => self.desk.arm(job).await,
            Some(JobState::Queued | JobState::Running | JobState::Dead | JobState::Discarded) => {
                Ok(())
            }
        }
    }

    /// The batches in a status, and their upload leases; the documents are let go page by page.
    async fn all(&self, status: BatchStatus) -> Result<Vec<(BatchId, (String, u64))>> {
        let mut filter = BatchFilter {
            statuses: vec![status],
            parent: None,
            before: None,
        };
        let mut all = Vec::new();
        loop {
            let page = self.store.list_batches(&filter, PAGE).await?;
            let more = page.len() == PAGE && all.len() < WATCHED;
            filter.before = page.last().map(|b| b.id);
            all.extend(page.into_iter().map(|b| (b.id, b.upload_lease)));
            if !more {
                return Ok(all);
            }
        }
    }
}

enum Watch {
    Lapsed,
    Moving(Seen),
}
