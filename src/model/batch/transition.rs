//! Every transition of a batch, as one pure function for all stores.

use super::{Batch, BatchChange, BatchStatus, Published};
use crate::model::{Instant, TransitionRefused};

/// A fence above every token: no run may write.
const CLOSED_FENCE: i64 = i64::MAX;

impl Batch {
    /// Returns the batch after a change.
    ///
    /// # Errors
    /// [`TransitionRefused`] names the change and the status that does not allow it.
    pub fn after(&self, change: &BatchChange) -> Result<Self, TransitionRefused> {
        use BatchStatus::{
            Completed, Deleted, Deleting, Failed, Processing, Queued, Receiving, Uploaded,
        };
        let mut next = self.clone();
        let allowed = match change {
            BatchChange::RenewUpload => {
                next.upload_lease.1 += 1;
                self.status == Receiving
            }
            BatchChange::Seal(receipt) => {
                next.status = Uploaded;
                next.receipt = Some((**receipt).clone());
                self.status == Receiving
            }
            BatchChange::Abandon { at, renewals } => {
                next.become_tombstone(*at);
                self.status == Receiving && renewals.is_none_or(|seen| seen == self.upload_lease.1)
            }
            BatchChange::Process { force } => match self.status {
                Uploaded | Failed => next.request_figures(),
                Completed | Queued | Processing => *force && next.request_figures(),
                Receiving | Deleting | Deleted => false,
            },
            BatchChange::Recount => match self.status {
                Completed => next.request_figures(),
                Queued | Processing | Failed => {
                    next.wanted += 1;
                    true
                }
                Receiving | Uploaded | Deleting | Deleted => false,
            },
            BatchChange::Revive => {
                next.status = Queued;
                self.status == Failed
            }
            BatchChange::Begin { token } => {
                next.status = Processing;
                next.fence = *token;
                matches!(self.status, Queued | Processing) && self.fence < *token
            }
            BatchChange::Publish(published) => {
                next.published = Some(published.clone());
                self.fence == published.token && self.status == Processing
            }
            BatchChange::Finish { token, computed } => {
                let is_current = self.wanted == *computed;
                next.status = if is_current { Completed } else { Queued };
                if let (true, Some(published)) = (is_current, &mut next.published) {
                    published.prev_days.clear();
                    next.failure = None;
                }
                self.fence == *token && self.status == Processing
            }
            BatchChange::Fail { token, reason } => {
                next.status = Failed;
                next.failure = Some(reason.clone());
                self.fence == *token && self.status == Processing
            }
            BatchChange::Undo => {
                next.undo_days = self
                    .published
                    .as_ref()
                    .map(Published::touched)
                    .unwrap_or_default();
                next.published = None;
                next.fence = CLOSED_FENCE;
                next.status = Deleting;
                !matches!(self.status, Receiving | Deleting | Deleted)
            }
            BatchChange::Extend { expires_at } => {
                if let Some(receipt) = &mut next.receipt {
                    let both = receipt.expires_at.zip(*expires_at);
                    receipt.expires_at = both.map(|(before, after)| before.max(after));
                }
                self.status == Uploaded
            }
            BatchChange::Expire { at } => {
                next.become_tombstone(*at);
                self.status == Uploaded && self.expires_at().is_some_and(|due| due <= *at)
            }
            BatchChange::Bury { at } => {
                next.become_tombstone(*at);
                // The deletion has removed all rows; those of a late writer are removed an hour later.
                next.purges = 1;
                self.status == Deleting
            }
            BatchChange::Checked { at } => {
                next.checked_at = Some(*at);
                !self.status.is_void()
            }
            BatchChange::Purged { before } => {
                next.purges += 1;
                self.status == Deleted && self.purges == *before
            }
        };
        let refused = || TransitionRefused {
            change: change.name(),
            subject: format!("batch {}", self.id),
            state: self.status.as_str().into(),
        };
        allowed.then_some(next).ok_or_else(refused)
    }

    /// Requests new figures; returns true, for use as a condition.
    fn request_figures(&mut self) -> bool {
        if !matches!(self.status, BatchStatus::Queued | BatchStatus::Processing) {
            self.status = BatchStatus::Queued;
        }
        self.wanted += 1;
        true
    }

    fn become_tombstone(&mut self, at: Instant) {
        self.status = BatchStatus::Deleted;
        self.fence = CLOSED_FENCE;
        self.deleted_at = Some(at);
    }
}
