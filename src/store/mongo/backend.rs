//! MongoDB as a backend.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::doc;

use super::MongoStore;
use crate::store::{Backend, Result, Store};

#[async_trait]
impl Backend for MongoStore {
    fn store(self: Arc<Self>) -> Arc<dyn Store> {
        self
    }

    fn kind(&self) -> &'static str {
        "mongodb"
    }

    fn installation(&self) -> &str {
        self.db.database.name()
    }

    fn lease_owner_prefix(&self) -> Option<String> {
        None
    }

    fn announce(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn ping(&self) -> Result<()> {
        let ping = async { self.db.database.run_command(doc! { "ping": 1 }).await };
        self.db.run("ping", ping).await?;
        // A primary answers `ping` without its majority; a write that matches nothing still waits for it.
        let nothing = doc! { "_id": "none" };
        self.db.delete("days", nothing).await.map(drop)
    }

    async fn close(&self) -> Result<()> {
        // Immediately: the caller has stopped waiting for commands in progress.
        let client = self.db.database.client().clone();
        client.shutdown().immediate(true).await;
        Ok(())
    }
}
