//! The error of every store method, and helpers to build it.

/// Why a store method failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is away, full or too slow; the same call may succeed later.
    #[error("the store is not available: {what}")]
    Unavailable {
        /// The operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The disk refuses reads or writes, and will until an operator acts: it is full, read-only, or closed to this user.
    #[error("the disk refuses: {what}")]
    Blocked {
        /// The operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store answered with an error; another attempt may succeed.
    #[error("the store failed at {what}")]
    Failed {
        /// The operation.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
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
pub(super) fn io(what: &'static str, source: std::io::Error) -> StoreError {
    let is_blocked = needs_operator(&source);
    let source = Box::new(source);
    if is_blocked {
        StoreError::Blocked { what, source }
    } else {
        StoreError::Unavailable { what, source }
    }
}

/// Whether no wait mends a disk operation that failed like this.
#[must_use]
pub fn needs_operator(why: &std::io::Error) -> bool {
    use std::io::ErrorKind::{
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
