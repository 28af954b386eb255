//! The errors of a start on a data directory: which path, why, and what to do.

use std::{error::Error, fs::File, path::Path};

use rusqlite::ErrorCode;

use super::{DATABASE_FILE, db::DATABASE, disk_remedy, io_at};
use crate::{
    model::with_causes,
    store::{FileError, Result, StoreError},
};

/// Opens the database as a plain file. SQLite does not pass on why the system refuses a file; this does.
pub(super) fn probe(path: &Path) -> Result<()> {
    let file = File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(path);
    file.map(drop)
        .map_err(|why| io_at("the database", Path::new(DATABASE_FILE), why))
}

/// Converts an error of the disk or of the database to one that names the path and a remedy.
pub(super) fn with_remedy(dir: &Path, why: StoreError) -> StoreError {
    match why {
        StoreError::Unavailable { what, source }
        | StoreError::Blocked { what, source }
        | StoreError::Failed { what, source } => {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
            let (dir, mut cause) = (dir.display(), with_causes(source.as_ref()));
            if !source.is::<FileError>() {
                cause = format!("{what}: {cause}");
            }
            let remedy = remedy(source.as_ref());
            StoreError::Setup(format!("can't open the store in {dir}: {cause}; {remedy}"))
        }
        StoreError::Corrupt { what, why } if what == DATABASE => {
            let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.into());
            let dir = dir.display();
            StoreError::Setup(format!(
                "can't open the store in {dir}: {what}: {why}; {DAMAGED}"
            ))
        }
        other
        @ (StoreError::Missing { .. } | StoreError::Corrupt { .. } | StoreError::Setup(_)) => other,
    }
}

/// The remedy for a damaged database.
const DAMAGED: &str = "the file is damaged or not a tallymill.db: restore it from a backup, or set DATA_DIR to an empty directory";

fn remedy(cause: &(dyn Error + 'static)) -> &'static str {
    if let Some(file) = cause.downcast_ref::<FileError>() {
        return disk_remedy(&file.source);
    }
    if let Some(why) = cause.downcast_ref::<std::io::Error>() {
        return disk_remedy(why);
    }
    let code = cause
        .downcast_ref::<rusqlite::Error>()
        .and_then(rusqlite::Error::sqlite_error_code);
    match code {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => DAMAGED,
        Some(ErrorCode::DiskFull) => {
            "free space on its disk, or set DATA_DIR to a directory on another"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program has the database open: close it, and start again"
        }
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            "let the user of this process read and write the directory and its files, and open more files (ulimit -n)"
        }
        _ => {
            "check the disk and its free space; if they are sound, restore the directory from a backup"
        }
    }
}
