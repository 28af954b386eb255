//! Log lines: to stderr, as text or JSON, from the level that is set. Knows no secret, so it shows none.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. Called once, by `main`; a second call changes nothing.
pub fn init(level: &str, format: LogFormat) {
    // apalis announces each start and stop of a worker; ours say the same with a reason.
    // While Redis is away it would warn at every restart; `link` and `supervise` do so once.
    let quiet = "apalis_core=warn,apalis_core::backend::persistence=off,apalis_core::worker=off,apalis_redis=warn,apalis=warn,apalis_cron=warn,actix_server=warn,actix_http=warn";
    let filter = EnvFilter::new(format!("{quiet},{level}"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(why) = started {
        tracing::debug!(why, "logging was started before");
    }
}
