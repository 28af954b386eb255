//! The wait before the next attempt.

use std::time::Duration;

/// Longest wait before jitter.
const LONGEST: Duration = Duration::from_secs(3_600);

/// Returns `base` × 2ⁿ for the n-th failure (from 0), ± 20 % by `seed`. Jobs that fail together are retried apart, and a
/// replayed test waits the same.
#[must_use]
pub(super) fn delay(base: Duration, failures: u32, seed: u64) -> Duration {
    let doubled = base
        .saturating_mul(2u32.saturating_pow(failures.min(20)))
        .min(LONGEST);
    // The upper bits of a multiplicative hash (Knuth, TAOCP vol. 3, 6.4) spread neighbouring seeds.
    let spread = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 401;
    let exact = doubled.mul_f64(0.8 + 0.001 * spread as f64);
    // Stores hold milliseconds in the searched column: a job due by its column must be due by its document.
    Duration::from_millis(u64::try_from((exact.as_micros() + 500) / 1_000).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn delays_are_within_a_fifth_of_the_doubled_base(failures in 0u32..5, seed: u64) {
            let base = Duration::from_secs(5);
            let exact = base.as_secs_f64() * f64::from(2u32.pow(failures));
            let got = delay(base, failures, seed).as_secs_f64();
            prop_assert!((exact * 0.8 - 1e-6..=exact * 1.2 + 1e-6).contains(&got), "{got}");
        }
    }

    #[test]
    fn retries_of_a_thousand_jobs_are_spread() {
        let mut buckets = [0; 5];
        for seed in 0..1_000 {
            let wait = delay(Duration::from_secs(10), 0, seed).as_secs_f64();
            buckets[((wait - 8.0) as usize).min(4)] += 1;
        }
        assert!(buckets.iter().all(|n| *n < 400), "{buckets:?}");
    }

    #[test]
    fn delays_have_an_upper_bound() {
        assert!(delay(Duration::from_secs(60), u32::MAX, 1) <= LONGEST.mul_f64(1.2));
    }
}
