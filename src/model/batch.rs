//! A batch and its states. All transitions are in `transition`.

mod transition;

use serde::{Deserialize, Serialize};

use super::{BatchId, Day, Identity, Instant, Receipt};

/// The status of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Its bytes are arriving; no route shows it.
    Receiving,
    /// Sealed: stored and durable, not counted.
    Uploaded,
    /// A run was requested.
    Queued,
    /// A run has begun.
    Processing,
    /// Its events are in the figures.
    Completed,
    /// Its job is dead.
    Failed,
    /// Its deletion was requested.
    Deleting,
    /// Deleted; the document stays as a tombstone.
    Deleted,
}

impl BatchStatus {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Receiving,
        Self::Uploaded,
        Self::Queued,
        Self::Processing,
        Self::Completed,
        Self::Failed,
        Self::Deleting,
        Self::Deleted,
    ];

    /// Returns the name in replies and in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Receiving => "receiving",
            Self::Uploaded => "uploaded",
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Deleting => "deleting",
            Self::Deleted => "deleted",
        }
    }

    /// Returns whether the batch is deleted or will be, so that its identities may be taken over.
    #[must_use]
    pub fn is_void(self) -> bool {
        matches!(self, Self::Deleting | Self::Deleted)
    }
}

/// The sums of a run: `inserted = counted + duplicate + conflict`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
    /// Events read.
    pub inserted: u64,
    /// Events in the figures.
    pub counted: u64,
    /// Events whose identity another row holds, with the same content.
    pub duplicate: u64,
    /// Events whose identity another row holds, with other content.
    pub conflict: u64,
}

/// The run whose partials are in the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The value of `wanted` that this run answers.
    pub computed: i64,
    /// The job token of the run, under which its partials are stored.
    pub token: i64,
    /// The sums of the run.
    pub counts: RunCounts,
    /// Days on which the batch has counted events.
    pub days: Vec<Day>,
    /// Days of the run published before, until they are rolled up again.
    pub prev_days: Vec<Day>,
    /// The time of publication.
    pub at: Instant,
}

impl Published {
    /// Returns every day whose figures this run changes, in order.
    #[must_use]
    pub fn touched(&self) -> Vec<Day> {
        let mut days: Vec<Day> = self.days.iter().chain(&self.prev_days).copied().collect();
        days.sort_unstable();
        days.dedup();
        days
    }
}

/// One uploaded file with its receipt and the state of its figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The id.
    pub id: BatchId,
    /// The status.
    pub status: BatchStatus,
    /// Incremented each time all rows must be counted again. The figures are current once a run with this value finished.
    pub wanted: i64,
    /// The token of the newest run; writes of older runs are refused.
    pub fence: i64,
    /// The run whose partials are in the figures.
    pub published: Option<Published>,
    /// The namespace of its event ids.
    pub source: String,
    /// Whether identities are claimed: false with `dedupe=none`.
    pub dedupe: bool,
    /// The time at which the upload began.
    pub created_at: Instant,
    /// The lease of the upload: its owner, and the number of renewals.
    pub upload_lease: (String, u64),
    /// The receipt; `None` while the batch is being received.
    pub receipt: Option<Receipt>,
    /// Days to roll up after the deletion.
    pub undo_days: Vec<Day>,
    /// The time at which the figures were last verified against the events.
    pub checked_at: Option<Instant>,
    /// The reason why its job is dead.
    pub failure: Option<String>,
    /// The time at which it became a tombstone.
    pub deleted_at: Option<Instant>,
    /// How often its rows were removed since the deletion: a second time after an hour, for rows of a late writer.
    pub purges: u32,
}

