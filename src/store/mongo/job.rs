//! Jobs: a document each.

use async_trait::async_trait;
use mongodb::bson::{Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{corrupt, date, parsed},
    stored_document::{from_document, to_document},
};
use crate::{
    model::{Instant, Job, JobChange, JobId, JobKind, JobState},
    store::{Changed, JobStore, Result, StoreError},
};

/// Attempts to arm a job that others keep deleting.
const ATTEMPTS: usize = 5;

#[async_trait]
impl JobStore for MongoStore {
    async fn add_job(&self, id: JobId, now: Instant) -> Result<()> {
        self.add(&Job::armed(id, now)).await.map(drop)
    }

    async fn arm(&self, id: JobId, now: Instant) -> Result<Job> {
        for _ in 0..ATTEMPTS {
            if let Changed::Done(job) = self.change_job(id, &JobChange::Arm, now).await? {
                return Ok(job);
            }
            let job = Job::armed(id, now);
            if self.add(&job).await? {
                return Ok(job);
            }
        }
        Err(StoreError::Unavailable {
            what: "arming a job",
            source: "it keeps being removed".into(),
        })
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>> {
        self.db.read(&id.to_string()).await
    }

    async fn change_job(
        &self,
        id: JobId,
        change: &JobChange,
        now: Instant,
    ) -> Result<Changed<Job>> {
        let after = |job: &Job| job.after(change, now);
        self.db.change(&id.to_string(), after).await
    }

    async fn due_jobs(&self, now: Instant, limit: usize) -> Result<Vec<JobId>> {
        let find = Find {
            filter: doc! { "state": JobState::Queued.as_str(), "run_at": { "$lte": date(now) } },
            sort: doc! { "run_at": 1 },
            limit,
            fields: doc! { "_id": 1 },
        };
        let id = |found: Document| parsed(&found, "_id");
        self.db.list("jobs", find, id).await
    }

    async fn jobs_in(
        &self,
        state: JobState,
        after: Option<(Instant, JobId)>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        let mut filter = doc! { "state": state.as_str() };
        if let Some((at, id)) = after {
            let older = doc! { "changed_at": { "$lt": date(at) } };
            let same = doc! { "changed_at": date(at), "_id": { "$lt": id.to_string() } };
            filter.insert("$or", vec![older, same]);
        }
        let find = Find {
            filter,
            sort: doc! { "changed_at": -1, "_id": -1 },
            limit,
            ..Find::default()
        };
        self.db.list("jobs", find, from_document).await
    }

    async fn count_jobs(&self, state: JobState) -> Result<u64> {
        let these = doc! { "state": state.as_str() };
        self.db.count("jobs", these).await
    }

    async fn prune_jobs(&self, before: Instant) -> Result<bool> {
        let scheduled = [JobKind::Cleanup, JobKind::Reprocess];
        let mut latest = Vec::new();
        for kind in scheduled {
            latest.extend(self.latest(kind).await?);
        }
        let kinds = [JobKind::Cleanup, JobKind::Reprocess, JobKind::Retry].map(JobKind::as_str);
        let settled = [
            JobState::Completed,
            JobState::Cancelled,
            JobState::Discarded,
        ]
        .map(JobState::as_str);
        let old = doc! {
            "kind": { "$in": kinds.to_vec() },
            "state": { "$in": settled.to_vec() },
            "changed_at": { "$lt": date(before) },
            "$nor": [ { "_id": { "$in": latest } } ],
        };
        // The filter is repeated at the deletion: a job that was armed since the query stays.
        let condition = old.clone();
        self.db.delete_some("jobs", old, condition).await
    }
}

impl MongoStore {
    /// Returns the id of the job of the latest slot.
    async fn latest(&self, kind: JobKind) -> Result<Option<String>> {
        // Ids sort by their slots; `;` is the character after `:`.
        let kind = kind.as_str();
        let find = Find {
            filter: doc! { "_id": { "$gte": format!("{kind}:"), "$lt": format!("{kind};") } },
            sort: doc! { "_id": -1 },
            limit: 1,
            fields: doc! { "_id": 1 },
        };
        let found = self.db.find("jobs", find).await?;
        let id = found.first().and_then(|found| found.get_str("_id").ok());
        Ok(id.map(str::to_owned))
    }

    /// Adds a job. Returns false if it exists.
    async fn add(&self, job: &Job) -> Result<bool> {
        let raw = serialize_to_raw_document_buf(&to_document(job, 0)?);
        let raw = raw.map_err(|why| corrupt("a job", &why))?;
        Ok(self.db.insert("jobs", vec![raw]).await?.is_empty())
    }
}
