//! How many rejected rows a file may have, as the sender states it.

use std::fmt;

/// How many rejected rows a file may have. A file with more is refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorTolerance {
    /// Whether no row may be rejected (`on_error=abort`).
    pub abort: bool,
    /// Maximum rejected rows (`max_errors`).
    pub max_errors: Option<u64>,
    /// Maximum rejected rows in a million rows that are not blank (`max_error_ratio`).
    pub max_per_million: Option<u32>,
}

impl ErrorTolerance {
    /// Returns the maximum of rejected rows that holds for files of any length; `None` if there is no such maximum.
    #[must_use]
    pub fn absolute_max(self) -> Option<u64> {
        if self.abort { Some(0) } else { self.max_errors }
    }

    /// Returns whether a complete file has too many rejected rows.
    #[must_use]
    pub fn is_exceeded(self, failed: u64, inserted: u64) -> bool {
        let exceeds_max = self.absolute_max().is_some_and(|max| failed > max);
        let exceeds_ratio = self.max_per_million.is_some_and(|max| {
            let rows = u128::from(failed) + u128::from(inserted);
            u128::from(failed) * 1_000_000 > u128::from(max) * rows
        });
        exceeds_max || exceeds_ratio
    }
}

/// The options as the sender states them.
impl fmt::Display for ErrorTolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            abort,
            max_errors,
            max_per_million,
        } = *self;
        if abort {
            return f.write_str("on_error=abort");
        }
        let errors = max_errors.map(|max| format!("max_errors={max}"));
        let ratio = max_per_million.map(|max| format!("max_error_ratio={}", f64::from(max) / 1e6));
        let stated: Vec<_> = errors.into_iter().chain(ratio).collect();
        f.write_str(&stated.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn max_errors(max: u64) -> ErrorTolerance {
        ErrorTolerance {
            max_errors: Some(max),
            ..ErrorTolerance::default()
        }
    }

    #[test]
    fn the_stated_maximum_itself_is_allowed() {
        assert!(!max_errors(2).is_exceeded(2, 0));
        assert!(max_errors(2).is_exceeded(3, 1_000_000));
        let ratio = ErrorTolerance {
            max_per_million: Some(10_000),
            ..ErrorTolerance::default()
        };
        assert!(!ratio.is_exceeded(1, 99) && ratio.is_exceeded(1, 98));
        assert!(!ErrorTolerance::default().is_exceeded(1_000, 1));
    }

    #[test]
    fn a_tolerance_is_displayed_as_its_options() {
        let abort = ErrorTolerance {
            abort: true,
            max_errors: Some(5),
            max_per_million: None,
        };
        assert_eq!(abort.absolute_max(), Some(0));
        assert_eq!(abort.to_string(), "on_error=abort");
        let both = ErrorTolerance {
            max_per_million: Some(500),
            ..max_errors(7)
        };
        assert_eq!(both.to_string(), "max_errors=7, max_error_ratio=0.0005");
    }
}
