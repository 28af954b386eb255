//! Resumable uploads.

use serde::Serialize;

use crate::{
    model::{BatchId, Instant, TransferId},
    transfer::TransferProgress,
};

/// The progress of a resumable upload.
#[derive(Debug, Serialize)]
pub(in crate::http) struct TransferReply {
    upload_id: TransferId,
    offset: u64,
    length: u64,
    expires_at: Instant,
    batch_id: Option<BatchId>,
    links: TransferLinks,
}

#[derive(Debug, Serialize)]
struct TransferLinks {
    batch: Option<String>,
}

impl TransferReply {
    /// `batch` is that of the complete file.
    pub(in crate::http) fn new(progress: &TransferProgress, batch: Option<BatchId>) -> Self {
        Self {
            upload_id: progress.transfer.id,
            offset: progress.end,
            length: progress.transfer.length,
            expires_at: progress.expires_at(),
            batch_id: batch,
            links: TransferLinks {
                batch: batch.map(|id| format!("/batches/{id}")),
            },
        }
    }
}
