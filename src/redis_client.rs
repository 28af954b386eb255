//! The client of one Redis, for the queue and the upload limit: an address that shows no password, and calls with a
//! timeout. Opens no connection before the first call, so a service starts while Redis is unavailable. During an outage
//! one call a second is tried, and all others fail at once.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    Client, ConnectionAddr, IntoConnectionInfo, RedisError,
    aio::{ConnectionManager, ConnectionManagerConfig},
};

use crate::{
    clock::Clock,
    model::{CallFailure, Outage, with_causes},
};

/// Time between two attempts during an outage.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// Longest duration of a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for a connection. A host in the same region answers within milliseconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a response on the shared connection. A caller may give up earlier by its own timeout.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Errors of a server that answers but refuses writes: it is full, a replica, can't save, or lacks its replicas.
const REFUSED_WRITES: [&str; 4] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS"];
/// The key that a ping writes while writes are refused. It expires at once.
const PROBE_KEY: &str = "probe";

/// The prefix of all keys, unless the installation has another name.
const DEFAULT_NAMESPACE: &str = "tallymill";

/// The cause of a failed call.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The address of a Redis. Its text shows host and database, never user or password.
#[derive(Clone)]
pub struct RedisAddress {
    client: Client,
    namespace: String,
}

impl RedisAddress {
    /// Parses an address such as `redis://:password@host:6379/0`.
    ///
    /// # Errors
    /// Says what is wrong, without the address itself.
    pub fn parse(url: &str) -> Result<Self, String> {
        let client = url
            .into_connection_info()
            .and_then(Client::open)
            .map_err(|error| {
                // The text after the dash may be a part of the address.
                let error = error.to_string();
                let why = error.split(" - ").next().unwrap_or_default();
                format!(
                    "{why}; write redis://user:password@host:6379/0, or rediss:// for TLS, with %xx for special characters"
                )
            })?;
        Ok(Self {
            client,
            namespace: DEFAULT_NAMESPACE.into(),
        })
    }

    /// Returns the same address with another prefix of all keys.
    #[must_use]
    pub fn with_namespace(self, namespace: &str) -> Self {
        Self {
            namespace: namespace.into(),
            ..self
        }
    }

    /// Returns the prefix of all keys. Installations that share a Redis differ in it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Returns a new connection that reconnects by itself, with `response` as the timeout of each command.
    ///
    /// # Errors
    /// [`RedisError`] if the connection can't be prepared.
    pub fn connection(&self, response: Duration) -> Result<ConnectionManager, RedisError> {
        // No retries here: the caller has its own timing.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(response));
        ConnectionManager::new_lazy_with_config(self.client.clone(), config)
    }
}

impl fmt::Display for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = self.client.get_connection_info();
        let scheme = match info.addr() {
            ConnectionAddr::TcpTls { .. } => "rediss",
            _ => "redis",
        };
        let (at, database) = (info.addr(), info.redis_settings().db());
        write!(f, "{scheme}://{at}/{database}")
    }
}

impl fmt::Debug for RedisAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Redis was unavailable less than a second ago, so the call was not tried.
    #[error("Redis is away")]
    KnownUnavailable,
    /// Redis did not answer in time.
    #[error("Redis did not answer within {0:?}")]
    Timeout(Duration),
    /// The command or its connection failed.
    #[error("Redis failed: {0}")]
    Failed(#[source] Cause),
}

impl CallError {
    /// Returns what the error says about the server.
    fn failure(&self) -> CallFailure {
        match self {
            Self::Failed(cause) => {
                let text = with_causes(cause.as_ref());
                if REFUSED_WRITES.iter().any(|code| text.contains(code)) {
                    CallFailure::WritesRefused
                } else {
                    CallFailure::Unreachable
                }
            }
            Self::KnownUnavailable | Self::Timeout(_) => CallFailure::Unreachable,
        }
    }
}

/// A client of one Redis for short calls.
pub struct RedisClient {
    address: RedisAddress,
    clock: Arc<dyn Clock>,
    /// What an outage means for the service, for the log.
    consequence: &'static str,
    connection: Mutex<ConnectionManager>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outage: Outage,
    /// During an outage: the time of the next attempt.
    next_attempt: Duration,
}

impl RedisClient {
    /// Returns a client that connects at its first call. `consequence` says what an outage means, for the log.
    ///
    /// # Errors
    /// [`RedisError`] if a connection can't be prepared.
    pub fn new(
        address: RedisAddress,
        clock: Arc<dyn Clock>,
        consequence: &'static str,
    ) -> Result<Self, RedisError> {
        let connection = Mutex::new(address.connection(RESPONSE_TIMEOUT)?);
        Ok(Self {
            address,
            clock,
            consequence,
            connection,
            state: Mutex::default(),
        })
    }

