//! The limit counted by one process. Addresses are removed once their window has passed, so that no number of addresses
//! fills the memory.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU32,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::keyed::DashMapStateStore,
};

use super::{RateLimit, RetryAfter, Unlimited, subnet};

/// Addresses stored before those whose window has passed are removed.
const MAX_ADDRESSES: usize = 100_000;
/// Lengths of the network that counts for an IPv4 and an IPv6 client once there are as many addresses, and once there are
/// twice as many: so many within one window are an attack, which then shares few counts with the networks that it comes
/// from, and none with others.
const CROWDED: [(u8, u8); 2] = [(16, 32), (8, 16)];

/// A limit counted by this process alone.
pub struct InProcessLimit<C: Clock = DefaultClock> {
    limiter: RateLimiter<IpAddr, DashMapStateStore<IpAddr>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    max_addresses: usize,
    /// When addresses were last removed.
    pruned: Mutex<Option<C::Instant>>,
    /// Time between two removals: each reads all addresses.
    prune_interval: Nanos,
}

/// Returns a limit of `limit` acts per `window` and client; 0 is no limit.
#[must_use]
pub fn in_process(limit: u32, window: Duration) -> Box<dyn RateLimit> {
    match InProcessLimit::new(limit, window, DefaultClock::default(), MAX_ADDRESSES) {
        Some(limit) => Box::new(limit),
        None => Box::new(Unlimited),
    }
}

impl<C: Clock + Clone> InProcessLimit<C> {
    fn new(limit: u32, window: Duration, clock: C, max_addresses: usize) -> Option<Self> {
        let burst = NonZeroU32::new(limit)?;
        let quota = Quota::with_period(window / limit)?.allow_burst(burst);
        Some(Self {
            limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            max_addresses,
            pruned: Mutex::new(None),
            prune_interval: (window / 10).into(),
        })
    }
}

impl<C> InProcessLimit<C>
where
    C: Clock + Send + Sync,
    C::Instant: Send + Sync,
{
    /// Whether addresses may be removed again.
    fn may_prune(&self) -> bool {
        let now = self.clock.now();
        let mut pruned = self.pruned.lock().unwrap_or_else(PoisonError::into_inner);
        let may = pruned.is_none_or(|last| now.duration_since(last) >= self.prune_interval);
        if may {
            *pruned = Some(now);
        }
        may
    }

    fn count(&self, client: IpAddr) -> Result<(), RetryAfter> {
        if self.limiter.len() >= self.max_addresses && self.may_prune() {
            self.limiter.retain_recent();
        }
        let key = match self.limiter.len() / self.max_addresses {
            0 => subnet(client),
            1 => network(client, CROWDED[0]),
            _ => network(client, CROWDED[1]),
        };
        self.limiter
            .check_key(&key)
            .map_err(|not_until| RetryAfter(not_until.wait_time_from(self.clock.now())))
    }
}

/// Returns the network of a client, of one length for IPv4 and another for IPv6.
fn network(client: IpAddr, (v4_bits, v6_bits): (u8, u8)) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(v4) => {
            let mask = u32::MAX << (32 - v4_bits);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX << (128 - v6_bits);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

#[async_trait]
impl<C> RateLimit for InProcessLimit<C>
where
    C: Clock + Send + Sync,
    C::Instant: Send + Sync,
{
    async fn check(&self, client: IpAddr) -> Result<(), RetryAfter> {
        self.count(client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    const WINDOW: Duration = Duration::from_secs(60);

    fn limit(max_addresses: usize) -> (InProcessLimit<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        let limit = InProcessLimit::new(10, WINDOW, clock.clone(), max_addresses).expect("not off");
        (limit, clock)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn each_address_has_its_own_limit() {
        let (limit, clock) = limit(100);
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        assert!((0..10).all(|_| limit.count(one).is_ok()));
        assert_eq!(limit.count(one), Err(RetryAfter(Duration::from_secs(6))));
        assert_eq!(limit.count(other), Ok(()));
        clock.advance(Duration::from_secs(6));
        assert_eq!(limit.count(one), Ok(()));
        assert!(limit.count(one).is_err());
        clock.advance(WINDOW);
        assert!((0..10).all(|_| limit.count(one).is_ok()));
    }

    #[test]
    fn a_client_that_waits_as_told_is_not_refused() {
        let one = ip("192.0.2.1");
        for (acts, seconds) in [(10, 60), (7, 60), (7, 10), (3, 1), (1_000, 1), (9, 3_601)] {
            let (window, clock) = (Duration::from_secs(seconds), FakeRelativeClock::default());
            let limit = InProcessLimit::new(acts, window, clock.clone(), 100).expect("not off");
            for step in 0..50 {
                while let Ok(()) = limit.count(one) {}
                clock.advance(Duration::from_millis(step * 7 % 5));
                let Err(wait) = limit.count(one) else {
                    continue;
                };
                clock.advance(Duration::from_secs(wait.seconds()));
                assert_eq!(
                    limit.count(one),
                    Ok(()),
                    "{acts} in {window:?}, told {wait:?}"
                );
            }
        }
    }

    #[test]
    fn waits_are_rounded_up_to_whole_seconds() {
        for (millis, seconds) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (8_571, 9)] {
            assert_eq!(RetryAfter(Duration::from_millis(millis)).seconds(), seconds);
        }
    }

    #[test]
    fn an_ipv6_subnet_counts_as_one_client() {
        let (limit, _) = limit(100);
        let host = |n| IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, n, 0, 0, n));
        assert!((0..10).all(|n| limit.count(host(n)).is_ok()));
        assert!(limit.count(host(99)).is_err());
        assert_eq!(limit.count(ip("2001:db8:0:8::1")), Ok(()));
        assert_eq!(subnet(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }

    #[test]
    fn the_number_of_stored_addresses_is_bounded() {
        let (limit, clock) = limit(50);
        for n in 0..1_000 {
            let _ = limit.count(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)));
        }
        assert!(limit.limiter.len() <= 51, "{}", limit.limiter.len());
        // Clients of other networks have a count of their own meanwhile.
        assert!(limit.count(ip("10.0.200.1")).is_err());
        assert!((0..10).all(|_| limit.count(ip("198.51.100.1")).is_ok()));
        clock.advance(WINDOW * 2);
        assert_eq!(limit.count(ip("192.0.2.1")), Ok(()));
        assert!(limit.limiter.len() < 50, "old ones are removed");
    }

    #[tokio::test]
    async fn zero_is_no_limit() {
        let off = in_process(0, WINDOW);
        for _ in 0..1_000 {
            assert_eq!(off.check(ip("192.0.2.1")).await, Ok(()));
        }
    }
}
