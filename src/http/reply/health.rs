//! Liveness and readiness.

use serde::Serialize;

use crate::model::JobId;

/// The process answers.
#[derive(Debug, Serialize)]
pub(in crate::http) struct HealthReply {
    pub(in crate::http) status: &'static str,
    pub(in crate::http) version: &'static str,
    /// Seconds since the start of the process.
    pub(in crate::http) uptime: f64,
}

/// Whether the service can do its work.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ReadyReply {
    pub(in crate::http) status: &'static str,
    pub(in crate::http) store: StoreReply,
    pub(in crate::http) queue: QueueReply,
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct StoreReply {
    pub(in crate::http) kind: &'static str,
    pub(in crate::http) ok: bool,
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct QueueReply {
    pub(in crate::http) kind: &'static str,
    pub(in crate::http) ok: bool,
    /// A job that is due and that no worker acquires.
    pub(in crate::http) unclaimed_job: Option<JobId>,
}
