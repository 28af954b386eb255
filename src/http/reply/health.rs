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

/// The service is about to stop.
#[derive(Debug, Serialize)]
pub(in crate::http) struct DrainingReply {
    pub(in crate::http) status: &'static str,
}

/// Whether the service can store uploads, and the state of each part.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ReadyReply {
    pub(in crate::http) status: &'static str,
    pub(in crate::http) store: StoreReply,
    pub(in crate::http) scratch: ScratchReply,
    pub(in crate::http) queue: QueueReply,
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct StoreReply {
    pub(in crate::http) kind: &'static str,
    pub(in crate::http) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) error: Option<&'static str>,
}

/// The directory for files that are in progress.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ScratchReply {
    pub(in crate::http) ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) error: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(in crate::http) struct QueueReply {
    pub(in crate::http) kind: &'static str,
    pub(in crate::http) ok: bool,
    /// A job that is due and that no worker acquires.
    pub(in crate::http) unclaimed_job: Option<JobId>,
}
