//! Filters and cursors in, one page of what is kept out. Reads only, a bounded page at a time.

mod cursor;
mod events;
mod metrics;

pub use cursor::{BadCursor, Cursor};
pub use events::{Edge, Event, EventFault, EventQuery, events};
pub use metrics::{MetricDay, MetricFault, MetricFilter, Metrics, metrics};

use crate::{
    model::{
        Batch, BatchId, BatchStatus, Instant, Job, JobId, JobState, Profile, ProfileName, Rejection,
    },
    store::{BatchFilter, Overlap, Result, Store, StoreError},
};

/// Longest page of any list.
pub const MAX_PAGE: usize = 1_000;
/// A page where none is asked for.
pub const DEFAULT_PAGE: usize = 50;
/// Bytes of original cells after which a page of rejections ends early: rows may be long.
const PAGE_BYTES: usize = 2 << 20;
/// Rejections read at once.
const REJECTIONS_AT_ONCE: usize = 50;
/// Overlaps shown with a batch.
const OVERLAPS: usize = 100;
/// Losers counted at once.
const LOSERS: usize = 500;

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub data: Vec<T>,
    /// Where the next begins; none at the end.
    pub next: Option<Cursor>,
}

/// Why a page can't be given.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The cursor is not one of this list.
    #[error(transparent)]
    Cursor(#[from] BadCursor),
    /// The filter makes no sense.
    #[error(transparent)]
    Metrics(#[from] MetricFault),
    /// Neither does this one.
    #[error(transparent)]
    Events(#[from] EventFault),
    /// The store said so.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Cuts a list that was read one longer than the page.
fn page<T>(mut data: Vec<T>, limit: usize, next: impl Fn(&T) -> Cursor) -> Page<T> {
    let more = data.len() > limit;
    data.truncate(limit);
    let next = if more { data.last().map(next) } else { None };
    Page { data, next }
}

/// Visible batches, newest first.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or a store that is away.
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
    let filter = BatchFilter {
        statuses: status.into_iter().collect(),
        parent,
        before,
    };
    let data = store.list_batches(&filter, limit + 1).await?;
    Ok(page(data, limit, |batch| Cursor::new(&list, &batch.id)))
}

/// A batch with its job and overlaps.
#[derive(Debug, Clone)]
pub struct BatchDetail {
    /// The batch.
    pub batch: Batch,
    /// Its newest job: the undo if it is being taken away, else the process job.
    pub job: Option<Job>,
    /// To whom it lost rows, with the status of each; owners that are gone are left out.
    pub overlaps: Vec<(Overlap, BatchStatus)>,
}

/// One visible batch; none if there is none or it is still being received.
///
/// # Errors
/// [`StoreError`] if the store is away.
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
        for overlap in store.overlaps_of_loser(id, None, OVERLAPS).await? {
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

/// A batch that anybody may know of.
///
/// # Errors
/// [`StoreError`] if the store is away.
pub async fn visible(store: &dyn Store, id: BatchId) -> Result<Option<Batch>> {
    Ok(store
        .batch(id)
        .await?
        .filter(|batch| batch.receipt.is_some() && batch.status != BatchStatus::Receiving))
}

/// Rejections of a batch in row order.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or a store that is away.
pub async fn rejections(
    store: &dyn Store,
    id: BatchId,
    limit: usize,
    after: Option<&str>,
) -> std::result::Result<Page<Rejection>, QueryError> {
    let list = format!("errors {id}");
    let mut last: u32 = after
        .map(|text| Cursor::read(&list, text))
        .transpose()?
        .unwrap_or(0);
    let (mut data, mut bytes) = (Vec::new(), 0);
    loop {
        let asked = REJECTIONS_AT_ONCE.min(limit + 1 - data.len());
        let part = store.rejections(id, last, asked).await?;
        let at_end = part.len() < asked;
        last = part.last().map_or(last, |rejection| rejection.row);
        bytes += part
            .iter()
            .flat_map(|r| &r.cells)
            .map(String::len)
            .sum::<usize>();
        data.extend(part);
        if at_end || data.len() > limit {
            return Ok(page(data, limit, |rejection| {
                Cursor::new(&list, &rejection.row)
            }));
        }
        if bytes > PAGE_BYTES {
            let next = Some(Cursor::new(&list, &last));
            return Ok(Page { data, next });
        }
    }
}

/// Profiles by name.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or a store that is away.
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

/// A dead job, and how many events of other batches its batch still holds back.
#[derive(Debug, Clone)]
pub struct DeadJob {
    /// The job.
    pub job: Job,
    /// Events of others that are not counted because of it.
    pub holds: u64,
}

/// Dead jobs, the latest first, and how many there are in all.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or a store that is away.
pub async fn dead_jobs(
    store: &dyn Store,
    limit: usize,
    after: Option<&str>,
) -> std::result::Result<(u64, Page<DeadJob>), QueryError> {
    let after = after
        .map(|text| Cursor::read::<Position>("dead", text))
        .transpose()?;
    let jobs = store
        .jobs_in(JobState::Dead, after.map(|p| (p.at, p.id)), limit + 1)
        .await?;
    let mut data = Vec::with_capacity(jobs.len());
    for job in jobs {
        let holds = match job.id {
            JobId::Process(id) => held_back(store, id).await?,
            JobId::Undo(_) | JobId::Rollup(_) | JobId::Reprocess(_) | JobId::Cleanup(_) => 0,
        };
        data.push(DeadJob { job, holds });
    }
    let next = |dead: &DeadJob| {
        Cursor::new(
            "dead",
            &Position {
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

async fn held_back(store: &dyn Store, id: BatchId) -> Result<u64> {
    let losers = store.overlaps_of_owner(id, None, LOSERS).await?;
    Ok(losers
        .iter()
        .filter(|o| o.loser != id)
        .map(|o| o.duplicates + o.conflicts)
        .sum())
}

/// Where a page of jobs ended.
struct Position {
    at: Instant,
    id: JobId,
}

impl std::fmt::Display for Position {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.at.timestamp_millis(), self.id)
    }
}

impl std::str::FromStr for Position {
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
