//! Reads for users: takes a filter and a cursor, returns one bounded page. Never writes.

mod cursor;
mod events;
mod metrics;
mod rejections;

pub use cursor::{BadCursor, Cursor};
pub use events::{Event, EventFault, EventList, EventQuery, RangeBound, events};
pub use metrics::{MetricDay, MetricFault, MetricFilter, Metrics, metrics};
pub use rejections::{RejectionCounts, RejectionFilter, count_rejections, rejections};

use crate::{
    model::{Batch, BatchId, BatchStatus, Instant, Job, JobId, JobState, Profile, ProfileName},
    store::{BatchFilter, Overlap, Result, Store, StoreError},
};

/// Longest page of any list.
pub const MAX_PAGE: usize = 1_000;
/// Length of a page, unless the request sets it.
pub const DEFAULT_PAGE: usize = 50;
/// Bytes of documents after which a page of batches ends early: a receipt may list hundreds of columns and types.
const BATCH_PAGE_BYTES: usize = 2 << 20;
/// Batches read in one step.
const BATCH_STEP: usize = 20;
/// Most overlaps returned with a batch.
const MAX_OVERLAPS: usize = 100;
/// Most overlaps counted for a dead job.
const MAX_COUNTED_OVERLAPS: usize = 500;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The items.
    pub data: Vec<T>,
    /// The cursor of the next page; none at the end.
    pub next: Option<Cursor>,
}

