//! Idempotency keys: the digest that stands for a key, and what is stored about the request that carried it.

use sha2::{Digest, Sha256};

use super::{BatchId, Instant};

/// The digest of an `Idempotency-Key` with the caller that sent it and the route. The text of the key itself is neither
/// stored nor logged.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(pub [u8; 32]);

impl IdempotencyKey {
    /// Returns the digest of the key that `caller` sent with a request to `route`.
    #[must_use]
    pub fn new(caller: &[u8], route: &str, key: &str) -> Self {
        Self(digest(
            "tallymill key 1",
            &[caller, route.as_bytes(), key.as_bytes()],
        ))
    }
}

impl std::fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IdempotencyKey({}…)", hex::encode(&self.0[..2]))
    }
}

/// Returns the digest of a request to process a batch. A request with a body has the digest of its body instead.
#[must_use]
pub fn process_request_digest(batch: BatchId, force: bool) -> [u8; 32] {
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

/// The stored state of the request that carried a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyEntry {
    /// The batch that the request is about. The batch of an upload is chosen before its first byte is stored.
    pub batch: BatchId,
    /// The digest of the request; `None` while its body is being received.
    pub request_digest: Option<[u8; 32]>,
    /// The outcome of the request; `None` if it is under way, or if the state of the batch is the outcome.
    pub outcome: Option<IdempotencyOutcome>,
    /// The value of the batch's `wanted` before a request to process it: a greater one means that the request was made,
    /// even if its sender died before it could record the outcome. `None` for uploads.
    pub wanted_before: Option<i64>,
    /// The time at which the request began.
    pub opened_at: Instant,
}

/// The outcome of a request, where the state of its batch does not determine it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdempotencyOutcome {
    /// The uploaded file is a duplicate of the batch of the entry.
    Duplicate,
    /// The request to process the batch is recorded in the ledger.
    Requested,
}

impl IdempotencyOutcome {
    /// Every outcome.
    pub const ALL: [Self; 2] = [Self::Duplicate, Self::Requested];

    /// Returns the stored name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Requested => "asked",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_other_callers_or_routes_have_other_digests() {
        let all = [
            IdempotencyKey::new(b"a", "POST /uploads", "k"),
            IdempotencyKey::new(b"ab", "POST /uploads", "k"),
            IdempotencyKey::new(b"a", "POST /upload", "sk"),
            IdempotencyKey::new(b"a", "POST /uploads", "kk"),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn debug_output_does_not_contain_the_key() {
        let shown = format!("{:?}", IdempotencyKey::new(b"a", "r", "secret"));
        assert!(!shown.contains("secret") && shown.len() < 24, "{shown}");
    }

    #[test]
    fn process_requests_differ_by_batch_and_force() {
        let (a, b) = (BatchId::from_bytes([1; 16]), BatchId::from_bytes([2; 16]));
        assert_ne!(
            process_request_digest(a, false),
            process_request_digest(a, true)
        );
        assert_ne!(
            process_request_digest(a, false),
            process_request_digest(b, false)
        );
    }
}
