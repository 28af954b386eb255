//! Persistence: one trait per kind of document, implemented by [`embedded`] (SQLite and Parquet files) and [`mongo`].
//! Each method is atomic and idempotent; no caller may rely on a transaction across two methods.
//! Each trait lives with its value types in a file of its own, and its implementations in files of the same name.

mod audit;
mod backend;
mod batch;
mod claim;
mod directory;
pub mod embedded;
mod error;
mod event;
mod idempotency;
mod job;
mod metric;
pub mod mongo;
mod parquet_file;
mod profile;
mod rejection;
mod time;
mod transfer;
mod undecodable;

pub use audit::{AuditEntry, AuditStore};
pub use backend::{Backend, StoreLocation, open};
pub use batch::{BatchFilter, BatchStore, Changed, EventTimeFilter, Sealed};
pub use claim::{Claim, ClaimStore, ForeignClaim, Loss, Overlap};
pub use directory::{check_directory, claim_directory};
use error::{FileError, corrupt, disk_remedy, io, io_at};
pub use error::{Result, StoreError, needs_operator, run_blocking};
pub use event::{
    Attributes, EVENT_PAGE_BYTES, EventFile, EventFilter, EventPage, EventPosition, EventScan,
    EventStore, EventWriter, Projection,
};
use event::{READ_BYTES, READ_ROWS};
pub use idempotency::IdempotencyStore;
pub use job::JobStore;
pub use metric::{DayState, MetricStore, StoredDay, TypeFigure};
pub use profile::{ProfileStore, PutProfileOutcome};
pub use rejection::RejectionStore;
use time::CertainTime;
pub use time::{ClockReading, TimeStore};
use transfer::OpenTransfer;
pub use transfer::{
    AppendPartOutcome, OpenTransferOutcome, TransferLimits, TransferPart, TransferStore,
};
use undecodable::Undecodable;

/// Every store trait together. Lists leave out documents that can't be decoded, so that one does not hide the others.
pub trait Store:
    AuditStore
    + BatchStore
    + ClaimStore
    + EventStore
    + IdempotencyStore
    + JobStore
    + MetricStore
    + ProfileStore
    + RejectionStore
    + TimeStore
    + TransferStore
{
}

impl<T> Store for T where
    T: AuditStore
        + BatchStore
        + ClaimStore
        + EventStore
        + IdempotencyStore
        + JobStore
        + MetricStore
        + ProfileStore
        + RejectionStore
        + TimeStore
        + TransferStore
{
}
