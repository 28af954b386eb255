//! MongoDB as a backend.

use std::sync::Arc;

use async_trait::async_trait;
use mongodb::bson::{DateTime, doc};

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

    async fn log_orphans(&self) -> Result<()> {
        // Documents have no files beside them.
        Ok(())
    }

    async fn check(&self) -> Result<()> {
        let now = DateTime::now();
        let change = doc! { "$set": { "at": now } };
        let check = (doc! { "_id": "check" }, change, true);
        self.db.update_each("meta", vec![check]).await
    }

    async fn close(&self) -> Result<()> {
        // Immediately: the caller has stopped waiting for commands in progress.
        let client = self.db.database.client().clone();
        client.shutdown().immediate(true).await;
        Ok(())
    }
}
