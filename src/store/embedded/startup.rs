//! The checks of each start: the time zone, and whether files and documents agree.

use std::{
    fs,
    path::{Path, PathBuf},
};

use chrono_tz::Tz;
use rusqlite::Transaction;

use super::{EmbeddedStore, io_at};
use crate::{
    model::{BatchId, BatchStatus},
    store::{BatchFilter, BatchStore, Result, StoreError, corrupt},
};

/// Batches checked in one step.
const PAGE: usize = 500;

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

impl EmbeddedStore {
    /// Deletes files of unfinished uploads and orphaned parts, and logs orphaned event files and batches without one.
    pub(super) async fn check_files(&self) -> Result<()> {
        for file in list(&self.dir.join("tmp"))?
            .into_iter()
            .filter(|file| file.is_file())
        {
            tracing::info!(file = %file.display(), "deleting the temporary file of an unfinished upload");
            fs::remove_file(&file).map_err(|why| io_at("a temporary file", &file, why))?;
        }
        self.log_orphaned_event_files().await?;
        self.check_parts().await?;
        self.log_missing_event_files().await
    }

    async fn log_orphaned_event_files(&self) -> Result<()> {
        for file in list(&self.dir.join("batches"))? {
            let id = file
                .file_stem()
                .and_then(|name| name.to_str()?.parse::<BatchId>().ok());
            let known = match id {
                Some(id) => self.batch(id).await?.is_some(),
                None => false,
            };
            if !known {
                tracing::warn!(file = %file.display(), "orphaned event file, not removed: no batch has this name; move it out of the data directory");
            }
        }
        Ok(())
    }

    async fn log_missing_event_files(&self) -> Result<()> {
        let mut filter = BatchFilter::default();
        filter.statuses.extend(
            BatchStatus::ALL
                .into_iter()
                .filter(|s| !s.is_void() && *s != BatchStatus::Receiving),
        );
        loop {
            let page = self.list_batches(&filter, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            filter.before = Some(last.id);
            for batch in page {
                let file = self.event_file_path(batch.id);
                if !file.exists() {
                    tracing::error!(batch.id = %batch.id, file = %file.display(), "the event file of a batch is missing: restore it from a backup");
                }
            }
        }
    }
}

fn list(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(|why| io_at("the data directory", dir, why))?;
    entries
        .map(|entry| {
            entry
                .map(|e| e.path())
                .map_err(|why| io_at("the data directory", dir, why))
        })
        .collect()
}
