//! The pace of a client: it must move bytes at a lowest rate, or the service stops waiting for it.

use std::time::Duration;

/// Lowest rate of a body or a reply, in bytes per second.
pub(super) const MIN_BYTES_PER_SECOND: u64 = 16 << 10;
/// Longest wait for a client that has not moved anything yet.
const GRACE: Duration = Duration::from_secs(10);

/// The time that a client may still take. Bytes that it moves add to it, up to a bound: what was fast once does not pay
/// for hours of silence.
#[derive(Debug)]
pub(super) struct Pace {
    patience: Duration,
    most: Duration,
}

/// The client is slower than [`MIN_BYTES_PER_SECOND`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the client is slower than {MIN_BYTES_PER_SECOND} bytes a second")]
pub(super) struct TooSlow;

impl Pace {
    /// Returns the pace of a client that may pause for `most`.
    pub(super) fn new(most: Duration) -> Self {
        Self {
            patience: GRACE.min(most),
            most,
        }
    }

    /// Returns how long the client may take for its next bytes.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// Counts bytes that the client moved after it was waited for.
    pub(super) fn moved(&mut self, bytes: usize, waited: Duration) -> Result<(), TooSlow> {
        let left = self.patience.checked_sub(waited).ok_or(TooSlow)?;
        let earned = Duration::from_secs(bytes as u64)
            / u32::try_from(MIN_BYTES_PER_SECOND).unwrap_or(u32::MAX);
        self.patience = left.saturating_add(earned).min(self.most);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_byte_now_and_then_is_too_slow() {
        let mut pace = Pace::new(30 * SECOND);
        assert_eq!(pace.patience(), GRACE);
        let bytes = (0..).take_while(|_| pace.moved(1, SECOND).is_ok());
        assert!((9..12).contains(&bytes.count()));
    }

    #[test]
    fn a_steady_client_is_never_too_slow() {
        let mut pace = Pace::new(30 * SECOND);
        assert!((0..100_000).all(|_| pace.moved(16 << 10, SECOND).is_ok()));
    }

    #[test]
    fn a_fast_start_pays_for_one_pause_only() {
        let mut pace = Pace::new(30 * SECOND);
        assert_eq!(pace.moved(1 << 30, SECOND), Ok(()));
        assert_eq!(pace.patience(), 30 * SECOND);
        assert_eq!(pace.moved(1, 29 * SECOND), Ok(()));
        assert_eq!(pace.moved(1, 29 * SECOND), Err(TooSlow));
    }
}
