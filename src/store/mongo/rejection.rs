//! Rejected rows: a document each, with batch and row as `_id`.

use async_trait::async_trait;
use mongodb::bson::{Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{corrupt, document, model},
    event::row_id,
};
use crate::{
    model::{BatchId, Rejection},
    store::{RejectionStore, Result},
};

#[async_trait]
impl RejectionStore for MongoStore {
    async fn append_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
        let batch = id.to_string();
        let to_raw = |rejection: &Rejection| {
            let mut fields: Document =
                doc! { "_id": row_id(&batch, rejection.row), "batch": &batch };
            fields.extend(document(rejection, &[])?);
            serialize_to_raw_document_buf(&fields).map_err(|why| corrupt("a rejection", &why))
        };
        let documents = rejections.iter().map(to_raw).collect::<Result<_>>()?;
        self.db.insert("rejections", documents).await.map(drop)
    }

    async fn rejections(&self, id: BatchId, after: u32, limit: usize) -> Result<Vec<Rejection>> {
        let find = Find {
            filter: doc! { "batch": id.to_string(), "row": { "$gt": i64::from(after) } },
            sort: doc! { "row": 1 },
            limit,
            ..Find::default()
        };
        let found = self.db.find("rejections", find).await?;
        found
            .into_iter()
            .map(|found| model("a rejection", found, &[]))
            .collect()
    }

    async fn drop_rejections(&self, id: BatchId) -> Result<bool> {
        let of_batch = doc! { "batch": id.to_string() };
        self.db.delete_some("rejections", of_batch, doc! {}).await
    }
}
