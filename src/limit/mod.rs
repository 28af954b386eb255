//! Who may do how much: so many uploads per client address and window, counted by all processes together in Redis,
//! or by each on its own.

mod in_process;
mod redis;

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use async_trait::async_trait;

pub use self::in_process::{InProcess, in_process};
pub use self::redis::in_redis;

/// Too much for now; again after this wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many uploads from this address: try again in {0:?}")]
pub struct Wait(pub Duration);

/// Lets a client do something, or says when it may.
#[async_trait]
pub trait RateLimit: Send + Sync {
    /// Counts one act of a client.
    ///
    /// # Errors
    /// [`Wait`] if it has none left: then the act is not counted.
    async fn check(&self, client: IpAddr) -> Result<(), Wait>;
}

/// No limit.
#[derive(Debug, Clone, Copy)]
pub struct Off;

#[async_trait]
impl RateLimit for Off {
    async fn check(&self, _: IpAddr) -> Result<(), Wait> {
        Ok(())
    }
}

/// One customer has one IPv4 address, but 2⁶⁴ IPv6 addresses.
fn subnet(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}