/// A requested change of a batch. Each is one compare-and-set on one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchChange {
    /// The upload renews its lease.
    RenewUpload,
    /// All rows are durable: the batch becomes visible.
    Seal(Box<Receipt>),
    /// The upload failed, or its lease expired.
    Abandon {
        /// The time.
        at: Instant,
        /// The renewals that the observer of the expiry read; `None` if the uploader itself abandons it.
        renewals: Option<u64>,
    },
    /// A user requests the figures.
    Process {
        /// Whether to count again what is counted already.
        force: bool,
    },
    /// All rows must be counted again: an owner of lost identities was deleted, or verification found a difference.
    Recount,
    /// Its dead job is retried.
    Revive,
    /// A run begins.
    Begin {
        /// The job token of the run.
        token: i64,
    },
    /// The partials of a run replace those published before.
    Publish(Published),
    /// The days of a run are rolled up.
    Finish {
        /// The job token of the run.
        token: i64,
        /// The value of `wanted` that the run answers.
        computed: i64,
    },
    /// The job is dead.
    Fail {
        /// The job token of the last run.
        token: i64,
        /// The error.
        reason: String,
    },
    /// A user requests the deletion.
    Undo,
    /// Its file was uploaded again, so the batch expires later. It never expires earlier.
    Extend {
        /// The new time of expiry; `None` if never.
        expires_at: Option<Instant>,
    },
    /// The batch was not processed before it expired.
    Expire {
        /// The time, not before that of the receipt.
        at: Instant,
    },
    /// The deletion is complete.
    Bury {
        /// The time.
        at: Instant,
    },
    /// The figures were verified against the events.
    Checked {
        /// The time.
        at: Instant,
    },
    /// The rows of the tombstone were removed again.
    Purged {
        /// The number of earlier removals, so that two cleanups at once count as one.
        before: u32,
    },
}

impl BatchChange {
    /// Returns the name of the change, for errors and logs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::RenewUpload => "renew upload",
            Self::Seal(_) => "seal",
            Self::Abandon { .. } => "abandon",
            Self::Process { .. } => "process",
            Self::Recount => "recount",
            Self::Revive => "revive",
            Self::Begin { .. } => "begin",
            Self::Publish(_) => "publish",
            Self::Finish { .. } => "finish",
            Self::Fail { .. } => "fail",
            Self::Undo => "undo",
            Self::Extend { .. } => "extend",
            Self::Expire { .. } => "expire",
            Self::Bury { .. } => "bury",
            Self::Checked { .. } => "checked",
            Self::Purged { .. } => "purged",
        }
    }
}

impl Batch {
    /// Returns a batch whose upload begins.
    #[must_use]
    pub fn receiving(
        id: BatchId,
        source: String,
        dedupe: bool,
        owner: String,
        now: Instant,
    ) -> Self {
        Self {
            id,
            status: BatchStatus::Receiving,
            wanted: 0,
            fence: 0,
            published: None,
            source,
            dedupe,
            created_at: now,
            upload_lease: (owner, 0),
            receipt: None,
            undo_days: Vec::new(),
            checked_at: None,
            failure: None,
            deleted_at: None,
            purges: 0,
        }
    }

    /// Returns whether a run has identities to claim.
    #[must_use]
    pub fn claims(&self) -> bool {
        self.dedupe && self.receipt.as_ref().is_some_and(|r| r.claims)
    }

    /// Returns the time at which the batch is deleted unless it is processed; `None` if never.
    #[must_use]
    pub fn expires_at(&self) -> Option<Instant> {
        let receipt = self.receipt.as_ref();
        receipt.and_then(|receipt| receipt.expires_at)
    }

    /// Returns the first and the last instant of its events in µs since 1970 (UTC); `None` if the events are not visible.
    #[must_use]
    pub fn event_time(&self) -> Option<(i64, i64)> {
        let receipt = self.receipt.as_ref().filter(|_| !self.status.is_void())?;
        Some(receipt.event_time)
    }

    /// Returns the identity of its events; `None` before the seal, or if a column of the key is missing.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let receipt = self.receipt.as_ref()?;
        Identity::new(&self.source, &receipt.identity, &receipt.columns)
    }
}

#[cfg(test)]
mod tests;
