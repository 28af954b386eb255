//! The Parquet file of a batch's events, which both stores produce: schema, encodings, writer and readers.
//! Format: <https://parquet.apache.org/docs/file-format/>; the footer carries `tallymill.schema=1`.

mod digest;
mod find;
mod read;
mod write;

use std::{fs::File, path::Path};

use parquet::errors::ParquetError;

use super::{Result, StoreError, corrupt, io};

pub(super) use digest::{CheckedChunks, DigestWriter, open_checked};
pub(super) use find::find_events;
pub(super) use read::BlockReader;
pub(super) use write::BlockWriter;

/// The footer key of the text bytes per row, averaged over the block with the longest rows. Readers size their steps by
/// it.
const ROW_BYTES: &str = "tallymill.row_bytes";

/// How an error names a file before [`of_file`] names it.
const UNNAMED: &str = "an event file";

fn damaged(why: &dyn std::fmt::Display) -> StoreError {
    corrupt(UNNAMED, why)
}

/// Adds the name of the file to the error of a damaged one.
pub(super) fn of_file(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt { what, why } if what == UNNAMED => corrupt(&name(path), &why),
        other => other,
    }
}

/// Returns the error of a failed write. Parquet wraps the error of the disk.
fn failed(why: ParquetError) -> StoreError {
    const WHAT: &str = "writing an event file";
    match why {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(why) => io(WHAT, *why),
            Err(source) => StoreError::Unavailable { what: WHAT, source },
        },
        other => StoreError::Unavailable {
            what: WHAT,
            source: Box::new(other),
        },
    }
}

/// Returns how errors name a file: by its path within the data directory, whose own path stays private.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().display();
    format!("the event file batches/{file}")
}

/// Opens a complete file.
fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => StoreError::Missing { what: name(path) },
        _ => read_failed(why),
    })
}

pub(super) fn read_failed(why: std::io::Error) -> StoreError {
    io("reading an event file", why)
}
