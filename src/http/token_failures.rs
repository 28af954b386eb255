//! Slows down the guessing of tokens: after a few wrong ones, an address waits ever longer before its next one is compared.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::limit::subnet;

/// Wrong tokens of an address without a wait: those of a person who mistypes.
const FREE: u32 = 3;
/// Longest wait.
const MAX_WAIT: Duration = Duration::from_secs(60);
/// Time after its last wrong token at which an address is forgotten.
const MEMORY: Duration = Duration::from_secs(600);
/// Addresses remembered. Beyond them all are forgotten, which an attacker could also have by using as many addresses.
const MAX_ADDRESSES: usize = 10_000;

/// The wrong tokens of each address.
#[derive(Debug, Default)]
pub struct TokenFailures(Mutex<HashMap<IpAddr, Failures>>);

#[derive(Debug, Clone, Copy)]
struct Failures {
    count: u32,
    last: Duration,
}

impl Failures {
    fn wait(self) -> Duration {
        let doubled = self.count.checked_sub(FREE + 1).map(|n| 1 << n.min(16));
        Duration::from_secs(doubled.unwrap_or(0)).min(MAX_WAIT)
    }
}

impl TokenFailures {
    /// Returns how long an address still has to wait at a time; `None` if its token is to be compared.
    pub(super) fn wait(&self, address: Option<IpAddr>, now: Duration) -> Option<Duration> {
        let failures = self.lock();
        let failures = failures.get(&subnet(address?))?;
        let until = failures.last + failures.wait();
        until.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// Counts a wrong token.
    pub(super) fn add(&self, address: Option<IpAddr>, now: Duration) {
        let Some(address) = address.map(subnet) else {
            return;
        };
        let mut all = self.lock();
        if all.len() >= MAX_ADDRESSES {
            all.retain(|_, failures| failures.last + MEMORY > now);
            if all.len() >= MAX_ADDRESSES {
                all.clear();
            }
        }
        let failures = all.entry(address).or_insert(Failures {
            count: 0,
            last: now,
        });
        if failures.last + MEMORY <= now {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
    }

    /// Forgets an address, since its token is right.
    pub(super) fn clear(&self, address: Option<IpAddr>) {
        if let Some(address) = address {
            self.lock().remove(&subnet(address));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<IpAddr, Failures>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn waits_double_after_a_few_wrong_tokens() {
        let (failures, guesser) = (TokenFailures::default(), address("192.0.2.1"));
        let mut now = Duration::from_secs(5);
        let mut waits = Vec::new();
        for _ in 0..11 {
            failures.add(guesser, now);
            let wait = failures.wait(guesser, now).unwrap_or_default();
            waits.push(wait.as_secs());
            now += wait;
            assert_eq!(failures.wait(guesser, now), None);
        }
        assert_eq!(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(failures.wait(address("192.0.2.2"), now), None);
        failures.clear(guesser);
        failures.add(guesser, now);
        assert_eq!(failures.wait(guesser, now), None, "a right token ends it");
    }

    #[test]
    fn one_network_counts_as_one_address_and_is_forgotten() {
        let failures = TokenFailures::default();
        let now = Duration::from_secs(5);
        for host in 1..=4 {
            failures.add(address(&format!("2001:db8::{host}")), now);
        }
        assert!(failures.wait(address("2001:db8::99"), now).is_some());
        let later = now + MEMORY;
        failures.add(address("2001:db8::99"), later);
        assert_eq!(failures.wait(address("2001:db8::99"), later), None);
    }

    #[test]
    fn addresses_are_bounded() {
        let failures = TokenFailures::default();
        for n in 0..30_000_u32 {
            failures.add(Some(IpAddr::from(n.to_be_bytes())), Duration::ZERO);
        }
        assert!(failures.lock().len() <= MAX_ADDRESSES);
    }
}
