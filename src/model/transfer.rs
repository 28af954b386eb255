//! Transfers: files that arrive in several requests until they are complete.

use std::{collections::BTreeMap, fmt, net::IpAddr, str::FromStr};

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{BatchId, IdempotencyKey, Instant, ProfileName, id::BadId};

/// The id of a transfer: a `UUIDv7`, random enough that nobody can guess it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TransferId(Uuid);

impl TransferId {
    /// Returns a new id that contains the time. Its other bits are random.
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

/// A file that arrives in parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The id.
    pub id: TransferId,
    /// Bytes of the complete file.
    pub length: u64,
    /// The options of the upload, those of a profile among them.
    pub options: BTreeMap<String, String>,
    /// The profile that supplied options, if any.
    pub profile: Option<ProfileName>,
    /// The sender, as [`sender`] returns it; `None` if unknown.
    #[serde(default)]
    pub sender: Option<String>,
    /// The outcome, once the file is ingested, refused or terminated.
    pub outcome: Option<TransferOutcome>,
    /// The time at which the last part arrived, or at which the transfer was created.
    pub moved_at: Instant,
}

/// The time after which a transfer without new parts expires.
pub const TTL: TimeDelta = TimeDelta::hours(24);
/// The time after which a transfer without any part expires. It is shorter, since the sender can create another one.
pub const EMPTY_TTL: TimeDelta = TimeDelta::hours(1);

/// Returns the time at which a transfer expires whose file ends at `end`.
#[must_use]
pub fn expires_at(moved_at: Instant, end: u64) -> Instant {
    moved_at + if end == 0 { EMPTY_TTL } else { TTL }
}

/// Returns a digest that stands for the client at an address, so that the address is not stored.
#[must_use]
pub fn sender(address: IpAddr) -> String {
    let key = IdempotencyKey::new(address.to_string().as_bytes(), "transfer", "");
    hex::encode(&key.0[..16])
}

/// The outcome of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum TransferOutcome {
    /// The file is a new batch.
    Stored {
        /// The batch.
        batch: BatchId,
    },
    /// The file is a duplicate.
    Duplicate {
        /// The earlier batch.
        batch: BatchId,
    },
    /// The file is refused.
    Refused {
        /// The body of the reply.
        reply: String,
    },
    /// The sender terminated the transfer.
    Terminated,
}
