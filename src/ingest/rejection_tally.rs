//! Counts the rejections of a batch, and selects those to store and those to show.

use std::collections::BTreeMap;

use crate::model::{FaultCode, Rejection};

/// Rejections retained to show them in the reply.
const FIRST_REJECTIONS: usize = 100;

/// The rejections of a batch so far.
#[derive(Debug, Default)]
pub(super) struct RejectionTally {
    /// All rejections.
    pub(super) failed: u64,
    /// Rejections to store: at most as many as the limit.
    pub(super) stored: u64,
    /// Rejections by fault. A row counts once for each of its faults.
    pub(super) by_code: BTreeMap<FaultCode, u64>,
    /// The first rejections.
    pub(super) first: Vec<Rejection>,
}

impl RejectionTally {
    /// Counts rejections. Returns those to store, so that at most `max_stored` are stored of the batch.
    pub(super) fn add(
        &mut self,
        mut rejections: Vec<Rejection>,
        max_stored: u64,
    ) -> Vec<Rejection> {
        self.failed += rejections.len() as u64;
        for rejection in &rejections {
            let mut codes: Vec<_> = rejection.faults.iter().map(|f| f.code).collect();
            codes.sort_unstable();
            codes.dedup();
            for code in codes {
                *self.by_code.entry(code).or_default() += 1;
            }
        }
        let missing = FIRST_REJECTIONS.saturating_sub(self.first.len());
        self.first.extend(rejections.iter().take(missing).cloned());
        let allowed = max_stored.saturating_sub(self.stored);
        rejections.truncate(usize::try_from(allowed).unwrap_or(usize::MAX));
        self.stored += rejections.len() as u64;
        rejections
    }
}
