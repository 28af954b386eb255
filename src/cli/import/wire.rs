//! The replies of the service, as far as `import` reads them. Missing fields are empty.

use serde::Deserialize;

/// The reply to an upload.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Receipt {
    pub(super) batch_id: String,
    pub(super) received_count: u64,
    pub(super) inserted_count: u64,
    pub(super) failed_count: u64,
    pub(super) blank_count: u64,
    pub(super) errors: Vec<RowError>,
    pub(super) identity: Identity,
    pub(super) duplicate_of: Option<String>,
    pub(super) dry_run: bool,
    pub(super) sample: Vec<Event>,
    pub(super) proposals: Vec<Proposal>,
    pub(super) warnings: Vec<Warning>,
}

/// An event as it would be stored.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Event {
    pub(super) line: u64,
    pub(super) event_id: Option<String>,
    pub(super) event_type: String,
    pub(super) user_id: String,
    pub(super) timestamp: String,
}

/// A proposed option for rejected rows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Proposal {
    pub(super) option: String,
    pub(super) value: String,
    pub(super) proven: bool,
    pub(super) detail: String,
}

/// A warning about stored values.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Warning {
    pub(super) message: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Identity {
    pub(super) hint: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct RowError {
    pub(super) line: u64,
    pub(super) error_reason: String,
    pub(super) faults: Vec<Fault>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fault {
    pub(super) column: Option<String>,
    pub(super) code: String,
    pub(super) message: String,
    pub(super) value: Option<String>,
    pub(super) hint: Option<String>,
}

/// A batch while it is processed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Batch {
    pub(super) status: String,
    pub(super) published: Option<Published>,
    pub(super) job: Option<Job>,
    pub(super) days: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Published {
    pub(super) counted: u64,
    pub(super) duplicate: u64,
    pub(super) conflict: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Job {
    pub(super) state: String,
    pub(super) attempt: u64,
    pub(super) max_attempts: u64,
    pub(super) progress: Option<Progress>,
    pub(super) last_error: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Progress {
    pub(super) phase: String,
    pub(super) done: u64,
    pub(super) total: u64,
}

/// Figures by day.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Metrics {
    pub(super) data: Vec<Day>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Day {
    pub(super) date: String,
    pub(super) metrics: Vec<Figure>,
    pub(super) total: u64,
    pub(super) unique_users: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Figure {
    pub(super) event_type: String,
    pub(super) count: u64,
    pub(super) unique_users: u64,
}

/// An error of the service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Problem {
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) code: String,
    pub(super) errors: Vec<RowError>,
    pub(super) proposals: Vec<Proposal>,
}
