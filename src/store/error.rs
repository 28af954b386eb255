//! The error of every store method, and helpers to build it.

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
};

use crate::model::with_causes;

/// Why a store method failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away, full or too slow; the same call may succeed later.
    #[error("the store is not available: {what}: {}", with_causes(.source.as_ref()))]
    Unavailable {
        /// The operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The disk refuses reads or writes, and will until an operator acts: it is full, read-only, or closed to this user.
    #[error("the disk refuses: {what}: {}", with_causes(.source.as_ref()))]
    Blocked {
        /// The operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// The store answered with an error; another attempt may succeed.
    #[error("the store failed at {what}: {}", with_causes(.source.as_ref()))]
    Failed {
        /// The operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: Cause,
    },
    /// A document or file that must exist does not.
    #[error("{what} is missing")]
    Missing {
        /// The document or file.
        what: String,
    },
    /// A stored document or file can't be decoded.
    #[error("{what} is damaged: {why}")]
    Corrupt {
        /// The document or file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The store can't be opened with these settings.
    #[error("{0}")]
    Setup(String),
}

/// The cause of a store error.
type Cause = Box<dyn Error + Send + Sync>;

impl StoreError {
    /// Returns the error of a directory or file that a start needs and the system refuses: its path, the cause in
    /// words, and a remedy.
    #[must_use]
    pub fn unusable_path(path: &Path, why: &io::Error) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        let (path, remedy) = (path.display(), disk_remedy(why));
        Self::Setup(format!("can't use {path}: {why}; {remedy}"))
    }

    /// Returns whether the log has this error already, as the first of an outage that goes on. Whoever meets it again
    /// logs it at debug level.
    #[must_use]
    pub fn is_known_outage(&self) -> bool {
        match self {
            Self::Unavailable { source, .. } => source.is::<KnownOutage>(),
            Self::Blocked { .. }
            | Self::Failed { .. }
            | Self::Missing { .. }
            | Self::Corrupt { .. }
            | Self::Setup(_) => false,
        }
    }

    /// Returns whether one document or file is at fault, so that others can still be read.
    #[must_use]
    pub fn is_of_document(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Corrupt { .. })
    }

    /// Marks the error as one of an outage that the log has.
    pub(super) fn of_known_outage(self) -> Self {
        match self {
            Self::Unavailable { what, source } => Self::Unavailable {
                what,
                source: Box::new(KnownOutage(source)),
            },
            other => other,
        }
    }
}

/// A cause that the log has as the beginning of an outage.
#[derive(Debug)]
struct KnownOutage(Cause);

impl fmt::Display for KnownOutage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for KnownOutage {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// A failed operation on one file or directory.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}")]
pub(super) struct FileError {
    path: String,
    pub(super) source: io::Error,
}

/// Returns what an operator can do about a directory or file that the system refuses.
pub(super) fn disk_remedy(why: &io::Error) -> &'static str {
    use io::ErrorKind as Kind;
    match why.kind() {
        Kind::PermissionDenied => {
            "let the user of this process read and write it, or set DATA_DIR to a directory where it may"
        }
        Kind::ReadOnlyFilesystem => {
            "mount it so that it can be written, or set DATA_DIR to a directory that can be written"
        }
        Kind::NotADirectory | Kind::AlreadyExists | Kind::IsADirectory => {
            "a file stands in the place of a directory, or a directory in that of a file: move it away, or set DATA_DIR to another directory"
        }
        Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => {
            "free space on its disk, or set DATA_DIR to a directory on another"
        }
        _ if why.raw_os_error() == Some(TOO_MANY_OPEN_FILES) => {
            "raise the limit of open files of this process (ulimit -n)"
        }
        _ => "set DATA_DIR to a directory that can be read and written",
    }
}

/// EMFILE, on every Unix.
const TOO_MANY_OPEN_FILES: i32 = 24;

/// The result of a store method.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Runs slow or blocking work on the blocking thread pool.
///
/// # Errors
/// That of the work; [`StoreError::Corrupt`] if it panicked.
pub async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|why| Err(corrupt("what blocking work read", &why)))
}

/// Returns the error of a failed disk operation.
pub(super) fn io(what: &'static str, source: io::Error) -> StoreError {
    disk_error(what, needs_operator(&source), Box::new(source))
}

/// Returns the error of a failed operation on a file or directory of the store. Jobs show the text to clients, so it
/// names the file by the end of its path only: the path of the data directory stays private.
pub(super) fn io_at(what: &'static str, path: &Path, source: io::Error) -> StoreError {
    let mut end: Vec<_> = path.iter().rev().take(2).collect();
    end.reverse();
    let path = end.iter().collect::<PathBuf>().display().to_string();
    let is_blocked = needs_operator(&source);
    disk_error(what, is_blocked, Box::new(FileError { path, source }))
}

fn disk_error(what: &'static str, is_blocked: bool, source: Cause) -> StoreError {
    if is_blocked {
        StoreError::Blocked { what, source }
    } else {
        StoreError::Unavailable { what, source }
    }
}

/// Whether no wait mends a disk operation that failed like this.
#[must_use]
pub fn needs_operator(why: &io::Error) -> bool {
    use io::ErrorKind::{
        NotADirectory, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    matches!(
        why.kind(),
        NotADirectory | PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull
    )
}

/// Returns the error of a document or file that can't be decoded.
pub(super) fn corrupt(what: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        what: what.into(),
        why: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_operation_path_and_cause_once() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = io_at(
            "writing an event file",
            Path::new("/data/batches/a.parquet"),
            full,
        );
        let text = error.to_string();
        assert_eq!(
            text,
            "the disk refuses: writing an event file: batches/a.parquet: no storage space"
        );
        assert_eq!(with_causes(&error), text, "no cause is repeated");
        let slow = io_at(
            "the database",
            Path::new("d"),
            io::ErrorKind::TimedOut.into(),
        );
        let text = slow.to_string();
        let known = slow.of_known_outage();
        assert_eq!(known.to_string(), text);
        assert!(known.is_known_outage());
    }
}