    /// Runs commands that store nothing new within `timeout`. Fails at once during an outage.
    ///
    /// # Errors
    /// [`CallError`]; the commands may have been executed nevertheless.
    pub async fn query<T, F>(
        &self,
        timeout: Duration,
        commands: impl FnOnce(ConnectionManager) -> F,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        self.call(timeout, commands, |_| false).await
    }

    /// Runs commands within `timeout`. Fails at once during an outage. `stored` returns whether the
    /// commands stored something: only that shows that a full Redis accepts writes again.
    ///
    /// # Errors
    /// [`CallError`]; the commands may have been executed nevertheless.
    pub async fn call<T, F>(
        &self,
        timeout: Duration,
        commands: impl FnOnce(ConnectionManager) -> F,
        stored: impl FnOnce(&T) -> bool,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        if self.skips_attempt() {
            return Err(CallError::KnownUnavailable);
        }
        self.attempt(timeout, commands, stored).await
    }

    /// Returns whether Redis answers a ping now; while it refuses writes, whether it accepts one.
    pub async fn answers(&self) -> bool {
        let writes = lock(&self.state).outage.refuses_writes();
        let ping = async |mut connection| {
            let command = if writes {
                let key = format!("{}:{PROBE_KEY}", self.address.namespace());
                let mut set = redis::cmd("SET");
                set.arg(key).arg("").arg("PX").arg(1);
                set
            } else {
                redis::cmd("PING")
            };
            command
                .query_async::<()>(&mut connection)
                .await
                .map_err(Cause::from)
        };
        self.attempt(PING_TIMEOUT, ping, |()| writes).await.is_ok()
    }

    async fn attempt<T, F>(
        &self,
        timeout: Duration,
        commands: impl FnOnce(ConnectionManager) -> F,
        stored: impl FnOnce(&T) -> bool,
    ) -> Result<T, CallError>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let begun = self.clock.elapsed();
        let connection = lock(&self.connection).clone();
        let result = match tokio::time::timeout(timeout, commands(connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(cause)) => Err(CallError::Failed(cause)),
            Err(_) => Err(CallError::Timeout(timeout)),
        };
        match &result {
            Ok(value) => self.record_success(stored(value), begun),
            Err(error) => self.record_failure(error, begun),
        }
        result
    }

    /// Returns whether a call fails without an attempt. Of the calls after each retry interval, one is tried.
    fn skips_attempt(&self) -> bool {
        let now = self.clock.elapsed();
        let state = &mut *lock(&self.state);
        if !state.outage.is_on() {
            return false;
        }
        if now < state.next_attempt {
            return true;
        }
        state.next_attempt = now + RETRY_INTERVAL;
        false
    }

    fn record_success(&self, stored: bool, begun: Duration) {
        let now = self.clock.elapsed();
        let ended = lock(&self.state).outage.record_success(stored, begun, now);
        if let Some(lasted) = ended {
            let (address, seconds) = (&self.address, lasted.as_secs_f64());
            tracing::info!(redis = %address, seconds, "Redis at {address} answers again after {seconds:.1} s");
        }
    }

    fn record_failure(&self, error: &CallError, begun: Duration) {
        let (now, failure) = (self.clock.elapsed(), error.failure());
        let begins = {
            let state = &mut *lock(&self.state);
            state.next_attempt = now + RETRY_INTERVAL;
            state.outage.record_failure(failure, begun, now)
        };
        if begins {
            let (address, consequence) = (&self.address, self.consequence);
            let fault = match failure {
                CallFailure::Unreachable => "is unavailable",
                CallFailure::WritesRefused => "refuses writes",
            };
            tracing::warn!(redis = %address, %error, "Redis at {address} {fault}: {consequence}");
        }
        if begins || failure == CallFailure::WritesRefused {
            return;
        }
        // A connection whose peer vanished would wait for ever. The first failure may be a slow handshake, so the
        // connection is replaced from the second failure on.
        if let Ok(fresh) = self.address.connection(RESPONSE_TIMEOUT) {
            *lock(&self.connection) = fresh;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_text_shows_the_host_and_no_credentials() {
        let address =
            RedisAddress::parse("redis://me:hunter2@cache.example:6380/3").expect("an address");
        assert_eq!(address.to_string(), "redis://cache.example:6380/3");
        assert!(!format!("{address:?}").contains("hunter2"));
        let tls = RedisAddress::parse("rediss://:hunter2@cache.example").expect("an address");
        assert_eq!(tls.to_string(), "rediss://cache.example:6379/0");
    }

    #[test]
    fn invalid_address_error_hides_the_password() {
        for wrong in [
            "hunter2",
            "http://me:hunter2@host",
            "redis://me:hunter2@host/hunter2",
            "redis://:hunter2@",
            "redis://:hunter2@host:99999",
            "redis://:hunter2@host?protocol=hunter2",
        ] {
            let why = RedisAddress::parse(wrong).expect_err(wrong);
            assert!(why.contains("write redis://"), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
