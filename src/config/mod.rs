//! Reads the settings at start, from `.env` and the environment, into one typed value. Reports all faults at once, and
//! shows no secret in any text.

mod read;
mod table;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use chrono_tz::Tz;
use ipnet::IpNet;

pub use table::{SETTING_GROUPS, Setting, SettingGroup};

use read::Reader;

/// All settings. `docs/configuration.md` describes each.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HOST`: the address to listen on.
    pub host: IpAddr,
    /// `PORT`: the port to listen on; 0 is any free port.
    pub port: u16,
    /// `DATA_DIR`: the directory of the embedded store; with MongoDB only scratch space.
    pub data_dir: PathBuf,
    /// `MONGO_URI`, or the content of `MONGO_URI_FILE`: the MongoDB store; `None` is the embedded store.
    pub mongo_uri: Option<Secret>,
    /// `REDIS_URL`, or the content of `REDIS_URL_FILE`: the shared queue and upload limit; `None` is in process.
    pub redis_url: Option<Secret>,
    /// `ADMIN_TOKEN`, or the content of `ADMIN_TOKEN_FILE`: the bearer token of the admin routes; `None` disables them.
    pub admin_token: Option<Secret>,
    /// `LOG_LEVEL`: a level, or levels by module.
    pub log_level: String,
    /// `LOG_FORMAT`: the form of log lines.
    pub log_format: LogFormat,
    /// `CLEANUP_INTERVAL_SECONDS`: the time between two cleanups.
    pub cleanup_interval: Duration,
    /// `CLEANUP_TTL_SECONDS`: the age at which an unprocessed batch is deleted; `None` is never.
    pub cleanup_ttl: Option<Duration>,
    /// `TOMBSTONE_RETENTION_DAYS`: the time for which a deleted batch is remembered; `None` is for ever.
    pub tombstone_retention: Option<Duration>,
    /// `AUDIT_RETENTION_DAYS`: the time for which entries of the audit log are retained; `None` is for ever.
    pub audit_retention: Option<Duration>,
    /// `REPROCESS_CRON`: the schedule of the verification, as text that `app` parses.
    pub reprocess_cron: String,
    /// `REPROCESS_BUDGET_SECONDS`: the longest duration of one verification.
    pub reprocess_budget: Duration,
    /// `TIME_ZONE`: the zone whose midnights separate days.
    pub time_zone: Tz,
    /// `UPLOAD_LIMIT`: uploads per window and client; 0 is no limit.
    pub upload_limit: u32,
    /// `UPLOAD_WINDOW_SECONDS`: the window of `upload_limit`.
    pub upload_window: Duration,
    /// `ALLOWED_HOSTS`: further names of the service, without ports, in lower case; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// `CORS_ORIGINS`: the origins of other sites whose pages may use the service, in lower case.
    pub cors_origins: Vec<String>,
    /// `INSECURE_OPEN`: whether an address beyond loopback may be bound without a token.
    pub insecure_open: bool,
    /// `UPLOAD_APPEND_LIMIT`: appends to resumable uploads per window and client; 0 is no limit.
    pub upload_append_limit: u32,
    /// `KEYED_REQUEST_LIMIT`: requests with an idempotency key per window and client; 0 is no limit.
    pub keyed_request_limit: u32,
    /// `UPLOADS_AT_ONCE`: uploads received at once.
    pub uploads_at_once: usize,
    /// `UPLOADS_AT_ONCE_PER_CLIENT`: uploads of one client received at once.
    pub uploads_at_once_per_client: usize,
    /// `UPLOAD_SECONDS`: the longest time of one request that sends a file.
    pub upload_time: Duration,
    /// `STALL_SECONDS`: the longest time without progress of a body or a reply.
    pub stall: Duration,
    /// `CONNECTIONS_PER_CLIENT`: connections of one address at once.
    pub connections_per_client: usize,
    /// `TRUSTED_PROXIES`: the networks whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// `WORKER_CONCURRENCY`: jobs that the process runs at once.
    pub worker_concurrency: usize,
    /// `JOB_MAX_ATTEMPTS`: attempts before a job is dead, the first included.
    pub job_max_attempts: u32,
    /// `JOB_MAX_CRASHES`: lost workers in a row before a job is dead.
    pub job_max_crashes: u32,
    /// `JOB_BACKOFF_SECONDS`: the wait before the second attempt, doubled for each further one.
    pub job_backoff: Duration,
    /// `JOB_LEASE_SECONDS`: the time without a renewal after which a lease expires.
    pub job_lease: Duration,
    /// `SWEEP_SECONDS`: the time between two passes of the reconciler.
    pub sweep: Duration,
    /// `SHUTDOWN_SECONDS`: the time for running uploads and jobs to end at a stop.
    pub shutdown: Duration,
    /// `DRAIN_SECONDS`: the time between a request to stop and the end of the listener.
    pub drain: Duration,
    /// The limits of a file.
    pub limits: FileLimits,
}

