//! Lists the rejected rows of a batch, and counts their faults.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Cursor, MAX_PAGE, Page, QueryError, page};
use crate::{
    model::{BatchId, FaultCode, Rejection},
    store::Store,
};

/// Bytes of cells after which a page ends early: rows may be long.
const PAGE_BYTES: usize = 2 << 20;
/// Rejections read in one step.
const STEP: usize = 50;
/// Rejections after which a page of a rare fault ends early.
const PAGE_SCAN: usize = 20_000;

/// Selects rejected rows by one of their faults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RejectionFilter {
    /// The code of the fault.
    pub code: Option<FaultCode>,
    /// The label of its column.
    pub column: Option<String>,
}

impl RejectionFilter {
    /// Whether the row has a fault with this code in this column.
    #[must_use]
    pub fn matches(&self, rejection: &Rejection) -> bool {
        if *self == Self::default() {
            return true;
        }
        rejection.faults.iter().any(|fault| {
            self.code.is_none_or(|code| fault.code == code)
                && (self.column.is_none() || fault.column == self.column)
        })
    }
}

/// Rejected rows by the code and by the column of their faults. A row counts once for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RejectionCounts {
    /// By code.
    pub by_code: BTreeMap<FaultCode, u64>,
    /// By the label of the column; faults of a row as a whole have none.
    pub by_column: BTreeMap<String, u64>,
}

/// Lists the rejections of a batch that a filter selects, in row order. A page may have fewer than `limit` although others
/// follow.
///
/// # Errors
/// [`QueryError`] for a foreign cursor or an unavailable store.
pub async fn rejections(
    store: &dyn Store,
    id: BatchId,
    filter: &RejectionFilter,
    limit: usize,
    after: Option<&str>,
) -> Result<Page<Rejection>, QueryError> {
    let RejectionFilter { code, column } = filter;
    // The cursors of a list without a filter stay as they are.
    let list = match (code, column) {
        (None, None) => format!("errors {id}"),
        (code, column) => format!("errors {id} {code:?} {column:?}"),
    };
    let mut last: u32 = after
        .map(|text| Cursor::read(&list, text))
        .transpose()?
        .unwrap_or(0);
    let is_filtered = *filter != RejectionFilter::default();
    let (mut data, mut bytes, mut scanned) = (Vec::new(), 0, 0);
    loop {
        let step = if is_filtered {
            MAX_PAGE
        } else {
            STEP.min(limit + 1 - data.len())
        };
        let mut read = store.rejections(id, last, step).await?;
        let at_end = read.len() < step;
        last = read.last().map_or(last, |rejection| rejection.row);
        scanned += read.len();
        read.retain(|rejection| filter.matches(rejection));
        let cells = read.iter().flat_map(|rejection| &rejection.cells);
        bytes += cells.map(String::len).sum::<usize>();
        data.extend(read);
        if at_end || data.len() > limit {
            return Ok(page(data, limit, |rejection: &Rejection| {
                Cursor::new(&list, &rejection.row)
            }));
        }
        if bytes > PAGE_BYTES || scanned >= PAGE_SCAN {
            let next = Some(Cursor::new(&list, &last));
            return Ok(Page { data, next });
        }
    }
}

/// Counts the stored rejections of a batch by their faults.
///
/// # Errors
/// [`QueryError`] for an unavailable store.
pub async fn count_rejections(
    store: &dyn Store,
    id: BatchId,
) -> Result<RejectionCounts, QueryError> {
    let (mut counts, mut last) = (RejectionCounts::default(), 0);
    loop {
        let read = store.rejections(id, last, MAX_PAGE).await?;
        for rejection in &read {
            add(&mut counts, rejection);
        }
        if read.len() < MAX_PAGE {
            return Ok(counts);
        }
        last = read.last().map_or(last, |rejection| rejection.row);
    }
}

fn add(counts: &mut RejectionCounts, rejection: &Rejection) {
    let mut codes: Vec<_> = rejection.faults.iter().map(|fault| fault.code).collect();
    codes.sort_unstable();
    codes.dedup();
    for code in codes {
        *counts.by_code.entry(code).or_default() += 1;
    }
    let columns = rejection.faults.iter().filter_map(|f| f.column.as_ref());
    let mut columns: Vec<_> = columns.collect();
    columns.sort_unstable();
    columns.dedup();
    for column in columns {
        *counts.by_column.entry(column.clone()).or_default() += 1;
    }
}
