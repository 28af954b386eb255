//! Keys by which a client names a request, so that sending it again is not asking again.

use sha2::{Digest, Sha256};

use super::{BatchId, Instant};

/// Names one request of one caller to one route. A digest, so that what the client chose is neither kept nor logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestKey(pub [u8; 32]);

impl RequestKey {
    /// The key that `caller` chose for a request to `route`.
    #[must_use]
    pub fn new(caller: &[u8], route: &str, chosen: &str) -> Self {
        Self(digest(
            "tallymill key 1",
            &[caller, route.as_bytes(), chosen.as_bytes()],
        ))
    }
}

impl std::fmt::Debug for RequestKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RequestKey({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// Names what was asked of a batch by a request without a body.
#[must_use]
pub fn wish_content(batch: BatchId, force: bool) -> [u8; 32] {
    let force = [u8::from(force)];
    digest(
        "tallymill wish 1",
        &[batch.to_string().as_bytes(), &force[..]],
    )
}

fn digest(form: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(form.as_bytes());
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// What is known of the request that a key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyEntry {
    /// The batch it is about; of an upload chosen before its first byte is stored.
    pub batch: BatchId,
    /// Digest of what was sent; none while it is still arriving.
    pub content: Option<[u8; 32]>,
    /// What it came to; of an upload that became a batch, the batch itself says so.
    pub outcome: Option<KeyOutcome>,
    /// When the request began.
    pub opened_at: Instant,
}

/// What a request came to, where its batch does not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOutcome {
    /// The file was there already, as the batch of the entry.
    Duplicate,
    /// The wish stands in the ledger.
    Asked,
}

impl KeyOutcome {
    /// Every outcome.
    pub const ALL: [Self; 2] = [Self::Duplicate, Self::Asked];

    /// The stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Asked => "asked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_routes_and_keys_are_told_apart_wherever_their_borders_lie() {
        let all = [
            RequestKey::new(b"a", "POST /uploads", "k"),
            RequestKey::new(b"ab", "POST /uploads", "k"),
            RequestKey::new(b"a", "POST /upload", "sk"),
            RequestKey::new(b"a", "POST /uploads", "kk"),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
        let shown = format!("{:?}", RequestKey::new(b"a", "r", "secret"));
        assert!(!shown.contains("secret") && shown.len() < 24, "{shown}");
    }

    #[test]
    fn a_wish_is_named_by_its_batch_and_by_force() {
        let (a, b) = (BatchId::from_bytes([1; 16]), BatchId::from_bytes([2; 16]));
        assert_ne!(wish_content(a, false), wish_content(a, true));
        assert_ne!(wish_content(a, false), wish_content(b, false));
    }
}
