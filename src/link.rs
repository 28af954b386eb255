//! One Redis, as the queue and the upload limit reach it: an address that shows no password, and calls that end in time.
//! Opens nothing before the first call, so a service starts without it; while it is away, all calls but one a second fail at once.

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

use crate::clock::Clock;

/// Time between two tries while it is away: what waits for one is late by this much.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait for an answer when somebody asks whether it is there.
const PROBE: Duration = Duration::from_secs(1);
/// Longest wait for a connection; a host in the same region answers within milliseconds.
const CONNECT: Duration = Duration::from_secs(2);
/// Bounds what a caller with a patience of its own leaves behind.
const RESPONSE: Duration = Duration::from_secs(5);

/// Begins our keys unless the installation has another name.
const SPACE: &str = "tallymill";

/// Anything that a call may end in.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Where a Redis is. Shows its host and database, never who logs in.
#[derive(Clone)]
pub struct Address {
    client: Client,
    space: String,
}

impl Address {
    /// Reads an address such as `redis://:password@host:6379/0`.
    ///
    /// # Errors
    /// What is wrong with it, without the address itself.
    pub fn parse(url: &str) -> Result<Self, String> {
        let read = url
            .into_connection_info()
            .and_then(Client::open)
            .map_err(|why| {
                // What follows may be a part of the address.
                let why = why.to_string();
                let why = why.split(" - ").next().unwrap_or_default();
                format!(
                    "{why}; write redis://user:password@host:6379/0, or rediss:// for TLS, with %xx for special characters"
                )
            })?;
        Ok(Self {
            client: read,
            space: SPACE.into(),
        })
    }

    /// The same Redis for another installation: its keys begin with this name.
    #[must_use]
    pub fn within(self, space: &str) -> Self {
        Self {
            space: space.into(),
            ..self
        }
    }

    /// What every key of ours begins with, so that installations may share a Redis.
    #[must_use]
    pub fn space(&self) -> &str {
        &self.space
    }

    /// A connection of its own that makes itself anew when it breaks; waits `response` for each answer.
    ///
    /// # Errors
    /// [`RedisError`] if it can't even be prepared.
    pub fn connection(&self, response: Duration) -> Result<ConnectionManager, RedisError> {
        // One try: whoever calls knows better when to try again.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECT))
            .set_response_timeout(Some(response));
        ConnectionManager::new_lazy_with_config(self.client.clone(), config)
    }
}

impl fmt::Display for Address {
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

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// It did not answer, or not in time.
#[derive(Debug, thiserror::Error)]
pub enum Away {
    /// It was away a moment ago, so nobody asked.
    #[error("Redis is away")]
    Known,
    /// It took too long.
    #[error("Redis did not answer within {0:?}")]
    Late(Duration),
    /// What it said, or what its connection did.
    #[error("Redis failed: {0}")]
    Failed(#[source] Cause),
}

/// The way to one Redis for short calls.
pub struct Link {
    address: Address,
    clock: Arc<dyn Clock>,
    /// What its absence means, for the log.
    without: &'static str,
    connection: Mutex<ConnectionManager>,
    /// While it is away: when the next call may try.
    away: Mutex<Option<Duration>>,
}

impl Link {
    /// A link that connects at its first call.
    ///
    /// # Errors
    /// [`RedisError`] if a connection can't even be prepared.
    pub fn new(
        address: Address,
        clock: Arc<dyn Clock>,
        without: &'static str,
    ) -> Result<Self, RedisError> {
        let connection = Mutex::new(address.connection(RESPONSE)?);
        Ok(Self {
            address,
            clock,
            without,
            connection,
            away: Mutex::new(None),
        })
    }

    /// Does something within `patience`; fails at once while Redis is known to be away.
    ///
    /// # Errors
    /// [`Away`], and then it may still have happened.
    pub async fn call<T, F>(
        &self,
        patience: Duration,
        act: impl FnOnce(ConnectionManager) -> F,
    ) -> Result<T, Away>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        if self.is_away() {
            return Err(Away::Known);
        }
        self.attempt(patience, act).await
    }

    /// Whether it answers now.
    pub async fn answers(&self) -> bool {
        let ping = async |mut connection| {
            redis::cmd("PING")
                .query_async::<()>(&mut connection)
                .await
                .map_err(Cause::from)
        };
        self.attempt(PROBE, ping).await.is_ok()
    }

    async fn attempt<T, F>(
        &self,
        patience: Duration,
        act: impl FnOnce(ConnectionManager) -> F,
    ) -> Result<T, Away>
    where
        F: Future<Output = Result<T, Cause>>,
    {
        let connection = lock(&self.connection).clone();
        let done = match tokio::time::timeout(patience, act(connection)).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(why)) => Err(Away::Failed(why)),
            Err(_) => Err(Away::Late(patience)),
        };
        match &done {
            Ok(_) => self.found(),
            Err(why) => self.lost(why),
        }
        done
    }

    /// Whether to spare the try; of those who may try again, one does.
    fn is_away(&self) -> bool {
        let now = self.clock.elapsed();
        match &mut *lock(&self.away) {
            None => false,
            Some(until) if now < *until => true,
            Some(until) => {
                *until = now + RETRY;
                false
            }
        }
    }

    fn found(&self) {
        if lock(&self.away).take().is_some() {
            tracing::info!(redis = %self.address, "Redis at {} answers again", self.address);
        }
    }

    fn lost(&self, why: &Away) {
        let until = self.clock.elapsed() + RETRY;
        if lock(&self.away).replace(until).is_none() {
            let (address, without) = (&self.address, self.without);
            tracing::warn!(redis = %address, error = %why, "Redis at {address} is away: {without}");
            return;
        }
        // A connection whose far end vanished without a word would go on waiting; the first failure may be
        // a slow handshake, which deserves a second look.
        if let Ok(fresh) = self.address.connection(RESPONSE) {
            *lock(&self.connection) = fresh;
        }
    }
}

fn lock<T>(it: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_shows_where_and_never_who() {
        let address =
            Address::parse("redis://me:hunter2@cache.example:6380/3").expect("an address");
        assert_eq!(address.to_string(), "redis://cache.example:6380/3");
        assert!(!format!("{address:?}").contains("hunter2"));
        let tls = Address::parse("rediss://:hunter2@cache.example").expect("an address");
        assert_eq!(tls.to_string(), "rediss://cache.example:6379/0");
    }

    #[test]
    fn a_wrong_address_is_a_fault_without_its_password() {
        for wrong in [
            "hunter2",
            "http://me:hunter2@host",
            "redis://me:hunter2@host/hunter2",
            "redis://:hunter2@",
            "redis://:hunter2@host:99999",
            "redis://:hunter2@host?protocol=hunter2",
        ] {
            let why = Address::parse(wrong).expect_err(wrong);
            assert!(why.contains("write redis://"), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}
