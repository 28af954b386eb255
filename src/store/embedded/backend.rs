//! The embedded store as a backend.

use std::sync::Arc;

use async_trait::async_trait;

use super::{DATABASE_FILE, EmbeddedStore, Mode, corrupt, db::DATABASE, io};
use crate::store::{Backend, Result, Store, check_directory, run_blocking};

#[async_trait]
impl Backend for EmbeddedStore {
    fn store(self: Arc<Self>) -> Arc<dyn Store> {
        self
    }

    fn kind(&self) -> &'static str {
        "embedded"
    }

    fn installation(&self) -> &str {
        "tallymill"
    }

    fn lease_owner_prefix(&self) -> Option<String> {
        Some(format!("boot-{}/", self.boot))
    }

    fn announce(&self, url: &str) -> Result<()> {
        self.write_lock_holder(Some(url))
    }

    async fn log_orphans(&self) -> Result<()> {
        Self::log_orphans(self).await
    }

    async fn check(&self) -> Result<()> {
        if self.db.is_damaged() {
            return Err(corrupt(DATABASE, &"SQLite has reported it since the start"));
        }
        // A row of its own: the write goes through the write-ahead log to the disk, as that of an upload does.
        self.db
            .write(|db| {
                db.execute(
                    "INSERT INTO meta (name, value) VALUES ('check', '0')
                     ON CONFLICT (name) DO UPDATE SET value = CAST(value AS INTEGER) + 1",
                    [],
                )?;
                Ok(())
            })
            .await?;
        if self.mode == Mode::Simulated {
            return Ok(());
        }
        let dir = self.dir.clone();
        run_blocking(move || {
            check_directory(&dir.join("batches"))?;
            // SQLite writes to a deleted file without an error.
            match std::fs::metadata(dir.join(DATABASE_FILE)) {
                Ok(_) => Ok(()),
                Err(why) => Err(io("the database file", why)),
            }
        })
        .await
    }

    async fn close(&self) -> Result<()> {
        self.db.write(|_| Ok(())).await?;
        // Not left to the drop of the store: threads of a stopped server may hold it for a moment longer.
        match &self.lock {
            Some(lock) => lock.release().map_err(|why| io("the lock file", why)),
            None => Ok(()),
        }
    }
}
