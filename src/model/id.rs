//! The ids of batches, days, slots and jobs. Each has one text form, and parses back from it.

use std::{fmt, str::FromStr};

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {expected}")]
pub struct BadId {
    /// The text, clipped.
    pub text: String,
    /// The texts that are valid.
    pub expected: &'static str,
}

impl BadId {
    pub(super) fn new(text: &str, expected: &'static str) -> Self {
        Self {
            text: text.chars().take(80).collect(),
            expected,
        }
    }
}

pub(super) fn uuid_at(now: super::Instant) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    Uuid::new_v7(uuid::Timestamp::from_unix(
        uuid::NoContext,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

/// Parses the hyphenated form only, so that an id looks the same in links and logs.
pub(super) fn hyphenated(text: &str, expected: &'static str) -> Result<Uuid, BadId> {
    let uuid = (text.len() == 36).then(|| Uuid::try_parse(text).ok());
    uuid.flatten().ok_or_else(|| BadId::new(text, expected))
}

/// The id of a batch: a `UUIDv7`, so that ids sort by their time of creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(Uuid);

impl BatchId {
    /// The id after all others in order.
    pub const MAX: Self = Self(Uuid::max());

    /// Returns a new id that contains the time. Its other bits are random.
    #[must_use]
    pub fn at(now: super::Instant) -> Self {
        Self(uuid_at(now))
    }

    /// Returns the id of 16 bytes, for seeded tests.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(
            uuid::Builder::from_bytes(bytes)
                .with_version(uuid::Version::SortRand)
                .into_uuid(),
        )
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for BatchId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        hyphenated(text, "a batch id (a UUID in its 36-character form)").map(Self)
    }
}

/// A calendar day in the time zone of the store, as days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Day(pub i32);

impl Day {
    /// Returns the day of a date.
    #[must_use]
    pub fn from_date(date: NaiveDate) -> Self {
        Self(i32::try_from((date - NaiveDate::default()).num_days()).unwrap_or(i32::MAX))
    }

    /// Returns the date of the day.
    #[must_use]
    pub fn date(self) -> NaiveDate {
        NaiveDate::default()
            .checked_add_signed(TimeDelta::days(i64::from(self.0)))
            .unwrap_or(NaiveDate::MAX)
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.date().format("%Y-%m-%d"))
    }
}

impl FromStr for Day {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let shape = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| {
                if i == 4 || i == 7 {
                    b == b'-'
                } else {
                    b.is_ascii_digit()
                }
            });
        shape
            .then(|| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
            .flatten()
            .map(Self::from_date)
            .ok_or_else(|| BadId::new(text, "a date (YYYY-MM-DD)"))
    }
}

/// The instant of a scheduled job, in seconds since 1970 (UTC). A slot has one job, however many processes schedule it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub i64);

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at: DateTime<Utc> = DateTime::from_timestamp(self.0, 0).unwrap_or_default();
        write!(f, "{}", at.format("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl FromStr for Slot {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        DateTime::parse_from_rfc3339(text)
            .map(|at| Self(at.timestamp()))
            .map_err(|_| BadId::new(text, "an instant (RFC 3339)"))
    }
}

/// A request to retry dead jobs: all that were dead at an instant, or those of one kind. Its text is
/// `<kind or all>-<instant>`, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RetryRequest {
    /// The kind to retry; `None` for all but requests like this one.
    pub kind: Option<JobKind>,
    /// The instant in milliseconds since 1970: jobs that died later are not retried.
    pub at_ms: i64,
}

impl fmt::Display for RetryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at: DateTime<Utc> = DateTime::from_timestamp_millis(self.at_ms).unwrap_or_default();
        let kind = self.kind.map_or(ALL_KINDS, JobKind::as_str);
        write!(f, "{kind}-{}", at.format("%Y-%m-%dT%H:%M:%S%.3fZ"))
    }
}

impl FromStr for RetryRequest {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId::new(text, "a kind or `all`, `-` and an instant (RFC 3339)");
        let (kind, at) = text.split_once('-').ok_or_else(bad)?;
        let kind = match kind {
            ALL_KINDS => None,
            kind => Some(JobKind::from_name(kind).ok_or_else(bad)?),
        };
        let at = DateTime::parse_from_rfc3339(at).map_err(|_| bad())?;
        Ok(Self {
            kind,
            at_ms: at.timestamp_millis(),
        })
    }
}

/// The kind in the text of a [`RetryRequest`] of every kind.
const ALL_KINDS: &str = "all";

