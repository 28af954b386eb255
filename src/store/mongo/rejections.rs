//! Rejected rows: a document each, named by batch and row.

use mongodb::bson::{Document, doc, serialize_to_raw_document_buf};

use super::{
    MongoStore,
    db::Find,
    document::{corrupt, document, model},
    events::row_name,
};
use crate::{
    model::{BatchId, Rejection},
    store::Result,
};

impl MongoStore {
    pub(super) async fn put_rejections(&self, id: BatchId, rejections: &[Rejection]) -> Result<()> {
        let batch = id.to_string();
        let kept = |rejection: &Rejection| {
            let mut whole: Document =
                doc! { "_id": row_name(&batch, rejection.row), "batch": &batch };
            whole.extend(document(rejection, &[])?);
            serialize_to_raw_document_buf(&whole).map_err(|why| corrupt("a rejection", &why))
        };
        let documents = rejections.iter().map(kept).collect::<Result<_>>()?;
        self.db.insert("rejections", documents).await.map(drop)
    }

    pub(super) async fn list_rejections(
        &self,
        id: BatchId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Rejection>> {
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

    pub(super) async fn remove_rejections(&self, id: BatchId) -> Result<bool> {
        let of_batch = doc! { "batch": id.to_string() };
        self.db.delete_some("rejections", of_batch, doc! {}).await
    }
}
