//! The embedded store: SQLite for what changes, one immutable Parquet file per batch for its events.
//! One process owns a data directory; a lock file says which.

mod batches;
mod claims;
mod db;
mod events;
mod jobs;
mod keys;
mod metrics;
mod migrate;
mod profiles;
mod rejections;
mod transfers;

use std::{
    fs::{self, File, TryLockError},
    io::Write,
    path::{Path, PathBuf},
};

use chrono_tz::Tz;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    model::{BatchId, BatchStatus, Instant},
    store::{Result, StoreError, corrupt, io},
};
use db::Db;

/// How the store keeps its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// On disk, fsynced, a writer thread and readers beside it.
    Durable,
    /// The database in memory, everything on the caller's thread, no fsync: for simulations.
    Simulated,
}

/// SQLite and Parquet files under one directory.
pub struct EmbeddedStore {
    db: Db,
    dir: PathBuf,
    mode: Mode,
    boot: u64,
    // Held as long as the store lives; the system releases it if the process dies.
    lock: Option<File>,
}

/// Name of the lock file in a data directory.
const LOCK_FILE: &str = "tallymill.lock";

/// What a lock file says of its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct LockHolder {
    /// Its process id.
    pub pid: u32,
    /// Where it answers, once it does.
    pub url: Option<String>,
}

impl EmbeddedStore {
    /// Opens (or makes) the store in `dir` and takes its lock.
    ///
    /// # Errors
    /// [`StoreError::Setup`] if another process has it, if it counts its days in another zone, or if a newer
    /// version wrote it; [`StoreError::Unavailable`] if the disk refuses.
    pub async fn open(dir: &Path, zone: Tz, mode: Mode) -> Result<Self> {
        for sub in ["batches", "parts", "tmp"] {
            fs::create_dir_all(dir.join(sub)).map_err(|why| {
                StoreError::Setup(format!("can't make {}: {why}", dir.join(sub).display()))
            })?;
        }
        let (db, lock) = match mode {
            Mode::Durable => {
                let lock = take_lock(dir)?;
                (Db::file(&dir.join("tallymill.db"))?, Some(lock))
            }
            Mode::Simulated => (Db::memory()?, None),
        };
        let boot = db.write(move |db| begin(db, zone)).await?;
        let store = Self {
            db,
            dir: dir.into(),
            mode,
            boot,
            lock,
        };
        if mode == Mode::Durable {
            store.announce(None)?;
            store.look_after_files().await?;
        }
        Ok(store)
    }

    /// Begins the name of every worker of this start; leases of other starts have lapsed.
    #[must_use]
    pub fn owner_prefix(&self) -> String {
        format!("boot-{}/", self.boot)
    }

    /// Writes into the lock file where this process answers.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the disk refuses.
    pub fn announce(&self, url: Option<&str>) -> Result<()> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        let holder = to_json(&LockHolder {
            pid: std::process::id(),
            url: url.map(str::to_owned),
        })?;
        let mut file = lock;
        let written = file
            .set_len(0)
            .and_then(|()| std::io::Seek::rewind(&mut file))
            .and_then(|()| file.write_all(holder.as_bytes()));
        written.map_err(|why| io("the lock file", why))
    }

    /// Waits for what is being written and gives the directory free, whoever still holds a handle:
    /// threads of a server that has stopped may take a moment to let go of theirs.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the disk refuses.
    pub async fn close(&self) -> Result<()> {
        self.db.write(|_| Ok(())).await?;
        match &self.lock {
            Some(lock) => lock.unlock().map_err(|why| io("the lock file", why)),
            None => Ok(()),
        }
    }

    /// Who holds the lock of a data directory, if somebody does.
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

    fn events_file(&self, id: BatchId) -> PathBuf {
        self.dir.join("batches").join(format!("{id}.parquet"))
    }

    /// Removes what unfinished uploads left, and names files without a batch and batches without a file.
    async fn look_after_files(&self) -> Result<()> {
        for left in list(&self.dir.join("tmp"))?
            .into_iter()
            .filter(|left| left.is_file())
        {
            tracing::info!(file = %left.display(), "removing what an unfinished upload left");
            fs::remove_file(&left).map_err(|why| io("a temporary file", why))?;
        }
        for file in list(&self.dir.join("batches"))? {
            let id = file
                .file_stem()
                .and_then(|name| name.to_str()?.parse::<BatchId>().ok());
            let known = match id {
                Some(id) => crate::store::BatchStore::batch(self, id).await?.is_some(),
                None => false,
            };
            if !known {
                tracing::warn!(file = %file.display(), "a file without a batch: it is not ours to remove, please look at it");
            }
        }
        self.look_after_parts().await?;
        self.name_batches_without_file().await
    }

    async fn name_batches_without_file(&self) -> Result<()> {
        let mut filter = crate::store::BatchFilter::default();
        filter.statuses.extend(
            BatchStatus::ALL
                .into_iter()
                .filter(|s| !s.is_void() && *s != BatchStatus::Receiving),
        );
        loop {
            let page = crate::store::BatchStore::list_batches(self, &filter, 500).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            filter.before = Some(last.id);
            for batch in page
                .iter()
                .filter(|batch| !self.events_file(batch.id).exists())
            {
                tracing::error!(batch.id = %batch.id, file = %self.events_file(batch.id).display(), "a batch without its file: restore it from a backup");
            }
        }
    }
}

fn take_lock(dir: &Path) -> Result<File> {
    let path = dir.join(LOCK_FILE);
    let file = File::options()
        .create(true)
        .read(true)
        .write(true)
        .truncate(false)
        .open(&path)
        .map_err(|why| io("the lock file", why))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::Error(why)) => Err(io("the lock file", why)),
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

/// Counts this start and checks that days are counted as before.
fn begin(db: &rusqlite::Transaction<'_>, zone: Tz) -> Result<u64> {
    db.execute(
        "INSERT INTO meta (name, value) VALUES ('time_zone', ?1) ON CONFLICT (name) DO NOTHING",
        [zone.name()],
    )?;
    let kept: String = db.query_row(
        "SELECT value FROM meta WHERE name = 'time_zone'",
        [],
        |row| row.get(0),
    )?;
    if kept != zone.name() {
        return Err(StoreError::Setup(format!(
            "this store counts its days in {kept}, but TIME_ZONE is {}: set TIME_ZONE={kept}, or start with an empty DATA_DIR and upload the files again",
            zone.name()
        )));
    }
    db.execute(
        "INSERT INTO meta (name, value) VALUES ('boot', '1') ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
        [],
    )?;
    let boot: String = db.query_row("SELECT value FROM meta WHERE name = 'boot'", [], |row| {
        row.get(0)
    })?;
    boot.parse()
        .map_err(|why: std::num::ParseIntError| corrupt("the count of starts", &why))
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|why| io("the data directory", why))?;
    entries
        .map(|entry| {
            entry
                .map(|e| e.path())
                .map_err(|why| io("the data directory", why))
        })
        .collect()
}

fn to_json<T: Serialize>(document: &T) -> Result<String> {
    serde_json::to_string(document).map_err(|why| corrupt("a document", &why))
}

fn from_json<T: DeserializeOwned>(what: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|why| corrupt(what, &why))
}

fn millis(at: Instant) -> i64 {
    at.timestamp_millis()
}
