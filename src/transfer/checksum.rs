//! The checksum extension of the tus protocol: parses a checksum, and compares it with a chunk.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The expected digest of the bytes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksum {
    algorithm: Algorithm,
    digest: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Sha1,
    Sha256,
}

/// The text is not a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a checksum is one of {} and, after a space, the digest in Base64",
    Checksum::ALGORITHMS
)]
pub struct InvalidChecksum;

impl Checksum {
    /// The supported algorithms, separated by commas.
    pub const ALGORITHMS: &'static str = "sha1,sha256";

    /// Returns whether `bytes` have this digest.
    #[must_use]
    pub fn matches(&self, bytes: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Sha1 => self.digest == Sha1::digest(bytes)[..],
            Algorithm::Sha256 => self.digest == Sha256::digest(bytes)[..],
        }
    }
}

impl std::str::FromStr for Checksum {
    type Err = InvalidChecksum;

    fn from_str(text: &str) -> Result<Self, InvalidChecksum> {
        let (name, digest) = text.trim().split_once(' ').ok_or(InvalidChecksum)?;
        let algorithm = match name {
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            _ => return Err(InvalidChecksum),
        };
        let digest = STANDARD
            .decode(digest.trim())
            .map_err(|_| InvalidChecksum)?;
        Ok(Self { algorithm, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_detect_changed_bytes() {
        // Of `hello world`, by sha1sum and sha256sum.
        for text in [
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
        ] {
            let checksum: Checksum = text.parse().expect("a checksum");
            assert!(
                checksum.matches(b"hello world") && !checksum.matches(b"hello"),
                "{text}"
            );
        }
        for text in [
            "",
            "sha1",
            "md5 XrY7u+Ae7tCTyyK7j1rNww==",
            "sha1 ?",
            "sha1Kq5s",
        ] {
            assert_eq!(text.parse::<Checksum>(), Err(InvalidChecksum), "{text}");
        }
    }
}
