//! Profiles: named sets of upload options.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Instant, id::BadId};

/// Maximum bytes of a name.
const NAME_BYTES: usize = 64;

/// The name of a profile: 1 to 64 characters of `a-z`, `0-9`, `.`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProfileName(String);

impl ProfileName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileName {
    type Err = BadId;

    fn from_str(text: &str) -> Result<Self, BadId> {
        let is_allowed =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        // A path segment of dots alone is relative.
        let is_segment = text.bytes().any(|byte| byte != b'.');
        if (1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed) && is_segment {
            Ok(Self(text.to_owned()))
        } else {
            let expected = "the name of a profile (1 to 64 of a-z, 0-9, `.`, `_` and `-`)";
            Err(BadId::new(text, expected))
        }
    }
}

impl TryFrom<String> for ProfileName {
    type Error = BadId;

    fn try_from(text: String) -> Result<Self, BadId> {
        text.parse()
    }
}

impl From<ProfileName> for String {
    fn from(name: ProfileName) -> Self {
        name.0
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A named set of upload options.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// The name.
    pub name: ProfileName,
    /// The options by name, as stated.
    pub options: BTreeMap<String, String>,
    /// The time of the last change.
    pub changed_at: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_up_to_64_characters_that_urls_allow() {
        for name in ["a", "crm.eu-1_x", &"a".repeat(64)] {
            assert_eq!(name.parse::<ProfileName>().expect("a name").as_str(), name);
        }
        for text in ["", ".", "..", "A", "a b", "ä", "a/b", &"a".repeat(65)] {
            assert!(text.parse::<ProfileName>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<ProfileName>("\"A\"").is_err());
    }
}
