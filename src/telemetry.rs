//! Writes the log to stderr, as text or JSON. Receives no secret, so it shows none.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. `main` calls it once; a second call changes nothing.
pub fn init(level: &str, format: LogFormat) {
    // apalis logs each start and stop of a worker, and warns at every restart during an outage of Redis. Our own lines
    // say the same once, with a reason. A request that actix can't parse, which anyone can send, is no error of the service;
    // LOG_LEVEL=info,actix_http=error shows them.
    let quiet = "apalis_core=warn,apalis_core::backend::persistence=off,apalis_core::worker=off,apalis_redis=warn,apalis=warn,actix_server=warn,actix_http=off";
    let filter = EnvFilter::new(format!("{quiet},{level}"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let started = match format {
        LogFormat::Text => subscriber.try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        tracing::debug!(error, "logging was started before, this call is ignored");
    }
}
