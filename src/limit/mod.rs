//! What one client may do: acts per address and window, counted by all processes together in Redis, or by each process
//! on its own, and a share of the places for work at the same time.

mod in_process;
mod places;
mod redis;

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use async_trait::async_trait;

pub use self::in_process::{InProcessLimit, in_process};
pub use self::places::{NoPlace, Place, Places};
pub use self::redis::in_redis;

/// The client has no act left; it may try again after this time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests from this address: try again in {0:?}")]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Returns the wait in whole seconds, rounded up: a client that waits just as long is not refused again.
    #[must_use]
    pub fn seconds(self) -> u64 {
        let part = u64::from(self.0.subsec_nanos() > 0);
        self.0.as_secs().saturating_add(part).max(1)
    }
}

/// A limit on the acts of each client.
#[async_trait]
pub trait RateLimit: Send + Sync {
    /// Counts one act of a client.
    ///
    /// # Errors
    /// [`RetryAfter`] if the client has none left: the act is not counted.
    async fn check(&self, client: IpAddr) -> Result<(), RetryAfter>;
}

/// No limit.
#[derive(Debug, Clone, Copy)]
pub struct Unlimited;

#[async_trait]
impl RateLimit for Unlimited {
    async fn check(&self, _: IpAddr) -> Result<(), RetryAfter> {
        Ok(())
    }
}

/// Returns the address that counts for a client: of IPv6 the /64 network, since one customer has 2⁶⁴ addresses.
#[must_use]
pub fn subnet(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
