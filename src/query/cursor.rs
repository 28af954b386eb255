//! Cursors: the end of a page as opaque, versioned text, valid only for the list and filter that returned it.

use std::{fmt, str::FromStr};

use xxhash_rust::xxh3::xxh3_64;

/// The first character of the text form.
const VERSION: char = '1';
/// Most hexadecimal digits of a cursor.
const MAX_LENGTH: usize = 512;

/// The text is not a cursor of this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`cursor` is not one that this list gave with this filter: leave it out to begin anew")]
pub struct BadCursor;

/// A position in one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor(String);

impl Cursor {
    /// Returns the cursor after `position`. `list` names the list and its filter.
    #[must_use]
    pub fn new(list: &str, position: &impl fmt::Display) -> Self {
        let position = position.to_string();
        let text = format!("{:016x}{position}", checksum(list, &position));
        Self(format!("{VERSION}{}", hex::encode(text)))
    }

    /// Returns the position of a cursor of `list`.
    ///
    /// # Errors
    /// [`BadCursor`] for any other text.
    pub fn read<T: FromStr>(list: &str, text: &str) -> Result<T, BadCursor> {
        let hex = text
            .strip_prefix(VERSION)
            .filter(|hex| hex.len() <= MAX_LENGTH && hex.is_ascii());
        let pairs = hex.ok_or(BadCursor)?.as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or("?"), 16);
        let bytes: Vec<u8> = pairs
            .map(byte)
            .collect::<Result<_, _>>()
            .map_err(|_| BadCursor)?;
        let text = String::from_utf8(bytes).map_err(|_| BadCursor)?;
        let (stored, position) = text.split_at_checked(16).ok_or(BadCursor)?;
        if stored != format!("{:016x}", checksum(list, position)) {
            return Err(BadCursor);
        }
        position.parse().map_err(|_| BadCursor)
    }
}

/// Returns the checksum that binds a position to its list. It is no secret: it detects mistakes, not forgeries, which
/// would gain nothing.
fn checksum(list: &str, position: &str) -> u64 {
    xxh3_64(format!("{list}\0{position}").as_bytes())
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_valid_for_its_own_list_only() {
        let cursor = Cursor::new("batches failed", &17u32).to_string();
        assert_eq!(Cursor::read("batches failed", &cursor), Ok(17u32));
        assert_eq!(Cursor::read::<u32>("batches", &cursor), Err(BadCursor));
        for text in [
            "",
            "1",
            "2abcd",
            "1zz",
            "1é",
            "1abc",
            &cursor[..cursor.len() - 2],
        ] {
            assert_eq!(
                Cursor::read::<u32>("batches failed", text),
                Err(BadCursor),
                "{text}"
            );
        }
    }
}
