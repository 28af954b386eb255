//! Files that arrive in several requests, until they are whole.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BatchId, IdempotencyKey, Instant, ProfileName, id::BadId};

/// A file on its way; a `UUIDv7`, random enough that nobody guesses another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(Uuid);

impl TransferId {
    /// A new id that carries `now`; the rest is random.
    #[must_use]
    pub fn at(now: Instant) -> Self {
        Self(super::id::uuid_at(now))
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TransferId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let expected = "the id of an upload (a UUID in its 36-character form)";
        super::id::hyphenated(text, expected).map(Self)
    }
}

/// A file on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Its name.
    pub id: TransferId,
    /// Its bytes in all.
    pub length: u64,
    /// The options it will be taken with, those of a profile among them.
    pub options: BTreeMap<String, String>,
    /// The profile that gave some of them, if one did.
    pub profile: Option<ProfileName>,
    /// Who sends it, as [`sender`] names a client; none where that is not known.
    #[serde(default)]
    pub sender: Option<String>,
    /// What it came to, once it was whole, or was given up.
    pub outcome: Option<TransferOutcome>,
    /// When something of it last arrived.
    pub moved_at: Instant,
}

/// How long a file is kept of which nothing more arrives.
pub const KEPT: TimeDelta = TimeDelta::hours(24);
/// The same of one of which nothing has arrived at all: it costs its sender nothing.
pub const KEPT_EMPTY: TimeDelta = TimeDelta::hours(1);

/// When a file is forgotten that ends there, and of which something last arrived then.
#[must_use]
pub fn expires_at(moved_at: Instant, end: u64) -> Instant {
    moved_at + if end == 0 { KEPT_EMPTY } else { KEPT }
}

/// Names the client at an address without telling it.
#[must_use]
pub fn sender(address: IpAddr) -> String {
    let key = IdempotencyKey::new(address.to_string().as_bytes(), "transfer", "");
    hex::encode(&key.0[..16])
}

/// What a file came to that arrived in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TransferOutcome {
    /// A batch.
    Stored {
        /// The batch.
        batch: BatchId,
    },
    /// It was there already.
    Duplicate {
        /// The batch that has it.
        batch: BatchId,
    },
    /// It can't be taken.
    Refused {
        /// The reply that says why, as text.
        reply: String,
    },
    /// Its sender gave it up.
    Terminated,
}
