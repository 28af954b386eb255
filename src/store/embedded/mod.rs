//! The embedded store: SQLite for documents that change, one immutable Parquet file per batch for its events.
//! One process at a time owns a data directory, by a lock file.

mod audit;
mod backend;
mod backup;
mod batch;
mod claim;
mod day_sum;
mod db;
mod event;
mod idempotency;
mod job;
mod lock;
mod metric;
mod migrate;
mod open_error;
mod profile;
mod rejection;
mod startup;
mod time;
mod transfer;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use chrono_tz::Tz;
use rusqlite::Rows;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    metric::SpanSize,
    model::{BatchId, Instant},
    store::{Result, StoreError, Undecodable, corrupt, disk_remedy, io, io_at, run_blocking},
};
pub use backup::{BackupSummary, CheckReport, backup, check, restore};
use db::Db;
use lock::DirectoryLock;
pub use lock::LockHolder;

/// The name of the database file.
const DATABASE_FILE: &str = "tallymill.db";

/// How the store runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On disk and fsynced, with a writer thread and concurrent readers.
    Durable,
    /// For simulations: the database in memory, all work on the caller's thread, no fsync.
    Simulated,
}

/// SQLite and Parquet files in one data directory.
pub struct EmbeddedStore {
    db: Db,
    dir: PathBuf,
    mode: Mode,
    /// The number of this start, counted in the database.
    boot: u64,
    undecodable: Undecodable,
    /// The running time of this process at the last reading of its clocks.
    last_running: Mutex<Duration>,
    /// Locked while the store lives; the system releases the lock if the process dies.
    lock: Option<DirectoryLock>,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, creates it if it is missing, and locks the directory.
    ///
    /// # Errors
    /// [`StoreError::Setup`] if another process owns the directory, if its days are in another time zone, if a newer
    /// version wrote it, if it is damaged, or if the disk refuses.
    pub async fn open(dir: &Path, zone: Tz, mode: Mode) -> Result<Self> {
        let opened = Self::open_files(dir, zone, mode).await;
        opened.map_err(|why| open_error::with_remedy(dir, why))
    }

    async fn open_files(dir: &Path, zone: Tz, mode: Mode) -> Result<Self> {
        for sub in ["batches", "parts", "tmp"] {
            let sub = dir.join(sub);
            fs::create_dir_all(&sub).map_err(|why| StoreError::unusable_path(&sub, &why))?;
        }
        let (db, lock) = match mode {
            Mode::Durable => {
                let lock = lock::acquire(dir)?;
                startup::refuse_lost_database(dir)?;
                let path = dir.join(DATABASE_FILE);
                open_error::probe(&path)?;
                (Db::file(&path)?, Some(lock))
            }
            Mode::Simulated => (Db::memory()?, None),
        };
        let boot = db.write(move |db| startup::begin(db, zone)).await?;
        let store = Self {
            db,
            dir: dir.into(),
            mode,
            boot,
            undecodable: Undecodable::default(),
            last_running: Mutex::default(),
            lock,
        };
        if mode == Mode::Durable {
            store.write_lock_holder(None)?;
            store.remove_unfinished_files().await?;
        }
        Ok(store)
    }

    fn span_size(&self) -> SpanSize {
        match self.mode {
            Mode::Durable => SpanSize::NORMAL,
            Mode::Simulated => SpanSize::SMALL,
        }
    }

    /// Runs work on files off the async threads; in a simulation, which has none, on the caller's.
    async fn run_on_files<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self.mode {
            Mode::Durable => run_blocking(work).await,
            Mode::Simulated => work(),
        }
    }

    fn event_file_path(&self, id: BatchId) -> PathBuf {
        self.dir.join("batches").join(format!("{id}.parquet"))
    }
}

fn to_json<T: Serialize>(document: &T) -> Result<String> {
    serde_json::to_string(document).map_err(|why| corrupt("a document", &why))
}

/// Decodes the first `limit` rows of (id, document) that can be decoded.
fn decoded<T: DeserializeOwned>(
    rows: &mut Rows<'_>,
    table: &str,
    limit: usize,
    undecodable: &Undecodable,
) -> Result<Vec<T>> {
    let mut documents = Vec::new();
    while documents.len() < limit
        && let Some(row) = rows.next()?
    {
        let (id, doc) = (row.get_ref(0)?.as_str(), row.get_ref(1)?.as_str());
        let id = id.unwrap_or("a row without an id");
        let document = doc
            .map_err(|why| corrupt(table, &why))
            .and_then(|doc| from_json(table, doc));
        documents.extend(undecodable.skip(table, id, document));
    }
    Ok(documents)
}

fn from_json<T: DeserializeOwned>(what: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|why| corrupt(what, &why))
}

/// The value of a bound LIMIT that stands for all rows. The statement has the same plan as with any other limit; its reader
/// stops once it has enough rows.
const ALL_ROWS: i64 = -1;

fn millis(at: Instant) -> i64 {
    at.timestamp_millis()
}