/// The kind of a job. The names are stored, so they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobKind {
    /// Counts a batch.
    Process,
    /// Deletes a batch.
    Undo,
    /// Computes the figures of a day from the published partials.
    Rollup,
    /// Verifies published batches against their events.
    Reprocess,
    /// Deletes what has expired.
    Cleanup,
    /// Queues dead jobs again.
    Retry,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Process,
        Self::Undo,
        Self::Rollup,
        Self::Reprocess,
        Self::Cleanup,
        Self::Retry,
    ];

    /// Returns the kind of a stored name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::Undo => "undo",
            Self::Rollup => "rollup",
            Self::Reprocess => "reprocess",
            Self::Cleanup => "cleanup",
            Self::Retry => "retry",
        }
    }
}

/// The id of a job: its kind and its subject, so that the ledger has each job once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum JobId {
    /// See [`JobKind::Process`].
    Process(BatchId),
    /// See [`JobKind::Undo`].
    Undo(BatchId),
    /// See [`JobKind::Rollup`].
    Rollup(Day),
    /// See [`JobKind::Reprocess`].
    Reprocess(Slot),
    /// See [`JobKind::Cleanup`].
    Cleanup(Slot),
    /// See [`JobKind::Retry`].
    Retry(RetryRequest),
}

impl JobId {
    /// Returns the kind.
    #[must_use]
    pub fn kind(self) -> JobKind {
        match self {
            Self::Process(_) => JobKind::Process,
            Self::Undo(_) => JobKind::Undo,
            Self::Rollup(_) => JobKind::Rollup,
            Self::Reprocess(_) => JobKind::Reprocess,
            Self::Cleanup(_) => JobKind::Cleanup,
            Self::Retry(_) => JobKind::Retry,
        }
    }

    /// Returns the batch of the job; `None` if its subject is not a batch.
    #[must_use]
    pub fn batch(self) -> Option<BatchId> {
        match self {
            Self::Process(id) | Self::Undo(id) => Some(id),
            Self::Rollup(_) | Self::Reprocess(_) | Self::Cleanup(_) | Self::Retry(_) => None,
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind().as_str())?;
        f.write_str(":")?;
        match self {
            Self::Process(id) | Self::Undo(id) => id.fmt(f),
            Self::Rollup(day) => day.fmt(f),
            Self::Reprocess(slot) | Self::Cleanup(slot) => slot.fmt(f),
            Self::Retry(request) => request.fmt(f),
        }
    }
}

impl FromStr for JobId {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId::new(text, "a job id (`kind:subject`)");
        let (kind, subject) = text.split_once(':').ok_or_else(bad)?;
        Ok(match JobKind::from_name(kind).ok_or_else(bad)? {
            JobKind::Process => Self::Process(subject.parse().map_err(|_| bad())?),
            JobKind::Undo => Self::Undo(subject.parse().map_err(|_| bad())?),
            JobKind::Rollup => Self::Rollup(subject.parse().map_err(|_| bad())?),
            JobKind::Reprocess => Self::Reprocess(subject.parse().map_err(|_| bad())?),
            JobKind::Cleanup => Self::Cleanup(subject.parse().map_err(|_| bad())?),
            JobKind::Retry => Self::Retry(subject.parse().map_err(|_| bad())?),
        })
    }
}

macro_rules! text_serde {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
text_serde!(Slot, JobId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_parses_back_from_its_text() {
        let batch = BatchId::from_bytes([7; 16]);
        for id in [
            JobId::Process(batch),
            JobId::Undo(batch),
            JobId::Rollup(Day(20_401)),
            JobId::Reprocess(Slot(1_762_732_800)),
            JobId::Cleanup(Slot(0)),
            JobId::Retry(RetryRequest {
                kind: None,
                at_ms: 1_762_732_800_007,
            }),
            JobId::Retry(RetryRequest {
                kind: Some(JobKind::Undo),
                at_ms: 0,
            }),
        ] {
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn job_kinds_keep_their_stored_names() {
        let names: Vec<_> = JobKind::ALL.iter().map(|k| k.as_str()).collect();
        assert_eq!(
            names,
            ["process", "undo", "rollup", "reprocess", "cleanup", "retry"]
        );
    }

    #[test]
    fn invalid_ids_are_refused() {
        for text in [
            "",
            "process",
            "process:1",
            "nap:2025-01-01",
            "rollup:2025-02-30",
            "rollup:25-1-1",
            "cleanup:noon",
            "retry:2025-11-10T00:00:00Z",
            "retry:nap-2025-11-10T00:00:00Z",
        ] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        assert!("2025-2-03".parse::<Day>().is_err());
        assert!(
            "0190163d8694739bb1b5000000000000"
                .parse::<BatchId>()
                .is_err()
        );
    }

    #[test]
    fn days_count_from_the_epoch() {
        assert_eq!("1970-01-01".parse(), Ok(Day(0)));
        assert_eq!(
            "2025-11-10".parse::<Day>().map(|d| d.to_string()),
            Ok("2025-11-10".into())
        );
    }
}
