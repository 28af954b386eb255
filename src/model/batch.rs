//! A batch, its states, and the one function that changes them.

use serde::{Deserialize, Serialize};

use super::{BatchId, Day, Identity, Instant, Receipt, Refused};

/// Where a batch is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchStatus {
    /// Bytes are arriving; nobody can see it.
    Receiving,
    /// Stored and sealed, not yet counted.
    Uploaded,
    /// A run is wanted.
    Queued,
    /// A run is at it.
    Processing,
    /// Its figures are readable.
    Completed,
    /// Its run was given up.
    Failed,
    /// Being taken away.
    Deleting,
    /// Taken away; a tombstone for good.
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

    /// The name users see and the store keeps.
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

    /// Whether nothing can come back from here, so that what it had claimed is free.
    #[must_use]
    pub fn is_void(self) -> bool {
        matches!(self, Self::Deleting | Self::Deleted)
    }
}

/// What a run counted: `inserted = counted + duplicate + conflict`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Events looked at.
    pub inserted: u64,
    /// Events in the figures.
    pub counted: u64,
    /// Events counted elsewhere with the same content.
    pub duplicate: u64,
    /// Events whose identity is taken by other content.
    pub conflict: u64,
}

/// The run whose partials make up the figures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// The `wanted` that this run answered.
    pub computed: i64,
    /// The run's job token; its partials carry it.
    pub token: i64,
    /// What it counted.
    pub counts: Counts,
    /// Days it adds to.
    pub days: Vec<Day>,
    /// Days of what was published before, until they are rolled up.
    pub prev_days: Vec<Day>,
    /// When it was published.
    pub at: Instant,
}

impl Published {
    /// Every day whose figures this run touches, in order.
    #[must_use]
    pub fn touched(&self) -> Vec<Day> {
        let mut days: Vec<Day> = self.days.iter().chain(&self.prev_days).copied().collect();
        days.sort_unstable();
        days.dedup();
        days
    }
}

/// One uploaded file and everything that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its name.
    pub id: BatchId,
    /// Where it is in its life.
    pub status: BatchStatus,
    /// Grows whenever its figures should be computed anew.
    pub wanted: i64,
    /// The newest run's token; an older run's writes are refused.
    pub fence: i64,
    /// The run whose figures count.
    pub published: Option<Published>,
    /// The namespace of its event ids.
    pub source: String,
    /// Whether its identities are claimed: not with `dedupe=none`.
    pub dedupe: bool,
    /// When the upload began.
    pub created_at: Instant,
    /// Who receives it, and how often it said so: an upload's lease.
    pub upload_lease: (String, u64),
    /// What was received; none while it is being received.
    pub receipt: Option<Receipt>,
    /// Days to roll up once it is gone.
    pub undo_days: Vec<Day>,
    /// When it was last compared with its events.
    pub checked_at: Option<Instant>,
    /// Why its run was given up.
    pub failure: Option<String>,
    /// When it became a tombstone.
    pub deleted_at: Option<Instant>,
    /// How often its leftovers were removed since; twice, an hour apart, for what a late writer left.
    pub purges: u32,
}

/// A change asked of a batch. Each is one compare-and-set on one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BatchChange {
    /// The upload still goes on.
    RenewUpload,
    /// All rows are stored: make it visible.
    Seal(Box<Receipt>),
    /// The upload is given up, or its lease ran out.
    Abandon {
        /// When.
        at: Instant,
        /// The renewals seen when it was judged; none by its own receiver.
        renewals: Option<u64>,
    },
    /// A person wants its figures.
    Process {
        /// Also when they are there already.
        force: bool,
    },
    /// Something it lost to went away, or its figures were found wrong: count it anew.
    Recount,
    /// An admin brings it back after its job died.
    Revive,
    /// A run begins.
    Begin {
        /// The run's job token.
        token: i64,
    },
    /// A run's figures take the place of those before.
    Publish(Published),
    /// A run's figures are rolled up.
    Finish {
        /// The run's job token.
        token: i64,
        /// The `wanted` it answered.
        computed: i64,
    },
    /// A run is given up.
    Fail {
        /// The run's job token.
        token: i64,
        /// Why.
        reason: String,
    },
    /// A person takes it back.
    Undo,
    /// It was never processed and its time is over.
    Expire {
        /// When.
        at: Instant,
    },
    /// Its undo is done.
    Bury {
        /// When.
        at: Instant,
    },
    /// Its figures were compared with its events.
    Checked {
        /// When.
        at: Instant,
    },
    /// Its leftovers were removed once more.
    Purged {
        /// How often they had been before, so that two cleanups at once count as one.
        before: u32,
    },
}

impl BatchChange {
    /// The change's name, for errors and logs.
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
            Self::Expire { .. } => "expire",
            Self::Bury { .. } => "bury",
            Self::Checked { .. } => "checked",
            Self::Purged { .. } => "purged",
        }
    }
}

/// No run's token is as large: a fence that lets nobody through.
const CLOSED: i64 = i64::MAX;

impl Batch {
    /// A batch whose bytes are about to arrive.
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

    /// Whether its run has identities to claim.
    #[must_use]
    pub fn claims(&self) -> bool {
        self.dedupe && self.receipt.as_ref().is_some_and(|r| r.claims)
    }

    /// First and last instant of its events, microseconds since 1970 (UTC); none unless they can be seen.
    #[must_use]
    pub fn event_time(&self) -> Option<(i64, i64)> {
        let receipt = self.receipt.as_ref().filter(|_| !self.status.is_void())?;
        Some(receipt.event_time)
    }

    /// What tells its events apart; none before it is received, or if its key is not one of its columns.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        let receipt = self.receipt.as_ref()?;
        Identity::new(&self.source, &receipt.identity, &receipt.columns)
    }

    /// The batch after a change, or why it can't be: every transition there is.
    ///
    /// # Errors
    /// [`Refused`] names the change and the status that does not allow it.
    pub fn after(&self, change: &BatchChange) -> Result<Self, Refused> {
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
                next.end(*at);
                self.status == Receiving && renewals.is_none_or(|seen| seen == self.upload_lease.1)
            }
            BatchChange::Process { force } => match self.status {
                Uploaded | Failed => next.want(),
                Completed | Queued | Processing => *force && next.want(),
                Receiving | Deleting | Deleted => false,
            },
            BatchChange::Recount => match self.status {
                Completed => next.want(),
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
                let met = self.wanted == *computed;
                next.status = if met { Completed } else { Queued };
                if let (true, Some(published)) = (met, &mut next.published) {
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
                next.fence = CLOSED;
                next.status = Deleting;
                !matches!(self.status, Receiving | Deleting | Deleted)
            }
            BatchChange::Expire { at } => {
                next.end(*at);
                self.status == Uploaded
            }
            BatchChange::Bury { at } => {
                next.end(*at);
                // The undo has just removed everything; what a late writer leaves goes an hour later.
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
        let refused = || Refused {
            change: change.name(),
            subject: format!("batch {}", self.id),
            state: self.status.as_str().into(),
        };
        allowed.then_some(next).ok_or_else(refused)
    }

    fn want(&mut self) -> bool {
        if !matches!(self.status, BatchStatus::Queued | BatchStatus::Processing) {
            self.status = BatchStatus::Queued;
        }
        self.wanted += 1;
        true
    }

    fn end(&mut self, at: Instant) {
        self.status = BatchStatus::Deleted;
        self.fence = CLOSED;
        self.deleted_at = Some(at);
    }
}

#[cfg(test)]
mod tests;
