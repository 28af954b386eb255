//! The store of a process: where it is, how it is opened, checked and closed.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use chrono_tz::Tz;

use super::{
    Result, Store,
    embedded::{EmbeddedStore, Mode},
    mongo::MongoStore,
};

/// The location of a store.
#[derive(Clone, Copy)]
pub enum StoreLocation<'a> {
    /// A data directory, used by one process at a time.
    Embedded(&'a Path),
    /// The connection string of a MongoDB, shared by any number of processes.
    Mongo(&'a str),
}

/// An open store, and what differs between the stores besides their documents.
#[async_trait]
pub trait Backend: Send + Sync {
    /// Returns the store traits of this backend.
    fn store(self: Arc<Self>) -> Arc<dyn Store>;

    /// Returns the kind of store, as `/ready` and the log show it.
    fn kind(&self) -> &'static str;

    /// Returns the name of the installation. It keeps apart the keys of installations that share a Redis.
    fn installation(&self) -> &str;

    /// Returns the prefix of all lease owners of this start, if one process owns the store.
    /// Leases of owners without the prefix belong to an earlier start and have expired.
    fn lease_owner_prefix(&self) -> Option<String>;

    /// Records the URL of this process where another process on the same location can read it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](super::StoreError::Unavailable) if the disk refuses.
    fn announce(&self, url: &str) -> Result<()>;

    /// Logs what is orphaned or missing in the store. It may take a while, so it runs beside the service after each start.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) if the store is unavailable.
    async fn log_orphans(&self) -> Result<()>;

    /// Writes to the store, as an upload would, and removes what it wrote.
    ///
    /// # Errors
    /// [`StoreError`](super::StoreError) says why uploads would fail.
    async fn check(&self) -> Result<()>;

    /// Waits for writes in progress and releases the location.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](super::StoreError::Unavailable) if the disk refuses.
    async fn close(&self) -> Result<()>;
}

/// Opens the store at a location, creates it if it is missing, and migrates it to the schema of this version.
///
/// # Errors
/// [`StoreError::Setup`](super::StoreError::Setup) if it can't be used with these settings;
/// [`StoreError::Unavailable`](super::StoreError::Unavailable) if it does not answer.
pub async fn open(location: StoreLocation<'_>, zone: Tz) -> Result<Arc<dyn Backend>> {
    Ok(match location {
        StoreLocation::Embedded(dir) => {
            Arc::new(EmbeddedStore::open(dir, zone, Mode::Durable).await?)
        }
        StoreLocation::Mongo(uri) => Arc::new(MongoStore::open(uri, zone).await?),
    })
}
