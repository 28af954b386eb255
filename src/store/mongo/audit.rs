//! The audit log: a document per entry.

use async_trait::async_trait;
use mongodb::bson::{doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    document::{corrupt, date, document},
};
use crate::{
    model::Instant,
    store::{AuditEntry, AuditStore, Result},
};

#[async_trait]
impl AuditStore for MongoStore {
    async fn record_audit(&self, entry: &AuditEntry) -> Result<()> {
        let raw = serialize_to_raw_document_buf(&document(entry, &["at"])?);
        let raw = raw.map_err(|why| corrupt("an audit entry", &why))?;
        self.db.insert("audit", vec![raw]).await.map(drop)
    }

    async fn prune_audit(&self, before: Instant) -> Result<bool> {
        let old = doc! { "at": { "$lt": date(before) } };
        self.db.delete_some("audit", old, doc! {}).await
    }
}
