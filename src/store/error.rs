//! Why a store does not answer, and how that is said.

/// Why the store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It is away, full or too slow; the same call may succeed later.
    #[error("the store is not available: {what}")]
    Unavailable {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It answered, but not as it should; another attempt may do.
    #[error("the store failed at {what}")]
    Failed {
        /// What was tried.
        what: &'static str,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Something that should be there is not.
    #[error("{what} is missing")]
    Missing {
        /// Which document or file.
        what: String,
    },
    /// What is kept can't be read.
    #[error("{what} is damaged: {why}")]
    Corrupt {
        /// Which document or file.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// It can't be opened with these settings.
    #[error("{0}")]
    Setup(String),
}

/// Result of a verb.
pub type Result<T> = std::result::Result<T, StoreError>;

/// Runs work that takes long, or that waits for a disk, where it holds up no request.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|why| Err(corrupt("an event file", &why)))
}

/// A disk that does not do as it is told.
pub(super) fn io(what: &'static str, source: std::io::Error) -> StoreError {
    StoreError::Unavailable {
        what,
        source: Box::new(source),
    }
}

pub(super) fn corrupt(what: &str, why: &dyn std::fmt::Display) -> StoreError {
    StoreError::Corrupt {
        what: what.into(),
        why: why.to_string(),
    }
}
