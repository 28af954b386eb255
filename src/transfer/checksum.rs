//! Checksums of parts, as the tus protocol has them.

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

/// What the bytes of one request have to come to.
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

/// A text that is no checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a checksum is one of {} and, after a space, the digest in Base64",
    Checksum::ALGORITHMS
)]
pub struct NoChecksum;

impl Checksum {
    /// The algorithms there are, by comma.
    pub const ALGORITHMS: &'static str = "sha1,sha256";

    /// Whether these bytes come to it.
    #[must_use]
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        match self.algorithm {
            Algorithm::Sha1 => self.digest == sha1_smol::Sha1::from(bytes).digest().bytes(),
            Algorithm::Sha256 => self.digest == Sha256::digest(bytes)[..],
        }
    }
}

impl std::str::FromStr for Checksum {
    type Err = NoChecksum;

    fn from_str(text: &str) -> Result<Self, NoChecksum> {
        let (name, digest) = text.trim().split_once(' ').ok_or(NoChecksum)?;
        let algorithm = match name {
            "sha1" => Algorithm::Sha1,
            "sha256" => Algorithm::Sha256,
            _ => return Err(NoChecksum),
        };
        let digest = STANDARD.decode(digest.trim()).map_err(|_| NoChecksum)?;
        Ok(Self { algorithm, digest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_tell_bytes_apart() {
        // Of `hello world`, by sha1sum and sha256sum.
        for text in [
            "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=",
            "sha256 uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=",
        ] {
            let checksum: Checksum = text.parse().expect("a checksum");
            assert!(
                checksum.is_of(b"hello world") && !checksum.is_of(b"hello"),
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
            assert_eq!(text.parse::<Checksum>(), Err(NoChecksum), "{text}");
        }
    }
}
