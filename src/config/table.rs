//! Every setting with its default and what it does: the one source of the reader and of `.env.example`.

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its name in the environment.
    pub key: &'static str,
    /// What it is if it is not set.
    pub default: &'static str,
    /// What it does.
    pub doc: &'static str,
}

const fn setting(key: &'static str, default: &'static str, doc: &'static str) -> Setting {
    Setting { key, default, doc }
}

/// All of them, in the order of `.env.example`.
pub const SETTINGS: [Setting; 34] = [
    setting(
        "HOST",
        "127.0.0.1",
        "address to listen on; 0.0.0.0 for all interfaces",
    ),
    setting("PORT", "3000", "port to listen on; 0 for any free one"),
    setting(
        "DATA_DIR",
        "./data",
        "directory of the embedded store, one process at a time; with MONGO_URI only for sorting on the way",
    ),
    setting(
        "MONGO_URI",
        "",
        "mongodb://user:password@host1,host2/tallymill?replicaSet=rs0: the store of many processes; empty: the embedded one",
    ),
    setting(
        "REDIS_URL",
        "",
        "redis://:password@host:6379/0 (rediss:// for TLS): the queue of many processes, needs MONGO_URI; empty: in process",
    ),
    setting(
        "ADMIN_TOKEN",
        "",
        "what /admin asks for as a bearer token; empty: /admin is closed",
    ),
    setting(
        "LOG_LEVEL",
        "info",
        "off, error, warn, info, debug or trace, also by module: info,tallymill=debug",
    ),
    setting("LOG_FORMAT", "text", "text or json"),
    setting(
        "TIME_ZONE",
        "UTC",
        "where days begin, by IANA name; kept in the store, which refuses another",
    ),
    setting(
        "CLEANUP_INTERVAL_SECONDS",
        "3600",
        "time between two cleanups",
    ),
    setting(
        "CLEANUP_TTL_SECONDS",
        "86400",
        "how long a batch that nobody processes is kept; 0: for ever",
    ),
    setting(
        "REPROCESS_CRON",
        "0 0 * * *",
        "when the nightly check runs: minute hour day-of-month month day-of-week, in TIME_ZONE",
    ),
    setting(
        "REPROCESS_BUDGET_SECONDS",
        "600",
        "how long one nightly check may take",
    ),
    setting(
        "UPLOAD_LIMIT",
        "10",
        "uploads per client address and window; 0: no limit",
    ),
    setting("UPLOAD_WINDOW_SECONDS", "60", "the window of UPLOAD_LIMIT"),
    setting(
        "TRUSTED_PROXIES",
        "",
        "addresses and networks (10.0.0.0/8) of proxies whose X-Forwarded-For names the client, by commas; empty: none",
    ),
    setting("WORKER_CONCURRENCY", "2", "jobs run at once"),
    setting(
        "JOB_MAX_ATTEMPTS",
        "4",
        "attempts of a job, the first included, before it is given up",
    ),
    setting(
        "JOB_MAX_CRASHES",
        "5",
        "lost workers of a job before it is given up",
    ),
    setting(
        "JOB_BACKOFF_SECONDS",
        "5",
        "wait before the second attempt; doubled for each further one",
    ),
    setting(
        "JOB_LEASE_SECONDS",
        "30",
        "silence after which a worker is taken for lost",
    ),
    setting(
        "SWEEP_SECONDS",
        "5",
        "time between two looks for work that was left lying",
    ),
    setting(
        "SHUTDOWN_SECONDS",
        "30",
        "how long a stop waits for uploads and jobs under way",
    ),
    setting("BODY_LIMIT_BYTES", "4294967296", "largest file"),
    setting("RECORD_LIMIT_BYTES", "1048576", "longest row"),
    setting(
        "RECORD_LIMIT_LINES",
        "10000",
        "most lines of one row (quoted line breaks)",
    ),
    setting("CELL_LIMIT_BYTES", "262144", "longest cell"),
    setting("COLUMN_LIMIT", "512", "most columns"),
    setting("EVENT_TYPE_LIMIT_BYTES", "128", "longest event type"),
    setting("USER_ID_LIMIT_BYTES", "256", "longest user id"),
    setting("EVENT_ID_LIMIT_BYTES", "256", "longest event id"),
    setting(
        "REJECTION_LIMIT",
        "100000",
        "rejected rows kept per batch; beyond it they are only counted",
    ),
    setting(
        "EVENT_TYPES_LIMIT",
        "1000",
        "most different event types of one file",
    ),
    setting("DAYS_LIMIT", "4000", "most different days of one file"),
];