/// The limits of an uploaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimits {
    /// `BODY_LIMIT_BYTES`: the largest file, unpacked.
    pub body_bytes: u64,
    /// `RECORD_LIMIT_BYTES`: the longest row.
    pub record_bytes: usize,
    /// `RECORD_LIMIT_LINES`: the most lines of one row.
    pub record_lines: u32,
    /// `CELL_LIMIT_BYTES`: the longest cell.
    pub cell_bytes: usize,
    /// `COLUMN_LIMIT`: the most columns.
    pub columns: usize,
    /// `EVENT_TYPE_LIMIT_BYTES`: the longest event type.
    pub event_type_bytes: usize,
    /// `USER_ID_LIMIT_BYTES`: the longest user id.
    pub user_id_bytes: usize,
    /// `EVENT_ID_LIMIT_BYTES`: the longest event id.
    pub event_id_bytes: usize,
    /// `REJECTION_LIMIT`: rejected rows stored per batch.
    pub rejections: u64,
    /// `EVENT_TYPES_LIMIT`: distinct event types per file.
    pub event_types: usize,
    /// `DAYS_LIMIT`: distinct days per file.
    pub days: usize,
}

/// A text that `Debug` does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Returns the text.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// All faults of the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFaults(pub Vec<String>);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of the settings can't be used:", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigFaults {}

impl Config {
    /// Reads the environment, and for variables that are not set `.env` of the working directory.
    ///
    /// # Errors
    /// [`ConfigFaults`] names every setting that can't be used.
    pub fn load() -> Result<Self, ConfigFaults> {
        let file = read::env_file(".env".as_ref())?;
        Self::from_lookup(|key| {
            std::env::var_os(key)
                .map(|value| value.to_string_lossy().into_owned())
                .or_else(|| file.get(key).cloned())
        })
    }

