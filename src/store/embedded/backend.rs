//! The embedded store as a backend.

use std::sync::Arc;

use async_trait::async_trait;

use super::{EmbeddedStore, io};
use crate::store::{Backend, Result, Store};

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

    async fn ping(&self) -> Result<()> {
        self.db
            .read(|db| Ok(db.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?))
            .await?;
        // An empty transaction waits for the writer thread and the write lock.
        self.db.write(|_| Ok(())).await
    }

    async fn close(&self) -> Result<()> {
        self.db.write(|_| Ok(())).await?;
        // Not left to the drop of the store: threads of a stopped server may hold it for a moment longer.
        match &self.lock {
            Some(lock) => lock.unlock().map_err(|why| io("the lock file", why)),
            None => Ok(()),
        }
    }
}
