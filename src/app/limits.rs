//! Converts the settings to the limits of each module.

use std::path::PathBuf;

use crate::{config::Config, http, ingest, job::JobLimits, parse, receive};

/// Bytes that one sort holds in memory before it spills.
const SORT_MEMORY: usize = 32 << 20;
/// Partials that one fold holds in memory: at most 4 KiB of sketch each.
const FOLD_GROUPS: usize = 8_192;
/// Identities claimed in one transaction: under 100 ms on an ordinary disk.
const CLAIMS_AT_ONCE: usize = 25_000;

pub(super) fn scratch(config: &Config) -> PathBuf {
    config.data_dir.join("tmp")
}

pub(super) fn of_jobs(config: &Config) -> JobLimits {
    JobLimits {
        attempts: config.job_max_attempts,
        crashes: config.job_max_crashes,
        backoff: config.job_backoff,
        lease: config.job_lease,
        sweep: config.sweep,
        batch_ttl: config.cleanup_ttl,
        tombstone_retention: config.tombstone_retention,
        audit_retention: config.audit_retention,
        reprocess_budget: config.reprocess_budget,
        time_zone: config.time_zone,
        scratch: scratch(config),
        sort_memory: SORT_MEMORY,
        fold_groups: FOLD_GROUPS,
        claims_at_once: CLAIMS_AT_ONCE,
    }
}

pub(super) fn of_uploads(config: &Config) -> ingest::Limits {
    let limits = &config.limits;
    ingest::Limits {
        receive: receive::Limits {
            body: limits.body_bytes,
        },
        parse: parse::Limits {
            record_bytes: limits.record_bytes,
            cell_bytes: limits.cell_bytes,
            columns: limits.columns,
            event_type_bytes: limits.event_type_bytes,
            user_id_bytes: limits.user_id_bytes,
            event_id_bytes: limits.event_id_bytes,
            record_lines: limits.record_lines,
        },
        time_zone: config.time_zone,
        rejections: limits.rejections,
        event_types: limits.event_types,
        days: limits.days,
        batch_ttl: config.cleanup_ttl,
        lease: config.job_lease,
    }
}

pub(super) fn of_requests(config: &Config) -> http::Limits {
    http::Limits {
        body: config.limits.body_bytes,
        stall: config.stall,
        body_time: config.upload_time,
        connections_per_client: config.connections_per_client,
        attempts: config.job_max_attempts,
        crashes: config.job_max_crashes,
        time_zone: config.time_zone,
        shutdown: config.shutdown,
    }
}

/// Returns the limits that clients have to know, by the names of their settings.
pub(super) fn public(config: &Config) -> http::PublicLimits {
    let limits = &config.limits;
    http::PublicLimits::from([
        ("BODY_LIMIT_BYTES", limits.body_bytes),
        ("RECORD_LIMIT_BYTES", limits.record_bytes as u64),
        ("RECORD_LIMIT_LINES", u64::from(limits.record_lines)),
        ("CELL_LIMIT_BYTES", limits.cell_bytes as u64),
        ("COLUMN_LIMIT", limits.columns as u64),
        ("EVENT_TYPE_LIMIT_BYTES", limits.event_type_bytes as u64),
        ("USER_ID_LIMIT_BYTES", limits.user_id_bytes as u64),
        ("EVENT_ID_LIMIT_BYTES", limits.event_id_bytes as u64),
        ("REJECTION_LIMIT", limits.rejections),
        ("EVENT_TYPES_LIMIT", limits.event_types as u64),
        ("DAYS_LIMIT", limits.days as u64),
        ("UPLOAD_LIMIT", u64::from(config.upload_limit)),
        ("UPLOAD_WINDOW_SECONDS", config.upload_window.as_secs()),
    ])
}
