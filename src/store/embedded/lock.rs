//! The lock file of a data directory: locked by the process that owns the directory, with its id and URL as content.

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::{EmbeddedStore, io_at, to_json};
use crate::store::{Result, StoreError};

/// The name of the lock file.
const LOCK_FILE: &str = "tallymill.lock";

/// The process that owns a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Its process id.
    pub pid: u32,
    /// The URL of its API, once it listens.
    pub url: Option<String>,
}

impl EmbeddedStore {
    /// Returns the process that owns a data directory, if one does.
    #[must_use]
    pub fn holder(dir: &Path) -> Option<LockHolder> {
        let file = File::open(dir.join(LOCK_FILE)).ok()?;
        match file.try_lock_shared() {
            Ok(()) | Err(TryLockError::Error(_)) => None,
            Err(TryLockError::WouldBlock) => {
                serde_json::from_str(&fs::read_to_string(dir.join(LOCK_FILE)).ok()?).ok()
            }
        }
    }

    /// Writes this process into the lock file.
    pub(super) fn write_lock_holder(&self, url: Option<&str>) -> Result<()> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        let holder = to_json(&LockHolder {
            pid: std::process::id(),
            url: url.map(str::to_owned),
        })?;
        let mut file = &lock.file;
        let written = file
            .set_len(0)
            .and_then(|()| std::io::Seek::rewind(&mut file))
            .and_then(|()| file.write_all(holder.as_bytes()));
        written.map_err(|why| io_at("the lock file", Path::new(LOCK_FILE), why))
    }
}

/// The locks of a data directory, held until they are released or the process ends.
pub(super) struct DirectoryLock {
    /// Its content names the process.
    file: File,
    /// The directory itself: the file may be deleted, and a second process would create and lock another one.
    directory: File,
}

impl DirectoryLock {
    pub(super) fn release(&self) -> std::io::Result<()> {
        self.file.unlock()?;
        self.directory.unlock()
    }
}

/// Locks a data directory for this process.
pub(super) fn acquire(dir: &Path) -> Result<DirectoryLock> {
    let directory = File::open(dir).map_err(|why| io_at("the data directory", dir, why))?;
    let file = lock_file(dir)?;
    try_lock(&directory, dir)?;
    try_lock(&file, dir)?;
    Ok(DirectoryLock { file, directory })
}

fn lock_file(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|why| io_at("the lock file", Path::new(LOCK_FILE), why))
}

fn try_lock(file: &File, dir: &Path) -> Result<()> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::Error(why)) => Err(io_at("the lock file", Path::new(LOCK_FILE), why)),
        Err(TryLockError::WouldBlock) => {
            let by = match EmbeddedStore::holder(dir) {
                Some(LockHolder {
                    pid,
                    url: Some(url),
                }) => format!("process {pid}, which answers at {url}"),
                Some(LockHolder { pid, url: None }) => format!("process {pid}"),
                None => "another process".into(),
            };
            Err(StoreError::Setup(format!(
                "{} is in use by {by}: stop it, or choose another DATA_DIR",
                dir.display()
            )))
        }
    }
}
