//! The checks of each start: the time zone, files of unfinished uploads, and, beside the running service, whether files
//! and batches agree.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use chrono_tz::Tz;
use rusqlite::Transaction;

use super::{
    DATABASE_FILE, EmbeddedStore,
    batch::{HAS_EVENTS, id_of},
    io_at,
};
use crate::{
    model::BatchId,
    store::{Result, StoreError, corrupt, directory::is_temporary, run_blocking},
};

/// Checks the time zone against that of the first start. Returns the number of this start.
pub(super) fn begin(db: &Transaction<'_>, zone: Tz) -> Result<u64> {
    db.execute(
        "INSERT INTO meta (name, value) VALUES ('time_zone', ?1) ON CONFLICT (name) DO NOTHING",
        [zone.name()],
    )?;
    let stored: String = db.query_row(
        "SELECT value FROM meta WHERE name = 'time_zone'",
        [],
        |row| row.get(0),
    )?;
    if stored != zone.name() {
        return Err(StoreError::Setup(format!(
            "this store counts its days in {stored}, but TIME_ZONE is {}: set TIME_ZONE={stored}, or start with an empty DATA_DIR and upload the files again",
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

/// Refuses a data directory with event files whose database is missing or empty: it would start as an empty store.
pub(super) fn refuse_lost_database(dir: &Path) -> Result<()> {
    let database = dir.join(DATABASE_FILE);
    let batches = dir.join("batches");
    if fs::metadata(&database).is_ok_and(|file| file.len() > 0) {
        return Ok(());
    }
    let entries = fs::read_dir(&batches).map_err(|why| io_at("the data directory", dir, why))?;
    if !entries.flatten().any(|entry| is_event_file(&entry.path())) {
        return Ok(());
    }
    Err(StoreError::Setup(format!(
        "{} is missing or empty, but {} has event files: restore a backup (`tallymill restore`), or move `batches` away to begin with an empty store",
        database.display(),
        batches.display()
    )))
}

/// Whether a file of `batches` has the name of an event file.
pub(super) fn is_event_file(file: &Path) -> bool {
    file.extension().is_some_and(|kind| kind == "parquet")
}

impl EmbeddedStore {
    /// Deletes files of unfinished uploads and orphaned parts: those that the service named.
    pub(super) async fn remove_unfinished_files(&self) -> Result<()> {
        for file in list(&self.dir.join("tmp"))? {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            if !is_temporary(&name) {
                log_foreign(&file);
                continue;
            }
            tracing::info!(file = %file.display(), "deleting the temporary file of an unfinished upload");
            fs::remove_file(&file).map_err(|why| io_at("a temporary file", &file, why))?;
        }
        self.check_parts().await
    }

    /// Logs orphaned event files, and batches whose file is missing. Reads names only.
    pub(super) async fn log_orphans(&self) -> Result<()> {
        let dir = self.dir.join("batches");
        let files = run_blocking(move || list(&dir)).await?;
        let mut names = HashSet::new();
        for file in files.iter().filter(|file| is_event_file(file)) {
            let id = file
                .file_stem()
                .and_then(|name| name.to_str()?.parse::<BatchId>().ok());
            if id.is_none_or(|id| !names.insert(id)) || !self.is_batch(id).await? {
                tracing::warn!(file = %file.display(), "orphaned event file, not removed: no batch has this name; move it out of the data directory");
            }
        }
        for id in self.batches_with_events().await? {
            let file = self.event_file_path(id);
            // One that was sealed since the directory was read has its file.
            if !names.contains(&id) && !file.exists() && self.has_events(id).await? {
                tracing::error!(batch.id = %id, file = %file.display(), "the event file of batch {id} is missing: restore it from a backup, or delete the batch and upload its file again");
            }
        }
        Ok(())
    }

    async fn is_batch(&self, id: Option<BatchId>) -> Result<bool> {
        let id = id.map(|id| id.to_string());
        let sql = "SELECT 1 FROM batches WHERE id = ?1";
        self.db
            .read(move |db| Ok(db.prepare_cached(sql)?.exists([id])?))
            .await
    }

    async fn has_events(&self, id: BatchId) -> Result<bool> {
        let sql = format!("SELECT 1 FROM batches WHERE id = ?1 AND {HAS_EVENTS}");
        self.db
            .read(move |db| Ok(db.prepare_cached(&sql)?.exists([id.to_string()])?))
            .await
    }

    async fn batches_with_events(&self) -> Result<Vec<BatchId>> {
        let sql = format!("SELECT id FROM batches WHERE {HAS_EVENTS}");
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(&sql)?;
                let ids = query.query_map([], id_of)?;
                Ok(ids.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }
}

/// Logs a file of `tmp` or `parts` that the service did not name.
pub(super) fn log_foreign(file: &Path) {
    tracing::warn!(file = %file.display(), "file in the data directory is not of this service, not removed");
}

pub(super) fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|why| io_at("the data directory", dir, why))?;
    entries
        .map(|entry| {
            entry
                .map(|e| e.path())
                .map_err(|why| io_at("the data directory", dir, why))
        })
        .collect()
}
