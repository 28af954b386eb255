//! Rejected rows.

use serde::Serialize;
use serde_json::{Map, Value};

use super::PageReply;
use crate::{
    model::{Fault, Receipt, Rejection},
    query::{Page, RejectionCounts},
};

/// The field of the cells beyond the last column.
const EXTRA: &str = "_extra";

/// A rejected row: its cells by column, and all its faults.
#[derive(Debug, Serialize)]
pub(in crate::http) struct RejectionReply<'a> {
    row: u32,
    line: u32,
    last_line: u32,
    byte_offset: u64,
    fields: Map<String, Value>,
    fields_clipped: bool,
    error_reason: String,
    faults: &'a [Fault],
}

impl<'a> RejectionReply<'a> {
    /// `labels` are the columns of the file.
    pub(in crate::http) fn new(rejection: &'a Rejection, labels: &[String]) -> Self {
        let Rejection {
            row,
            line,
            last_line,
            byte_offset,
            cells,
            clipped,
            faults,
        } = rejection;
        let mut fields = Map::new();
        for (label, cell) in labels.iter().zip(cells) {
            fields.insert(label.clone(), cell.as_str().into());
        }
        if let Some(extra) = cells.get(labels.len()..).filter(|extra| !extra.is_empty()) {
            fields.insert(EXTRA.into(), extra.into());
        }
        Self {
            row: *row,
            line: *line,
            last_line: *last_line,
            byte_offset: *byte_offset,
            fields,
            fields_clipped: *clipped,
            error_reason: rejection.reason(),
            faults,
        }
    }

    pub(in crate::http) fn list(rejections: &'a [Rejection], labels: &[String]) -> Vec<Self> {
        let replies = rejections.iter();
        replies.map(|row| Self::new(row, labels)).collect()
    }
}

/// A page of rejections, and how many rows were rejected and stored in all.
#[derive(Debug, Serialize)]
pub(in crate::http) struct RejectionPageReply<'a> {
    #[serde(flatten)]
    page: PageReply<RejectionReply<'a>>,
    #[serde(flatten)]
    totals: Option<RejectionTotals>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<RejectionCounts>,
}

impl<'a> RejectionPageReply<'a> {
    pub(in crate::http) fn new(
        page: &'a Page<Rejection>,
        receipt: Option<&Receipt>,
        counts: Option<RejectionCounts>,
    ) -> Self {
        let labels = receipt.map_or(&[][..], |receipt| &receipt.columns.labels);
        Self {
            page: PageReply::new(page, |rejection| RejectionReply::new(rejection, labels)),
            totals: receipt.map(RejectionTotals::from),
            counts,
        }
    }
}

#[derive(Debug, Serialize)]
struct RejectionTotals {
    failed_count: u64,
    errors_kept: u64,
    errors_capped: bool,
}

impl From<&Receipt> for RejectionTotals {
    fn from(receipt: &Receipt) -> Self {
        let (failed, stored) = (receipt.rows.failed, receipt.rejections_kept);
        Self {
            failed_count: failed,
            errors_kept: stored,
            errors_capped: stored < failed,
        }
    }
}
