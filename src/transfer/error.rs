//! Why an upload in parts goes no further.

use super::{CHECKED_BYTES, OF_SENDER};
use crate::{ingest::IngestError, model::TransferId, store::StoreError};

/// Why nothing, or no more, was taken.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// No such file, or one that was given up.
    #[error("there is no upload {0}: it was given up, or nothing of it arrived for 24 hours")]
    Missing(TransferId),
    /// The file ends elsewhere.
    #[error(
        "the upload goes on at {end}, not at {asked}: HEAD tells where, also when another request is at it"
    )]
    Elsewhere {
        /// Where the bytes were to go.
        asked: u64,
        /// Where the file ends.
        end: u64,
    },
    /// More bytes than were announced.
    #[error("the upload has {length} bytes in all, and more than that were sent")]
    TooLong {
        /// What was announced.
        length: u64,
    },
    /// A checksum of too much.
    #[error(
        "a checksum may be of {CHECKED_BYTES} bytes at most: send smaller parts, or leave it out"
    )]
    CheckedTooLong,
    /// Other bytes than the checksum says.
    #[error("what arrived is not what the checksum says; nothing of it was kept: send it again")]
    WrongChecksum,
    /// A look at a file that is to be stored nowhere.
    #[error(
        "`dry_run` is for a file sent at once: send it, or the beginning of it, with POST /uploads"
    )]
    DryRun,
    /// A file in crumbs.
    #[error(
        "the upload has {limit} parts already, the limit: give it up, and send fewer and larger ones"
    )]
    TooManyParts {
        /// As many as may be.
        limit: u64,
    },
    /// It is whole.
    #[error(
        "the upload is whole and becomes a batch: HEAD names it, DELETE /batches/:id takes it back"
    )]
    Whole,
    /// Too much is on its way already.
    #[error(
        "too many unfinished uploads are kept already: finish or DELETE some, or try again in {seconds} seconds"
    )]
    Full {
        /// Until one of them is forgotten, if nothing more of it arrives.
        seconds: u64,
    },
    /// Too much of one sender is.
    #[error(
        "this address has {OF_SENDER} unfinished uploads already: finish or DELETE some, or try again in {seconds} seconds"
    )]
    SenderFull {
        /// Until one of them is forgotten, if nothing more of it arrives.
        seconds: u64,
    },
    /// The body, the file or its options.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The store is away.
    #[error(transparent)]
    Store(#[from] StoreError),
}
