//! What is kept, behind small traits whose verbs say an intent. Each verb is atomic by itself and
//! may be repeated; none assumes a transaction with another.

pub mod embedded;
mod error;
pub mod mongo;
mod opened;
mod parquet_file;
mod requests;
mod selection;

use async_trait::async_trait;

use crate::{
    metric::{DayFigures, Group, Partial},
    model::{
        Batch, BatchChange, BatchId, BatchStatus, Columns, Content, Day, EventBlock, IdentityKey,
        Instant, Job, JobChange, JobId, JobState, Receipt, Refused, Rejection,
    },
};

pub use error::{Result, StoreError};
use error::{aside, corrupt, io};
pub use opened::{Opened, Place};
use requests::Underway;
pub use requests::{Appended, Begun, KeyStore, Part, ProfileStore, Put, Room, TransferStore};
pub use selection::{
    Attributes, DatedFilter, EventFile, EventFilter, FOUND_BYTES, Found, Position, Projection,
};
use selection::{WHOLE_BYTES, WHOLE_ROWS};

/// What became of a compare-and-set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed<T> {
    /// The document as it is now.
    Done(T),
    /// It is in a state that does not allow the change.
    Refused(Refused),
    /// There is no such document.
    Missing,
}

impl<T> Changed<T> {
    /// The document, if the change was made.
    #[must_use]
    pub fn done(self) -> Option<T> {
        match self {
            Self::Done(document) => Some(document),
            Self::Refused(_) | Self::Missing => None,
        }
    }
}

/// What became of a sealed upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sealed {
    /// It is visible now.
    Batch(Box<Batch>),
    /// The same bytes with the same options are here already.
    DuplicateOf(BatchId),
    /// It was given up meanwhile (cleanup took it for lost).
    Gone,
}

/// Which batches to list.
#[derive(Debug, Clone, Default)]
pub struct BatchFilter {
    /// In one of these states; all visible ones if empty.
    pub statuses: Vec<BatchStatus>,
    /// Mended rows of this one.
    pub parent: Option<BatchId>,
    /// Older than this one (the last of the page before).
    pub before: Option<BatchId>,
}

/// One identity that a batch would like to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The identity.
    pub key: IdentityKey,
    /// The row that holds it.
    pub row: u32,
    /// What the row says.
    pub content: Content,
}

/// A claim that another batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Index into the claims that were asked for.
    pub index: usize,
    /// Who holds it.
    pub owner: BatchId,
    /// The owner's row.
    pub row: u32,
    /// What the owner's row says.
    pub content: Content,
}

/// One row that lost its identity to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Loss {
    /// The row that is not counted.
    pub row: u32,
    /// The row that is.
    pub original_row: u32,
    /// Whether their contents differ.
    pub conflict: bool,
}

/// Who lost how much to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The batch whose rows are not counted.
    pub loser: BatchId,
    /// The batch that holds the originals; the same batch for repeats within one file.
    pub owner: BatchId,
    /// Rows with equal content.
    pub duplicates: u64,
    /// Rows with other content.
    pub conflicts: u64,
    /// Some of them: conflicts first, then by row.
    pub samples: Vec<Loss>,
}

impl Overlap {
    /// Rows listed with an overlap; the counts are of all.
    pub const SAMPLES: usize = 100;
}

/// A wish for figures and the last answer to it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayState {
    /// Grows when a batch that touches the day is published or taken away.
    pub wanted: i64,
    /// The wish that the figures answer.
    pub computed: i64,
}

/// A day's figures as they were last computed.
#[derive(Debug, Clone)]
pub struct StoredDay {
    /// The day.
    pub day: Day,
    /// Whether newer figures are wanted.
    pub stale: bool,
    /// When they were computed.
    pub computed_at: Instant,
    /// All that matches as one.
    pub total: Partial,
    /// By event type; only the one asked for, if one was.
    pub types: Vec<TypeFigure>,
}

