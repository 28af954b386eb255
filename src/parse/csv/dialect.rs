//! The bytes that give a file its shape.

/// How a quote is written that is part of a quoted cell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Escape {
    /// Twice, as RFC 4180 has it.
    #[default]
    Doubled,
    /// behind a backslash, as databases and many scripts write it; a backslash is then written twice. Doubled quotes are
    /// still understood.
    Backslash,
}

impl Escape {
    /// The name users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Doubled => "doubled",
            Self::Backslash => "backslash",
        }
    }

    /// The escape of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Doubled, Self::Backslash];
        all.into_iter().find(|escape| escape.as_str() == name)
    }
}

/// How cells are told apart; a value of another kind of file would differ only here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Separates cells.
    pub delimiter: u8,
    /// Encloses cells that hold a delimiter, a line break or itself.
    pub quote: u8,
    /// How a quoted cell holds the quote.
    pub escape: Escape,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: b'"',
            escape: Escape::Doubled,
        }
    }
}

impl Dialect {
    /// Whether the bytes can be told apart from each other, from line ends and from the parts of a character.
    #[must_use]
    pub fn is_usable(self) -> bool {
        let plain = |byte: u8| byte.is_ascii() && !matches!(byte, 0 | b'\n' | b'\r');
        let escape = self.escape == Escape::Backslash;
        let apart = !escape || (self.delimiter != b'\\' && self.quote != b'\\');
        plain(self.delimiter) && plain(self.quote) && self.delimiter != self.quote && apart
    }
}

/// What the sender says of the dialect; the rest is found out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wish {
    /// Separates cells.
    pub delimiter: Option<u8>,
    /// Encloses cells.
    pub quote: Option<u8>,
    /// How a quoted cell holds the quote.
    pub escape: Option<Escape>,
}

impl Wish {
    /// Whether some dialect can be as it says.
    #[must_use]
    pub fn is_usable(self) -> bool {
        let Dialect {
            delimiter,
            quote,
            escape,
        } = Dialect::default();
        let quote = match (self.quote, self.delimiter) {
            (None, Some(b'"')) => b'\'',
            _ => quote,
        };
        Dialect {
            delimiter: self.delimiter.unwrap_or(delimiter),
            quote: self.quote.unwrap_or(quote),
            escape: self.escape.unwrap_or(escape),
        }
        .is_usable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_collide_are_not_usable() {
        let dialect = |delimiter, quote| Dialect {
            delimiter,
            quote,
            escape: Escape::Doubled,
        };
        assert!(Dialect::default().is_usable());
        assert!(dialect(b';', b'\'').is_usable());
        for (delimiter, quote) in [(b',', b','), (b'\n', b'"'), (b',', b'\r'), (0xe9, b'"')] {
            assert!(!dialect(delimiter, quote).is_usable());
        }
        let escaped = |delimiter, quote| Dialect {
            escape: Escape::Backslash,
            ..dialect(delimiter, quote)
        };
        assert!(escaped(b',', b'"').is_usable());
        assert!(!escaped(b'\\', b'"').is_usable() && !escaped(b',', b'\\').is_usable());
    }
}
