//! How many bad rows a file may have: what the sender says, and whether a file is within it.

use std::fmt;

/// How many bad rows a file may have before nothing of it is stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Strictness {
    /// Whether the first one is one too many (`on_error=abort`).
    pub abort: bool,
    /// At most so many (`max_errors`).
    pub errors: Option<u64>,
    /// At most so many in a million rows that are not blank (`max_error_ratio`).
    pub per_million: Option<u32>,
}

impl Strictness {
    /// The most bad rows, whatever the number of rows.
    #[must_use]
    pub fn most(self) -> Option<u64> {
        if self.abort { Some(0) } else { self.errors }
    }

    /// Whether a whole file with so many bad rows has too many.
    #[must_use]
    pub fn refuses(self, failed: u64, inserted: u64) -> bool {
        let too_many = self.most().is_some_and(|most| failed > most);
        let too_often = self.per_million.is_some_and(|of| {
            let rows = u128::from(failed) + u128::from(inserted);
            u128::from(failed) * 1_000_000 > u128::from(of) * rows
        });
        too_many || too_often
    }
}

impl fmt::Display for Strictness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            abort,
            errors,
            per_million,
        } = *self;
        if abort {
            return f.write_str("on_error=abort");
        }
        let errors = errors.map(|most| format!("max_errors={most}"));
        let ratio = per_million.map(|of| format!("max_error_ratio={}", f64::from(of) / 1e6));
        let stated: Vec<_> = errors.into_iter().chain(ratio).collect();
        f.write_str(&stated.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_allowed_is_the_last_number_taken() {
        let errors = |errors| Strictness {
            errors: Some(errors),
            ..Strictness::default()
        };
        assert!(!errors(2).refuses(2, 0) && errors(2).refuses(3, 1_000_000));
        let ratio = Strictness {
            per_million: Some(10_000),
            ..Strictness::default()
        };
        assert!(!ratio.refuses(1, 99) && ratio.refuses(1, 98));
        assert!(!Strictness::default().refuses(1_000, 1));
        let abort = Strictness {
            abort: true,
            errors: Some(5),
            per_million: None,
        };
        assert_eq!(
            (abort.most(), abort.to_string()),
            (Some(0), "on_error=abort".into())
        );
        let both = Strictness {
            per_million: Some(500),
            ..errors(7)
        };
        assert_eq!(both.to_string(), "max_errors=7, max_error_ratio=0.0005");
    }
}
