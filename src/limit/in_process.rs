//! The limit counted by one process. Addresses are removed once their window has passed, so that no number of addresses
//! fills the memory.

use std::{
    net::{IpAddr, Ipv4Addr},
    num::NonZeroU32,
    time::Duration,
};

use async_trait::async_trait;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::keyed::DashMapStateStore,
};

use super::{RateLimit, RetryAfter, Unlimited, subnet};

/// Addresses stored before those whose window has passed are removed.
const MAX_ADDRESSES: usize = 100_000;

/// A limit counted by this process alone.
pub struct InProcessLimit<C: Clock = DefaultClock> {
    limiter: RateLimiter<IpAddr, DashMapStateStore<IpAddr>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    max_addresses: usize,
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
        })
    }
}

impl<C> InProcessLimit<C>
where
    C: Clock + Send + Sync,
    C::Instant: Send + Sync,
{
    fn count(&self, client: IpAddr) -> Result<(), RetryAfter> {
        let mut key = subnet(client);
        if self.limiter.len() >= self.max_addresses {
            self.limiter.retain_recent();
            if self.limiter.len() >= self.max_addresses {
                // So many addresses within one window are an attack: until it passes they share one count.
                key = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
            }
        }
        self.limiter
            .check_key(&key)
            .map_err(|not_until| RetryAfter(not_until.wait_time_from(self.clock.now())))
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
    use std::net::Ipv6Addr;

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
