//! Every setting with its default, unit and meaning: the single source of the reader, `.env.example` and
//! `docs/configuration.md`.

/// A group of related settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingGroup {
    /// The heading of the group.
    pub title: &'static str,
    /// The settings, in the order in which they are documented.
    pub settings: &'static [Setting],
}

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// The name of the environment variable.
    pub key: &'static str,
    /// The value if the variable is not set.
    pub default: &'static str,
    /// The unit or the form of the value.
    pub unit: &'static str,
    /// What the setting does.
    pub doc: &'static str,
}

const fn setting(
    key: &'static str,
    default: &'static str,
    unit: &'static str,
    doc: &'static str,
) -> Setting {
    Setting {
        key,
        default,
        unit,
        doc,
    }
}

/// All settings, in the order in which they are documented.
#[rustfmt::skip] // One line a setting reads as the table that it is.
pub const SETTING_GROUPS: [SettingGroup; 6] = [
    SettingGroup {
        title: "Server",
        settings: &[
            setting("HOST", "127.0.0.1", "IP address", "address to listen on; 0.0.0.0 for all interfaces"),
            setting("PORT", "3000", "port", "port to listen on; 0 for any free port"),
            setting("ADMIN_TOKEN", "", "text", "bearer token of the /admin routes; empty: they answer 503"),
            setting("ADMIN_TOKEN_FILE", "", "path", "file with the value of ADMIN_TOKEN, such as /run/secrets/admin_token; read once, at the start"),
            setting("INSECURE_OPEN", "false", "true or false", "whether HOST may be an address beyond loopback without ADMIN_TOKEN: every machine that reaches it may then upload, process and delete"),
            setting("ALLOWED_HOSTS", "", "host names, by commas", "further names by which clients call the service, such as tally.example.org behind a proxy; localhost and the address of HOST are always allowed, others get 421; *: any"),
            setting("CORS_ORIGINS", "", "origins, by commas", "sites whose pages may send requests and read replies, such as https://wiki.example.org; pages of others get 403"),
            setting("TRUSTED_PROXIES", "", "addresses and networks, by commas", "proxies whose X-Forwarded-For header names the client, such as 10.0.0.0/8; empty: none"),
            setting("UPLOAD_LIMIT", "10", "uploads", "uploads per client address and window; 0: no limit"),
            setting("UPLOAD_APPEND_LIMIT", "1200", "requests", "requests per client address and window that append to resumable uploads; 0: no limit"),
            setting("KEYED_REQUEST_LIMIT", "600", "requests", "requests per client address and window with an Idempotency-Key, each of which is stored for a day; 0: no limit"),
            setting("UPLOAD_WINDOW_SECONDS", "60", "seconds", "window of UPLOAD_LIMIT, UPLOAD_APPEND_LIMIT and KEYED_REQUEST_LIMIT"),
            setting("UPLOADS_AT_ONCE", "16", "uploads", "uploads that a process receives at once; each takes two threads and some 25 MB"),
            setting("UPLOADS_AT_ONCE_PER_CLIENT", "4", "uploads", "uploads of one client address that a process receives at once"),
            setting("UPLOAD_SECONDS", "3600", "seconds", "longest time of one request that sends a file; larger files are sent in parts"),
            setting("STALL_SECONDS", "30", "seconds", "time after which a connection is closed whose client neither sends the rest of a body nor reads the rest of a reply"),
            setting("CONNECTIONS_PER_CLIENT", "256", "connections", "connections of one address at once; TRUSTED_PROXIES have no limit"),
            setting("SHUTDOWN_SECONDS", "30", "seconds", "time for running uploads and jobs to end at a stop"),
            setting("DRAIN_SECONDS", "0", "seconds", "time after a request to stop in which /ready answers 503 and everything else is served, before the listener closes; as long as a load balancer takes to notice"),
            setting("LOG_LEVEL", "info", "level, or levels by module", "off, error, warn, info, debug or trace, also by module: info,tallymill=debug"),
            setting("LOG_FORMAT", "text", "text or json", "form of a log line; json for machines"),
        ],
    },
    SettingGroup {
        title: "Store and queue",
        settings: &[
            setting("DATA_DIR", "./data", "directory", "embedded store, used by one process at a time; with MONGO_URI only scratch space for sorting"),
            setting("MONGO_URI", "", "connection string", "MongoDB store, shared by many processes: mongodb://user:password@host1,host2/tallymill?replicaSet=rs0; empty: embedded store"),
            setting("MONGO_URI_FILE", "", "path", "file with the value of MONGO_URI; read once, at the start"),
            setting("REDIS_URL", "", "URL", "queue and upload limit shared by many processes, needs MONGO_URI: redis://:password@host:6379/0, rediss:// for TLS; empty: in process"),
            setting("REDIS_URL_FILE", "", "path", "file with the value of REDIS_URL; read once, at the start"),
            setting("TIME_ZONE", "UTC", "IANA name", "zone whose midnights separate days; recorded in the store, which refuses another"),
        ],
    },
    SettingGroup {
        title: "Jobs",
        settings: &[
            setting("WORKER_CONCURRENCY", "2", "jobs", "jobs that a process runs at once"),
            setting("JOB_MAX_ATTEMPTS", "4", "attempts", "attempts before a job is a dead letter, the first included"),
            setting("JOB_MAX_CRASHES", "5", "crashes", "lost workers in a row before a job is a dead letter"),
            setting("JOB_BACKOFF_SECONDS", "5", "seconds", "wait before the second attempt; doubled for each further attempt, ± 20 %"),
            setting("JOB_LEASE_SECONDS", "30", "seconds", "time without a renewal after which a worker counts as lost"),
            setting("SWEEP_SECONDS", "5", "seconds", "time between two passes of the reconciler, which finds lost and due jobs"),
        ],
    },
    SettingGroup {
        title: "Cleanup and verification",
        settings: &[
            setting("CLEANUP_INTERVAL_SECONDS", "3600", "seconds", "time between two cleanups"),
            setting("CLEANUP_TTL_SECONDS", "86400", "seconds", "time after the last upload of its file at which a batch that was not processed is deleted; 0: never, and not later either for batches stored meanwhile"),
            setting("TOMBSTONE_RETENTION_DAYS", "90", "days", "time for which a deleted batch is remembered: 410, then 404; 0: for ever"),
            setting("AUDIT_RETENTION_DAYS", "365", "days", "time for which entries of the audit log are retained; 0: for ever"),
            setting("REPROCESS_CRON", "0 0 * * *", "cron", "schedule of the verification of published figures: minute hour day-of-month month day-of-week, in TIME_ZONE"),
            setting("REPROCESS_BUDGET_SECONDS", "600", "seconds", "longest duration of one verification"),
        ],
    },
    SettingGroup {
        title: "Limits of a file",
        settings: &[
            setting("BODY_LIMIT_BYTES", "4294967296", "bytes", "largest file, unpacked"),
            setting("RECORD_LIMIT_BYTES", "1048576", "bytes", "longest row"),
            setting("RECORD_LIMIT_LINES", "10000", "lines", "most lines of one row, by quoted line breaks"),
            setting("CELL_LIMIT_BYTES", "262144", "bytes", "longest cell"),
            setting("COLUMN_LIMIT", "512", "columns", "most columns"),
            setting("EVENT_TYPES_LIMIT", "1000", "event types", "most distinct event types"),
            setting("DAYS_LIMIT", "4000", "days", "most distinct days"),
            setting("REJECTION_LIMIT", "100000", "rows", "rejected rows stored per batch; further ones are only counted"),
        ],
    },
    SettingGroup {
        title: "Limits of an event",
        settings: &[
            setting("EVENT_TYPE_LIMIT_BYTES", "128", "bytes", "longest event type"),
            setting("USER_ID_LIMIT_BYTES", "256", "bytes", "longest user id"),
            setting("EVENT_ID_LIMIT_BYTES", "256", "bytes", "longest event id"),
        ],
    },
];

/// Returns every setting, in the order in which they are documented.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    SETTING_GROUPS.iter().flat_map(|group| group.settings)
}