/// What one event type comes to on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeFigure {
    /// The event type.
    pub event_type: String,
    /// Events.
    pub count: u64,
    /// Different users.
    pub unique_users: u64,
}

/// An act of an admin.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Instant,
    /// Who, as far as is known: the client address.
    pub actor: String,
    /// What.
    pub action: String,
    /// On what.
    pub subject: String,
    /// What came of it.
    pub result: String,
}

/// Batches: one document each.
#[async_trait]
pub trait BatchStore: Send + Sync {
    /// Adds a receiving batch.
    async fn create_batch(&self, batch: &Batch) -> Result<()>;
    /// Reads one, whatever its state.
    async fn batch(&self, id: BatchId) -> Result<Option<Batch>>;
    /// Compare-and-set by [`Batch::after`].
    async fn change_batch(&self, id: BatchId, change: &BatchChange) -> Result<Changed<Batch>>;
    /// Makes a received batch visible unless a live batch has the same content.
    async fn seal(&self, id: BatchId, receipt: Receipt, content: [u8; 32]) -> Result<Sealed>;
    /// Batches, newest first.
    async fn list_batches(&self, filter: &BatchFilter, limit: usize) -> Result<Vec<Batch>>;
    /// Live batches with events in a span of time, each with its last instant: the latest first, those of one instant
    /// the newest first.
    async fn dated_batches(
        &self,
        filter: &DatedFilter,
        limit: usize,
    ) -> Result<Vec<(i64, BatchId)>>;
    /// Published batches, longest unchecked first.
    async fn unchecked_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>>;
    /// Tombstones whose leftovers are due: at once, and again when they are older than `before`.
    async fn unpurged_batches(&self, before: Instant, limit: usize) -> Result<Vec<BatchId>>;
}

/// Takes the events of one batch, in row order.
#[async_trait]
pub trait EventWriter: Send {
    /// Appends.
    async fn append(&mut self, block: EventBlock) -> Result<()>;
    /// Makes all of it durable; before this nothing can be read.
    async fn finish(self: Box<Self>) -> Result<()>;
}

/// Gives the events of one batch, in row order.
#[async_trait]
pub trait EventScan: Send {
    /// The next rows; none at the end.
    async fn next(&mut self) -> Result<Option<EventBlock>>;
}

/// Events and rejections of a batch.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Opens the events of a receiving batch for writing.
    async fn write_events(&self, id: BatchId, columns: &Columns) -> Result<Box<dyn EventWriter>>;
    /// Reads the events of a sealed batch.
    async fn scan_events(&self, id: BatchId, projection: Projection) -> Result<Box<dyn EventScan>>;
    /// The first events of a batch that match, after a position: at most `limit`, and fewer once their text comes to
    /// [`FOUND_BYTES`].
    async fn find_events(
        &self,
        id: BatchId,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Found>;
    /// The events of a sealed batch as a file, which can be read to its end also if the batch goes meanwhile, or
    /// breaks off with an error.
    async fn event_file(&self, id: BatchId) -> Result<EventFile>;
    /// Adds rejections; the same row twice is one.
    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()>;
    /// Rejections after a row, in row order.
    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>>;
    /// Removes some rejections; true while there may be more.
    async fn drop_rejections(&self, id: BatchId) -> Result<bool>;
    /// Removes the events.
    async fn drop_events(&self, id: BatchId) -> Result<()>;
}

