//! The settings: read once at start from `.env` and the environment, typed, with all faults at once.
//! Secrets show in no text that comes from here.

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

pub use table::{SETTINGS, Setting};

use read::Reader;

/// Everything that can be set.
#[derive(Debug, Clone)]
pub struct Config {
    /// `HOST`: the address to listen on.
    pub host: IpAddr,
    /// `PORT`: the port to listen on; 0 = any free one.
    pub port: u16,
    /// `DATA_DIR`: where everything is kept; beside MongoDB only what is sorted on the way.
    pub data_dir: PathBuf,
    /// `MONGO_URI`: the store that many processes share; none = the embedded one in `data_dir`.
    pub mongo_uri: Option<Secret>,
    /// `REDIS_URL`: the queue that many processes share; none = nudges stay within the process.
    pub redis_url: Option<Secret>,
    /// `ADMIN_TOKEN`: what `/admin` asks for; none = `/admin` is closed.
    pub admin_token: Option<Secret>,
    /// `LOG_LEVEL`: a level, or levels by module.
    pub log_level: String,
    /// `LOG_FORMAT`.
    pub log_format: LogFormat,
    /// `CLEANUP_INTERVAL_SECONDS`.
    pub cleanup_interval: Duration,
    /// `CLEANUP_TTL_SECONDS`: how long an unprocessed batch is kept; none = for ever.
    pub cleanup_ttl: Option<Duration>,
    /// `REPROCESS_CRON`: its text; whoever builds the schedule checks it.
    pub reprocess_cron: String,
    /// `REPROCESS_BUDGET_SECONDS`.
    pub reprocess_budget: Duration,
    /// `TIME_ZONE`: where days begin.
    pub time_zone: Tz,
    /// `UPLOAD_LIMIT`: uploads per window and client; 0 = off.
    pub upload_limit: u32,
    /// `UPLOAD_WINDOW_SECONDS`.
    pub upload_window: Duration,
    /// `TRUSTED_PROXIES`: networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `WORKER_CONCURRENCY`: jobs run at once.
    pub worker_concurrency: usize,
    /// `JOB_MAX_ATTEMPTS`.
    pub job_max_attempts: u32,
    /// `JOB_MAX_CRASHES`.
    pub job_max_crashes: u32,
    /// `JOB_BACKOFF_SECONDS`.
    pub job_backoff: Duration,
    /// `JOB_LEASE_SECONDS`.
    pub job_lease: Duration,
    /// `SWEEP_SECONDS`.
    pub sweep: Duration,
    /// `SHUTDOWN_SECONDS`.
    pub shutdown: Duration,
    /// The limits of a file.
    pub limits: FileLimits,
}

/// What a file has to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLimits {
    /// `BODY_LIMIT_BYTES`.
    pub body_bytes: u64,
    /// `RECORD_LIMIT_BYTES`.
    pub record_bytes: usize,
    /// `RECORD_LIMIT_LINES`.
    pub record_lines: u32,
    /// `CELL_LIMIT_BYTES`.
    pub cell_bytes: usize,
    /// `COLUMN_LIMIT`.
    pub columns: usize,
    /// `EVENT_TYPE_LIMIT_BYTES`.
    pub event_type_bytes: usize,
    /// `USER_ID_LIMIT_BYTES`.
    pub user_id_bytes: usize,
    /// `EVENT_ID_LIMIT_BYTES`.
    pub event_id_bytes: usize,
    /// `REJECTION_LIMIT`: rejected rows kept per batch.
    pub rejections: u64,
    /// `EVENT_TYPES_LIMIT`: different event types per file.
    pub event_types: usize,
    /// `DAYS_LIMIT`: different days per file.
    pub days: usize,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
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

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line, for machines.
    Json,
}

/// Everything that is wrong with the settings.
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
    /// Reads `.env` of the working directory, if there is one, then the environment, which wins.
    ///
    /// # Errors
    /// Every setting that can't be used.
    pub fn load() -> Result<Self, ConfigFaults> {
        let file = read::env_file(".env".as_ref())?;
        Self::from_lookup(|key| {
            std::env::var_os(key)
                .map(|value| value.to_string_lossy().into_owned())
                .or_else(|| file.get(key).cloned())
        })
    }

    /// Reads every setting by its key; one that is missing or blank has its default.
    ///
    /// # Errors
    /// Every setting that can't be used.
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
            cleanup_ttl: Some(read.seconds("CLEANUP_TTL_SECONDS", 0)).filter(|ttl| !ttl.is_zero()),
            reprocess_cron: read.text("REPROCESS_CRON"),
            reprocess_budget: read.seconds("REPROCESS_BUDGET_SECONDS", 1),
            time_zone: read.zone("TIME_ZONE"),
            upload_limit: read.number("UPLOAD_LIMIT", 0, 1_000_000),
            upload_window: read.seconds("UPLOAD_WINDOW_SECONDS", 1),
            trusted_proxies: read.networks("TRUSTED_PROXIES"),
            worker_concurrency: read.number("WORKER_CONCURRENCY", 1, 256),
            job_max_attempts: read.number("JOB_MAX_ATTEMPTS", 1, 1_000),
            job_max_crashes: read.number("JOB_MAX_CRASHES", 1, 1_000),
            job_backoff: read.seconds("JOB_BACKOFF_SECONDS", 1),
            job_lease: read.seconds("JOB_LEASE_SECONDS", 1),
            sweep: read.seconds("SWEEP_SECONDS", 1),
            shutdown: read.seconds("SHUTDOWN_SECONDS", 0),
            limits: FileLimits::read(&mut read),
        };
        if config.redis_url.is_some() && config.mongo_uri.is_none() {
            read.fault(
                "REDIS_URL is set without MONGO_URI: the embedded store has one process and needs no queue beside it; \
                 set MONGO_URI too, or unset REDIS_URL",
            );
        }
        read.finish(config)
    }

    /// Where to listen.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }
}

impl FileLimits {
    fn read(read: &mut Reader<'_>) -> Self {
        /// Most that one row may take; rows are held in memory while they are read.
        const ROW: usize = 64 * 1024 * 1024;
        Self {
            body_bytes: read.number("BODY_LIMIT_BYTES", 1, 1 << 50),
            record_bytes: read.number("RECORD_LIMIT_BYTES", 1, ROW),
            record_lines: read.number("RECORD_LIMIT_LINES", 1, 10_000_000),
            cell_bytes: read.number("CELL_LIMIT_BYTES", 1, ROW),
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
