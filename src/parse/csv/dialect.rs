//! The dialect of a CSV file: delimiter, quote and escape.

/// How a quoted cell contains the quote itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Escape {
    /// Doubled, as in RFC 4180.
    #[default]
    Doubled,
    /// After a backslash, as written by databases and many scripts; a backslash is then doubled. Doubled quotes are
    /// accepted as well.
    Backslash,
}

impl Escape {
    /// Returns the name that users see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Doubled => "doubled",
            Self::Backslash => "backslash",
        }
    }

    /// Returns the escape with that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        let all = [Self::Doubled, Self::Backslash];
        all.into_iter().find(|escape| escape.as_str() == name)
    }
}

/// The bytes that separate and enclose cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dialect {
    /// Separates cells.
    pub delimiter: u8,
    /// Encloses cells that contain a delimiter, a line break or the quote itself.
    pub quote: u8,
    /// How a quoted cell contains the quote.
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
    /// Stands for no quote at all. A line ends before it could be one.
    pub const NO_QUOTE: u8 = b'\n';

    /// Whether the bytes differ from each other, from line ends, and from the bytes of multi-byte characters.
    #[must_use]
    pub fn is_usable(self) -> bool {
        let plain = |byte: u8| byte.is_ascii() && !matches!(byte, 0 | b'\n' | b'\r');
        let escape = self.escape == Escape::Backslash;
        let apart = !escape || (self.delimiter != b'\\' && self.quote != b'\\');
        let quote = plain(self.quote) || self.quote == Self::NO_QUOTE;
        plain(self.delimiter) && quote && self.delimiter != self.quote && apart
    }
}

/// The parts of the dialect that an upload states. The others are detected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DialectOptions {
    /// Separates cells.
    pub delimiter: Option<u8>,
    /// Encloses cells.
    pub quote: Option<u8>,
    /// How a quoted cell contains the quote.
    pub escape: Option<Escape>,
}

impl DialectOptions {
    /// Whether a usable dialect with these parts exists.
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
    fn dialects_with_colliding_bytes_are_not_usable() {
        let dialect = |delimiter, quote| Dialect {
            delimiter,
            quote,
            escape: Escape::Doubled,
        };
        assert!(Dialect::default().is_usable());
        assert!(dialect(b';', b'\'').is_usable());
        for (delimiter, quote) in [
            (b',', b','),
            (b'\n', b'"'),
            (b'\n', b'\n'),
            (b',', b'\r'),
            (0xe9, b'"'),
        ] {
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
