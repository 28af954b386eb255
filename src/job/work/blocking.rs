//! Work that sorts or reads spill files, off the threads that serve requests.

use std::io;

use tokio::runtime::Handle;

use crate::job::RunError;

/// Runs work on the blocking thread pool; on the caller's thread in a simulation, which has no runtime.
pub(super) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RunError> {
    if Handle::try_current().is_err() {
        return Ok(work()?);
    }
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|why| RunError::Inconsistent(format!("sorting broke down: {why}")))?;
    Ok(done?)
}
