//! Why a request to a transfer fails.

use super::{MAX_CHECKED_BYTES, MAX_TRANSFERS_PER_SENDER};
use crate::{
    ingest::{BodyError, IngestError},
    model::TransferId,
    store::StoreError,
};

/// Why a request to a transfer fails. Parts that are durable already remain.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The transfer does not exist, has expired, or was terminated.
    #[error("there is no upload {0}: it was given up, or nothing of it arrived for 24 hours")]
    Missing(TransferId),
    /// The body does not start at the end of the file.
    #[error(
        "the upload goes on at {end}, not at {requested}: HEAD tells where, also when another request is at it"
    )]
    OffsetMismatch {
        /// The offset of the request.
        requested: u64,
        /// The end of the file.
        end: u64,
    },
    /// Another request appends to the same file.
    #[error(
        "another request is sending bytes of this upload: wait for it to end, then ask HEAD for the offset"
    )]
    Busy,
    /// The body goes beyond the announced length of the file.
    #[error("the upload has {length} bytes in all, and more than that were sent")]
    TooLong {
        /// The announced length.
        length: u64,
    },
    /// The body broke off or was too slow.
    #[error("the body broke off or was too slow: HEAD tells how much of it is here")]
    Interrupted(#[source] BodyError),
    /// The body is too long for a checksum.
    #[error(
        "a checksum may be of {MAX_CHECKED_BYTES} bytes at most: send smaller parts, or leave it out"
    )]
    CheckedTooLong,
    /// The body has another checksum.
    #[error("what arrived is not what the checksum says; nothing of it was kept: send it again")]
    ChecksumMismatch,
    /// The options request a dry run.
    #[error(
        "`dry_run` is for a file sent at once: send it, or the beginning of it, with POST /uploads"
    )]
    DryRun,
    /// The file has the maximum number of parts.
    #[error(
        "the upload has {limit} parts already, the limit: give it up, and send fewer and larger ones"
    )]
    TooManyParts {
        /// The limit.
        limit: u64,
    },
    /// The file is complete.
    #[error(
        "the upload is whole and becomes a batch: HEAD names it, DELETE /batches/:id takes it back"
    )]
    Complete,
    /// The limit of open transfers is reached.
    #[error(
        "too many unfinished uploads are kept already: finish or DELETE some, or try again in {seconds} seconds"
    )]
    Full {
        /// Seconds until one of them expires.
        seconds: u64,
    },
    /// The limit of open transfers of one sender is reached.
    #[error(
        "this address has {MAX_TRANSFERS_PER_SENDER} unfinished uploads already: finish or DELETE some, or try again in {seconds} seconds"
    )]
    SenderFull {
        /// Seconds until one of them expires.
        seconds: u64,
    },
    /// The options are invalid, or the complete file cannot be ingested.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
