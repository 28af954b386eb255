//! Batches: in lists, as the receipt of an upload, and in detail.

use serde::Serialize;

use super::{JobReply, RejectionReply, receipt::ReceiptReply};
use crate::{
    http::Limits,
    model::{Batch, BatchId, BatchStatus, Day, Instant, JobId, Published, Rejection, RunCounts},
    query::BatchDetail,
    store::{Loss, Overlap},
};

/// A batch with its receipt, once it has one.
#[derive(Debug, Serialize)]
pub(in crate::http) struct BatchReply<'a> {
    batch_id: BatchId,
    status: BatchStatus,
    source: &'a str,
    created_at: Instant,
    checked_at: Option<Instant>,
    failure: Option<&'a str>,
    deleted_at: Option<Instant>,
    published: Option<PublishedReply>,
    links: BatchLinks,
    #[serde(flatten)]
    receipt: Option<ReceiptReply<'a>>,
}

impl<'a> From<&'a Batch> for BatchReply<'a> {
    fn from(batch: &'a Batch) -> Self {
        let Batch {
            id,
            status,
            wanted: _,
            fence: _,
            published,
            source,
            dedupe,
            created_at,
            upload_lease: _,
            receipt,
            undo_days: _,
            checked_at,
            failure,
            deleted_at,
            purges: _,
        } = batch;
        let receipt = receipt.as_ref();
        Self {
            batch_id: *id,
            status: *status,
            source,
            created_at: *created_at,
            checked_at: *checked_at,
            failure: failure.as_deref(),
            deleted_at: *deleted_at,
            published: published.as_ref().map(PublishedReply::from),
            links: BatchLinks::new(*id),
            receipt: receipt
                .map(|receipt| ReceiptReply::new(Some(*id), receipt, source, *dedupe, *status)),
        }
    }
}

/// The counts of a processed batch.
#[derive(Debug, Serialize)]
struct PublishedReply {
    inserted: u64,
    counted: u64,
    duplicate: u64,
    conflict: u64,
    computed_at: Instant,
}

impl From<&Published> for PublishedReply {
    fn from(published: &Published) -> Self {
        let Published {
            computed: _,
            token: _,
            counts,
            days: _,
            prev_days: _,
            at,
        } = published;
        let RunCounts {
            inserted,
            counted,
            duplicate,
            conflict,
        } = *counts;
        Self {
            inserted,
            counted,
            duplicate,
            conflict,
            computed_at: *at,
        }
    }
}

/// The paths of a batch.
#[derive(Debug, Serialize)]
struct BatchLinks {
    #[serde(rename = "self")]
    batch: String,
    errors: String,
    errors_csv: String,
    events: String,
    process: String,
}

impl BatchLinks {
    fn new(id: BatchId) -> Self {
        Self {
            batch: format!("/batches/{id}"),
            errors: format!("/batches/{id}/errors"),
            errors_csv: format!("/batches/{id}/errors.csv"),
            events: format!("/batches/{id}/events"),
            process: format!("/batches/{id}/process"),
        }
    }
}

/// A batch with the first of its rejections.
#[derive(Debug, Serialize)]
pub(in crate::http) struct BatchWithErrors<'a> {
    #[serde(flatten)]
    batch: BatchReply<'a>,
    #[serde(flatten)]
    errors: Option<FirstErrors<'a>>,
}

#[derive(Debug, Serialize)]
struct FirstErrors<'a> {
    errors_truncated: bool,
    errors: Vec<RejectionReply<'a>>,
}

impl<'a> BatchWithErrors<'a> {
    pub(in crate::http) fn new(batch: &'a Batch, errors: &'a [Rejection]) -> Self {
        let first = batch.receipt.as_ref().map(|receipt| FirstErrors {
            errors_truncated: receipt.rows.failed > errors.len() as u64,
            errors: RejectionReply::list(errors, &receipt.columns.labels),
        });
        Self {
            batch: batch.into(),
            errors: first,
        }
    }
}

/// The receipt of an upload.
#[derive(Debug, Serialize)]
pub(in crate::http) struct UploadReply<'a> {
    #[serde(flatten)]
    pub(in crate::http) batch: BatchWithErrors<'a>,
    /// The batch that holds the same file already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) duplicate_of: Option<BatchId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) note: Option<String>,
}

/// A batch with its errors, days, job and overlaps.
#[derive(Debug, Serialize)]
pub(in crate::http) struct BatchDetailReply<'a> {
    #[serde(flatten)]
    batch: BatchWithErrors<'a>,
    days: Vec<String>,
    job: Option<JobReply<'a>>,
    overlaps: Vec<OverlapReply>,
}

impl<'a> BatchDetailReply<'a> {
    pub(in crate::http) fn new(
        detail: &'a BatchDetail,
        errors: &'a [Rejection],
        limits: &Limits,
    ) -> Self {
        let BatchDetail {
            batch,
            job,
            overlaps,
        } = detail;
        let days = batch.published.iter().flat_map(|published| &published.days);
        let overlaps = overlaps.iter();
        Self {
            batch: BatchWithErrors::new(batch, errors),
            days: days.map(Day::to_string).collect(),
            job: job.as_ref().map(|job| JobReply::new(job, limits)),
            overlaps: overlaps
                .map(|(overlap, status)| OverlapReply::new(overlap, *status))
                .collect(),
        }
    }
}

/// The rows of a batch that are not counted because of another batch.
#[derive(Debug, Serialize)]
struct OverlapReply {
    batch_id: BatchId,
    same_batch: bool,
    status: BatchStatus,
    duplicates: u64,
    conflicts: u64,
    samples: Vec<LossReply>,
}

impl OverlapReply {
    /// `status` is that of the batch whose rows are counted.
    fn new(overlap: &Overlap, status: BatchStatus) -> Self {
        let Overlap {
            loser,
            owner,
            duplicates,
            conflicts,
            samples,
        } = overlap;
        Self {
            batch_id: *owner,
            same_batch: owner == loser,
            status,
            duplicates: *duplicates,
            conflicts: *conflicts,
            samples: samples.iter().map(LossReply::from).collect(),
        }
    }
}

/// A row that is not counted, and the row that is.
#[derive(Debug, Serialize)]
struct LossReply {
    row: u32,
    original_row: u32,
    kind: &'static str,
}

impl From<&Loss> for LossReply {
    fn from(loss: &Loss) -> Self {
        let Loss {
            row,
            original_row,
            conflict,
        } = *loss;
        let kind = if conflict { "id-conflict" } else { "duplicate" };
        Self {
            row,
            original_row,
            kind,
        }
    }
}

/// An accepted request to process a batch.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ProcessReply {
    message: String,
    batch_id: BatchId,
    // The name that clients of the former service read.
    #[serde(rename = "batchId")]
    batch_id_camel: BatchId,
    job_id: JobId,
}

impl ProcessReply {
    pub(in crate::http) fn new(batch: BatchId, job: JobId) -> Self {
        Self {
            message: format!("processing was asked for; GET /jobs/{job} tells how it goes"),
            batch_id: batch,
            batch_id_camel: batch,
            job_id: job,
        }
    }
}

/// An accepted request to delete a batch.
#[derive(Debug, Serialize)]
pub(in crate::http) struct DeletionReply {
    pub(in crate::http) batch_id: BatchId,
    pub(in crate::http) status: BatchStatus,
    pub(in crate::http) job_id: JobId,
}