/// Who counts which identity.
#[async_trait]
pub trait ClaimStore: Send + Sync {
    /// Claims identities that nobody holds, given in key order; one already held by the same batch and
    /// row is its own. Gives those that others hold.
    async fn claim(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<Held>>;
    /// Takes identities over from an owner that is void, if it still holds them; others are claimed as by
    /// `claim`. Gives those that others hold.
    async fn take_over(&self, id: BatchId, from: BatchId, claims: &[Claim]) -> Result<Vec<Held>>;
    /// Gives back those of these identities that the batch holds.
    async fn release(&self, id: BatchId, keys: &[IdentityKey]) -> Result<()>;
    /// Records who lost to whom; a pair seen before is replaced.
    async fn put_overlaps(&self, overlaps: &[Overlap]) -> Result<()>;
    /// What a batch lost, by owner, after one owner.
    async fn losses(
        &self,
        loser: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>>;
    /// Who lost to a batch, after one loser.
    async fn losers(
        &self,
        owner: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>>;
    /// Indices of the claims that the batch does not hold for that row.
    async fn not_held(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<usize>>;
    /// Forgets who lost to a batch that is gone, and what it lost.
    async fn drop_overlaps(&self, id: BatchId) -> Result<()>;
}

/// Partials and days.
#[async_trait]
pub trait MetricStore: Send + Sync {
    /// Writes what a run adds, under its token; the same group twice is replaced.
    async fn put_partials(&self, id: BatchId, token: i64, groups: &[Group]) -> Result<()>;
    /// What a run wrote, by day and type.
    async fn partials(&self, id: BatchId, token: i64) -> Result<Vec<Group>>;
    /// Removes a batch's partials that no reader can ask for: below its fence and not published.
    /// True while there may be more.
    async fn sweep_partials(&self, id: BatchId) -> Result<bool>;
    /// Asks for new figures of these days.
    async fn mark_days(&self, days: &[Day]) -> Result<()>;
    /// The wish and the last answer.
    async fn day(&self, day: Day) -> Result<DayState>;
    /// Sums up the published partials of a day.
    async fn fold_day(&self, day: Day) -> Result<DayFigures>;
    /// Replaces a day's figures if what they answer is older; true if it was.
    async fn replace_day(
        &self,
        day: Day,
        computed: i64,
        at: Instant,
        figures: &DayFigures,
    ) -> Result<bool>;
    /// Days with events in a range, of one type or of all, in order.
    async fn days(
        &self,
        from: Day,
        to: Day,
        event_type: Option<&str>,
        limit: usize,
    ) -> Result<Vec<StoredDay>>;
    /// Days whose figures are not the wanted ones, after one.
    async fn stale_days(&self, after: Option<Day>, limit: usize) -> Result<Vec<Day>>;
}

/// The ledger of jobs: one document each.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Queues a job that is new; one that is there is left as it is, whatever its state.
    async fn add_job(&self, id: JobId, now: Instant) -> Result<()>;
    /// Queues a job, adding it if it is new; one that is queued or running is left as it is.
    async fn arm(&self, id: JobId, now: Instant) -> Result<Job>;
    /// Reads one.
    async fn job(&self, id: JobId) -> Result<Option<Job>>;
    /// Compare-and-set by [`Job::after`].
    async fn change_job(&self, id: JobId, change: &JobChange, now: Instant)
    -> Result<Changed<Job>>;
    /// Queued jobs whose time has come, the longest due first.
    async fn due_jobs(&self, now: Instant, limit: usize) -> Result<Vec<JobId>>;
    /// Jobs in one state, newest change first, after a page's last (change, id).
    async fn jobs_in(
        &self,
        state: JobState,
        after: Option<(Instant, JobId)>,
        limit: usize,
    ) -> Result<Vec<Job>>;
    /// How many jobs are in a state.
    async fn count_jobs(&self, state: JobState) -> Result<u64>;
    /// Forgets settled cleanup and reprocess jobs that last changed before; true while there may be more.
    async fn prune_jobs(&self, before: Instant) -> Result<bool>;
    /// Records an act of an admin.
    async fn record_audit(&self, entry: &AuditEntry) -> Result<()>;
}

/// All of it.
pub trait Store:
    BatchStore
    + EventStore
    + ClaimStore
    + MetricStore
    + JobStore
    + KeyStore
    + ProfileStore
    + TransferStore
{
}

impl<T> Store for T where
    T: BatchStore
        + EventStore
        + ClaimStore
        + MetricStore
        + JobStore
        + KeyStore
        + ProfileStore
        + TransferStore
{
}