/// Why a query failed.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The cursor belongs to another list.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// The metric filter is refused.
    #[error(transparent)]
    Metrics(#[from] MetricFault),
    /// The event filter is refused.
    #[error(transparent)]
    Events(#[from] EventFault),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Makes a page from a list of up to `limit + 1` items; the last one shows that there is a next page.
fn page<T>(mut data: Vec<T>, limit: usize, next: impl Fn(&T) -> Cursor) -> Page<T> {
    let more = data.len() > limit;
    data.truncate(limit);
    let next = if more { data.last().map(next) } else { None };
    Page { data, next }
}

/// Lists visible batches, newest first.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or an unavailable store.
pub async fn batches(
    store: &dyn Store,
    status: Option<BatchStatus>,
    parent: Option<BatchId>,
    limit: usize,
    after: Option<&str>,
) -> std::result::Result<Page<Batch>, QueryError> {
    let mut list = format!("batches {}", status.map_or("", BatchStatus::as_str));
    if let Some(parent) = parent {
        list += &format!(" of {parent}");
    }
    let before: Option<BatchId> = after.map(|text| Cursor::read(&list, text)).transpose()?;
    let mut filter = BatchFilter {
        statuses: status.into_iter().collect(),
        parent,
        before,
    };
    let cursor = |batch: &Batch| Cursor::new(&list, &batch.id);
    let (mut data, mut bytes) = (Vec::new(), 0);
    loop {
        let step = BATCH_STEP.min(limit + 1 - data.len());
        let read = store.list_batches(&filter, step).await?;
        let at_end = read.len() < step;
        filter.before = read.last().map(|batch| batch.id).or(filter.before);
        bytes += read.iter().map(document_bytes).sum::<usize>();
        data.extend(read);
        if at_end || data.len() > limit {
            return Ok(page(data, limit, cursor));
        }
        if bytes > BATCH_PAGE_BYTES {
            let next = data.last().map(cursor);
            return Ok(Page { data, next });
        }
    }
}

/// Returns the approximate bytes of a batch in a reply.
fn document_bytes(batch: &Batch) -> usize {
    /// Counts what is written.
    struct Length(usize);
    impl std::io::Write for Length {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    // What can't be serialized takes no bytes of a reply either.
    let _ = serde_json::to_writer(&mut length, batch);
    length.0
}

/// A batch with its job and overlaps.
#[derive(Debug, Clone)]
pub struct BatchDetail {
    /// The batch.
    pub batch: Batch,
    /// Its undo job if it is being deleted, else its process job.
    pub job: Option<Job>,
    /// The overlaps in which it is the loser, each with the status of the owner; without deleted owners.
    pub overlaps: Vec<(Overlap, BatchStatus)>,
}

/// Returns a visible batch with its job and overlaps; none if it does not exist or is still being received.
///
/// # Errors
/// [`StoreError`] if the store is unavailable.
pub async fn batch(store: &dyn Store, id: BatchId) -> Result<Option<BatchDetail>> {
    let Some(batch) = visible(store, id).await? else {
        return Ok(None);
    };
    let job = if batch.status.is_void() {
        JobId::Undo(id)
    } else {
        JobId::Process(id)
    };
    let job = store.job(job).await?;
    let mut overlaps = Vec::new();
    if batch.published.is_some() {
        for overlap in store.overlaps_of_loser(id, None, MAX_OVERLAPS).await? {
            let status = store.batch(overlap.owner).await?.map(|b| b.status);
            overlaps.extend(
                status
                    .filter(|s| !s.is_void())
                    .map(|status| (overlap, status)),
            );
        }
    }
    Ok(Some(BatchDetail {
        batch,
        job,
        overlaps,
    }))
}

/// Returns a batch, unless it is still being received or was never sealed.
///
/// # Errors
/// [`StoreError`] if the store is unavailable.
pub async fn visible(store: &dyn Store, id: BatchId) -> Result<Option<Batch>> {
    Ok(store
        .batch(id)
        .await?
        .filter(|batch| batch.receipt.is_some() && batch.status != BatchStatus::Receiving))
}

/// Lists profiles by name.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or an unavailable store.
pub async fn profiles(
    store: &dyn Store,
    limit: usize,
    after: Option<&str>,
) -> std::result::Result<Page<Profile>, QueryError> {
    let after: Option<ProfileName> = after
        .map(|text| Cursor::read("profiles", text))
        .transpose()?;
    let data = store.profiles(after.as_ref(), limit + 1).await?;
    let next = |profile: &Profile| Cursor::new("profiles", &profile.name);
    Ok(page(data, limit, next))
}

/// A dead job and its effect on other batches.
#[derive(Debug, Clone)]
pub struct DeadJob {
    /// The job.
    pub job: Job,
    /// Events of other batches that are not counted because the batch of this job owns their identities.
    pub blocked_events: u64,
}

/// Lists dead jobs, the latest first, and returns how many there are in all.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or an unavailable store.
pub async fn dead_jobs(
    store: &dyn Store,
    limit: usize,
    after: Option<&str>,
) -> std::result::Result<(u64, Page<DeadJob>), QueryError> {
    let after = after
        .map(|text| Cursor::read::<JobPosition>("dead", text))
        .transpose()?;
    let jobs = store
        .jobs_in(JobState::Dead, after.map(|p| (p.at, p.id)), limit + 1)
        .await?;
    let mut data = Vec::with_capacity(jobs.len());
    for job in jobs {
        let blocked_events = match job.id {
            JobId::Process(id) => blocked_events_of(store, id).await?,
            JobId::Undo(_)
            | JobId::Rollup(_)
            | JobId::Reprocess(_)
            | JobId::Cleanup(_)
            | JobId::Retry(_) => 0,
        };
        data.push(DeadJob {
            job,
            blocked_events,
        });
    }
    let next = |dead: &DeadJob| {
        Cursor::new(
            "dead",
            &JobPosition {
                at: dead.job.changed_at,
                id: dead.job.id,
            },
        )
    };
    Ok((
        store.count_jobs(JobState::Dead).await?,
        page(data, limit, next),
    ))
}

async fn blocked_events_of(store: &dyn Store, id: BatchId) -> Result<u64> {
    let overlaps = store
        .overlaps_of_owner(id, None, MAX_COUNTED_OVERLAPS)
        .await?;
    Ok(overlaps
        .iter()
        .filter(|o| o.loser != id)
        .map(|o| o.duplicates + o.conflicts)
        .sum())
}

/// The sort key of a job in a list.
struct JobPosition {
    at: Instant,
    id: JobId,
}

impl std::fmt::Display for JobPosition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.at.timestamp_millis(), self.id)
    }
}

impl std::str::FromStr for JobPosition {
    type Err = ();

    fn from_str(text: &str) -> std::result::Result<Self, ()> {
        let (at, id) = text.split_once(' ').ok_or(())?;
        let at = Instant::from_timestamp_millis(at.parse().map_err(|_| ())?).ok_or(())?;
        Ok(Self {
            at,
            id: id.parse().map_err(|_| ())?,
        })
    }
}