    /// Reads every setting by its key. A missing or blank value is the default.
    ///
    /// # Errors
    /// [`ConfigFaults`] names every setting that can't be used.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigFaults> {
        let mut read = Reader::new(&lookup);
        let config = Self {
            host: read.host("HOST"),
            port: read.number("PORT", 0, u16::MAX),
            data_dir: read.text("DATA_DIR").into(),
            mongo_uri: read.secret("MONGO_URI"),
            redis_url: read.secret("REDIS_URL"),
            admin_token: read.secret("ADMIN_TOKEN"),
            log_level: read.log_level("LOG_LEVEL"),
            log_format: read.log_format("LOG_FORMAT"),
            cleanup_interval: read.seconds("CLEANUP_INTERVAL_SECONDS", 1),
            tombstone_retention: days(read.number("TOMBSTONE_RETENTION_DAYS", 0, MAX_DAYS)),
            audit_retention: days(read.number("AUDIT_RETENTION_DAYS", 0, MAX_DAYS)),
            cleanup_ttl: Some(read.seconds("CLEANUP_TTL_SECONDS", 0)).filter(|ttl| !ttl.is_zero()),
            reprocess_cron: read.text("REPROCESS_CRON"),
            reprocess_budget: read.seconds("REPROCESS_BUDGET_SECONDS", 1),
            time_zone: read.zone("TIME_ZONE"),
            upload_limit: read.number("UPLOAD_LIMIT", 0, 1_000_000),
            upload_window: read.seconds("UPLOAD_WINDOW_SECONDS", 1),
            allowed_hosts: read.host_names("ALLOWED_HOSTS"),
            cors_origins: read.origins("CORS_ORIGINS"),
            insecure_open: read.flag("INSECURE_OPEN"),
            upload_append_limit: read.number("UPLOAD_APPEND_LIMIT", 0, 1_000_000),
            keyed_request_limit: read.number("KEYED_REQUEST_LIMIT", 0, 1_000_000),
            uploads_at_once: read.number("UPLOADS_AT_ONCE", 1, 1_000),
            uploads_at_once_per_client: read.number("UPLOADS_AT_ONCE_PER_CLIENT", 1, 1_000),
            upload_time: read.seconds("UPLOAD_SECONDS", 1),
            stall: read.seconds("STALL_SECONDS", 1),
            connections_per_client: read.number("CONNECTIONS_PER_CLIENT", 1, 100_000),
            trusted_proxies: read.networks("TRUSTED_PROXIES"),
            worker_concurrency: read.number("WORKER_CONCURRENCY", 1, 256),
            job_max_attempts: read.number("JOB_MAX_ATTEMPTS", 1, 1_000),
            job_max_crashes: read.number("JOB_MAX_CRASHES", 1, 1_000),
            job_backoff: read.seconds("JOB_BACKOFF_SECONDS", 1),
            job_lease: read.seconds("JOB_LEASE_SECONDS", 1),
            sweep: read.seconds("SWEEP_SECONDS", 1),
            shutdown: read.seconds("SHUTDOWN_SECONDS", 0),
            drain: read.seconds("DRAIN_SECONDS", 0),
            limits: FileLimits::read(&mut read),
        };
        if config.redis_url.is_some() && !config.has_shared_store() {
            read.fault(
                "REDIS_URL is set without MONGO_URI: the embedded store has one process and needs no queue beside it; \
                 set MONGO_URI too, or unset REDIS_URL",
            );
        }
        let token = config.admin_token.as_ref();
        if token.is_some_and(|token| token.expose().len() < MIN_TOKEN_BYTES) {
            read.fault(&format!(
                "ADMIN_TOKEN has fewer than {MIN_TOKEN_BYTES} bytes and could be guessed: make one with `openssl rand -hex 32`"
            ));
        }
        read.finish(config)
    }

    /// Returns why the address can't be bound, if other machines reach it and no token protects anything.
    #[must_use]
    pub fn open_to_others(&self) -> Option<String> {
        let is_open = self.admin_token.is_none() && !self.host.is_loopback() && !self.insecure_open;
        is_open.then(|| {
            format!(
                "HOST={} lets other machines in, and no ADMIN_TOKEN is set: set one, or INSECURE_OPEN=true if only trusted machines reach this address",
                self.host
            )
        })
    }

    /// Whether the store is one that several processes can use at the same time.
    #[must_use]
    pub fn has_shared_store(&self) -> bool {
        self.mongo_uri.is_some()
    }

    /// Returns the address to listen on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

/// Shortest token that is accepted: 128 bits.
const MIN_TOKEN_BYTES: usize = 16;
/// Longest retention, a hundred years.
const MAX_DAYS: u64 = 36_500;

/// Converts a retention in days; 0 is for ever.
fn days(days: u64) -> Option<Duration> {
    (days > 0).then(|| Duration::from_secs(days * 86_400))
}

impl FileLimits {
    fn read(read: &mut Reader<'_>) -> Self {
        /// Highest limit of a row, which is held in memory while it is read.
        const MAX_ROW_BYTES: usize = 64 * 1024 * 1024;
        Self {
            body_bytes: read.number("BODY_LIMIT_BYTES", 1, 1 << 50),
            record_bytes: read.number("RECORD_LIMIT_BYTES", 1, MAX_ROW_BYTES),
            record_lines: read.number("RECORD_LIMIT_LINES", 1, 10_000_000),
            cell_bytes: read.number("CELL_LIMIT_BYTES", 1, MAX_ROW_BYTES),
            columns: read.number("COLUMN_LIMIT", 3, 10_000),
            event_type_bytes: read.number("EVENT_TYPE_LIMIT_BYTES", 1, 4_096),
            user_id_bytes: read.number("USER_ID_LIMIT_BYTES", 1, 65_536),
            event_id_bytes: read.number("EVENT_ID_LIMIT_BYTES", 1, 65_536),
            rejections: read.number("REJECTION_LIMIT", 0, 10_000_000),
            event_types: read.number("EVENT_TYPES_LIMIT", 1, 100_000),
            days: read.number("DAYS_LIMIT", 1, 100_000),
        }
    }
}
