//! Damages and repairs the stored events of a batch, in either store.

use std::path::PathBuf;

use mongodb::{
    Client, Collection,
    bson::{Document, doc},
};

use super::app::TestApp;

/// Repairs a damaged batch.
pub(crate) enum Remedy {
    File(Vec<u8>),
    Event(Document),
}

impl TestApp {
    /// Makes a dead letter by damaging the events of a batch; returns the batch and its remedy.
    pub(crate) async fn dead_letter(&self, source: &str, csv: &'static str) -> (String, Remedy) {
        let batch = self.uploaded(&format!("?source={source}"), csv).await;
        let remedy = self.damage(&batch).await;
        let asked = self.post(&format!("/batches/{batch}/process")).await;
        assert_eq!(asked.status, 202, "{}", asked.text);
        self.until(&batch, "failed").await;
        // The batch fails first, its job is settled last.
        self.until_job(&format!("process:{batch}"), "dead").await;
        (batch, remedy)
    }

    /// Returns the number of batches with events.
    pub(crate) async fn batches_with_events(&self) -> usize {
        match self.events().await {
            Some(events) => events
                .distinct("batch", doc! {})
                .await
                .expect("reads")
                .len(),
            None => {
                let files = std::fs::read_dir(self.dir.path().join("batches"));
                files.expect("a directory").count()
            }
        }
    }

    /// Makes the events of a batch unreadable.
    async fn damage(&self, batch: &str) -> Remedy {
        match self.events().await {
            Some(events) => {
                let event = events.find_one_and_delete(doc! { "batch": batch }).await;
                Remedy::Event(event.expect("answers").expect("is there"))
            }
            None => {
                let whole = std::fs::read(self.file(batch)).expect("reads");
                std::fs::write(self.file(batch), "not parquet").expect("writes");
                Remedy::File(whole)
            }
        }
    }

    /// Repairs a damaged batch.
    pub(crate) async fn repair(&self, batch: &str, remedy: Remedy) {
        match remedy {
            Remedy::File(whole) => std::fs::write(self.file(batch), whole).expect("writes"),
            Remedy::Event(event) => {
                let events = self.events().await.expect("the same store");
                events.insert_one(event).await.expect("inserts");
            }
        }
    }

    fn file(&self, batch: &str) -> PathBuf {
        let name = format!("{batch}.parquet");
        self.dir.path().join("batches").join(name)
    }

    async fn events(&self) -> Option<Collection<Document>> {
        let uri = self.mongo_uri.as_ref()?;
        let client = Client::with_uri_str(uri).await.expect("connects");
        let database = client.default_database().expect("named in the string");
        Some(database.collection("events"))
    }
}
