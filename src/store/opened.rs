//! The store as a process has it: which one it is, and what only one of them does.

use std::{path::Path, sync::Arc};

use chrono_tz::Tz;

use super::{
    Result, Store,
    embedded::{EmbeddedStore, Mode},
    mongo::MongoStore,
};

/// Where the store is.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// In this directory, for one process.
    Embedded(&'a Path),
    /// At a MongoDB, by its connection string, for any number of processes.
    Mongo(&'a str),
}

/// An open store.
#[derive(Clone)]
pub enum Opened {
    /// SQLite and Parquet files.
    Embedded(Arc<EmbeddedStore>),
    /// MongoDB.
    Mongo(Arc<MongoStore>),
}

impl Opened {
    /// Opens (or makes) it, and brings it to this version's schema.
    ///
    /// # Errors
    /// [`StoreError::Setup`](super::StoreError::Setup) if it can't be used with these settings;
    /// [`StoreError::Unavailable`](super::StoreError::Unavailable) if it is away.
    pub async fn open(place: Place<'_>, zone: Tz) -> Result<Self> {
        Ok(match place {
            Place::Embedded(dir) => Self::Embedded(Arc::new(
                EmbeddedStore::open(dir, zone, Mode::Durable).await?,
            )),
            Place::Mongo(uri) => Self::Mongo(Arc::new(MongoStore::open(uri, zone).await?)),
        })
    }

    /// Its verbs.
    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Embedded(store) => store.clone(),
            Self::Mongo(store) => store.clone(),
        }
    }

    /// Its kind, as `/ready` and the log name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Embedded(_) => "embedded",
            Self::Mongo(_) => "mongodb",
        }
    }

    /// The name of the installation that the store is: those who share a Redis are told apart by it.
    #[must_use]
    pub fn space(&self) -> &str {
        match self {
            Self::Embedded(_) => "tallymill",
            Self::Mongo(store) => store.database(),
        }
    }

    /// Begins the name of every worker of this start where one process owns the store:
    /// leases of other starts have lapsed.
    #[must_use]
    pub fn owner_prefix(&self) -> Option<String> {
        match self {
            Self::Embedded(store) => Some(store.owner_prefix()),
            Self::Mongo(_) => None,
        }
    }

    /// Writes down where this process answers, for those who look for the owner of a directory.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](super::StoreError::Unavailable) if the disk refuses.
    pub fn announce(&self, url: &str) -> Result<()> {
        match self {
            Self::Embedded(store) => store.announce(Some(url)),
            Self::Mongo(_) => Ok(()),
        }
    }

    /// Waits for what is being written and lets go of it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`](super::StoreError::Unavailable) if the disk refuses.
    pub async fn close(&self) -> Result<()> {
        match self {
            Self::Embedded(store) => store.close().await,
            Self::Mongo(store) => {
                store.close().await;
                Ok(())
            }
        }
    }
}
