//! The result of a dry run.

use serde::Serialize;

use super::{RejectionReply, event::SampleReply, receipt::ReceiptReply};
use crate::{ingest::DryRun, model::BatchStatus};

/// The receipt that an upload would have, its first events as they would be stored, and its first rejections.
#[derive(Debug, Serialize)]
pub(in crate::http) struct DryRunReply<'a> {
    #[serde(flatten)]
    receipt: ReceiptReply<'a>,
    dry_run: bool,
    sample: Vec<SampleReply>,
    errors: Vec<RejectionReply<'a>>,
    errors_truncated: bool,
}

impl<'a> From<&'a DryRun> for DryRunReply<'a> {
    fn from(run: &'a DryRun) -> Self {
        let DryRun {
            source,
            dedupe,
            receipt,
            sample,
            first_rejections: first,
        } = run;
        let names = receipt.columns.stored_attributes();
        let rows = 0..sample.len();
        Self {
            receipt: ReceiptReply::new(None, receipt, source, *dedupe, BatchStatus::Receiving),
            dry_run: true,
            sample: rows
                .map(|at| SampleReply::new(sample, at, &names))
                .collect(),
            errors: RejectionReply::list(first, &receipt.columns.labels),
            errors_truncated: receipt.rows.failed > first.len() as u64,
        }
    }
}
