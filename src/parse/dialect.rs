//! The two bytes that give a file its shape.

/// How cells are told apart; a value of another kind of file would differ only here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Separates cells.
    pub delimiter: u8,
    /// Encloses cells that hold a delimiter, a line break or, doubled, itself.
    pub quote: u8,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: b'"',
        }
    }
}

impl Dialect {
    /// Whether the bytes can be told apart from each other, from line ends and from the parts of a character.
    #[must_use]
    pub fn is_usable(self) -> bool {
        let plain = |byte: u8| byte.is_ascii() && !matches!(byte, 0 | b'\n' | b'\r');
        plain(self.delimiter) && plain(self.quote) && self.delimiter != self.quote
    }
}

/// What the sender says of the dialect; the rest is found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Separates cells.
    pub delimiter: Option<u8>,
    /// Encloses cells.
    pub quote: Option<u8>,
}

impl Wish {
    /// Whether some dialect can be as it says.
    #[must_use]
    pub fn is_usable(self) -> bool {
        let Dialect { delimiter, quote } = Dialect::default();
        let quote = match (self.quote, self.delimiter) {
            (None, Some(b'"')) => b'\'',
            _ => quote,
        };
        Dialect {
            delimiter: self.delimiter.unwrap_or(delimiter),
            quote: self.quote.unwrap_or(quote),
        }
        .is_usable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_collide_are_not_usable() {
        let dialect = |delimiter, quote| Dialect { delimiter, quote };
        assert!(Dialect::default().is_usable());
        assert!(dialect(b';', b'\'').is_usable());
        for (delimiter, quote) in [(b',', b','), (b'\n', b'"'), (b',', b'\r'), (0xe9, b'"')] {
            assert!(!dialect(delimiter, quote).is_usable());
        }
    }
}
