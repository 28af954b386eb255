//! Events in columns, and what makes two of them the same.
//! A block is what travels between the stages: a few thousand rows, column by column, nothing per row.

use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// Texts end to end in one buffer; text `i` lies between offsets `i` and `i + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextColumn {
    /// Where each text starts; one more entry than there are texts, the first is 0.
    pub offsets: Vec<i32>,
    /// All texts, UTF-8.
    pub bytes: Vec<u8>,
}

impl Default for TextColumn {
    fn default() -> Self {
        Self {
            offsets: vec![0],
            bytes: Vec::new(),
        }
    }
}

impl TextColumn {
    /// Appends one text; a block stays far below 2 GiB, so offsets fit.
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets
            .push(i32::try_from(self.bytes.len()).expect("a block is cut long before 2 GiB"));
    }

    /// The text of row `at`.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> &[u8] {
        let start = usize::try_from(self.offsets[at]).unwrap_or(0);
        let end = usize::try_from(self.offsets[at + 1]).unwrap_or(0);
        &self.bytes[start..end]
    }

    /// How many texts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Consecutive events of one batch, in row order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventBlock {
    /// Row number in the file, from 1, header excluded.
    pub rows: Vec<u32>,
    /// Physical line the row starts on, from 1, blanks included.
    pub lines: Vec<u32>,
    /// Event id; empty where the event has none.
    pub event_id: TextColumn,
    /// User id.
    pub user_id: TextColumn,
    /// Event type.
    pub event_type: TextColumn,
    /// Instant, microseconds since 1970-01-01T00:00:00Z.
    pub timestamp: Vec<i64>,
    /// The other columns, in header order.
    pub attributes: Vec<TextColumn>,
}

impl EventBlock {
    /// An empty block with room for `attributes` further columns.
    #[must_use]
    pub fn new(attributes: usize) -> Self {
        Self {
            attributes: vec![TextColumn::default(); attributes],
            ..Self::default()
        }
    }

    /// Number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of text held, which is what bounds a block of wide rows.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let fixed =
            self.event_id.bytes.len() + self.user_id.bytes.len() + self.event_type.bytes.len();
        fixed + self.attributes.iter().map(|c| c.bytes.len()).sum::<usize>()
    }
}

/// The 128-bit name of what makes two events the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey(pub [u8; 16]);

/// What an event says, without its attributes: equal content is a duplicate, other content a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content(pub u64);

/// Version of the identity and content forms; they are stored, so they are fixed for ever.
const IDENTITY_VERSION: u8 = 1;

/// Hashes identities of one source: XXH3-128 over (version, kind, source, column names, length-prefixed values).
#[derive(Debug, Clone)]
pub struct Identity {
    /// The fixed head, then room for one value.
    scratch: Vec<u8>,
    head: usize,
}

impl Identity {
    /// Identity by (`source`, `event_id`).
    #[must_use]
    pub fn by_event_id(source: &str) -> Self {
        let mut scratch = vec![IDENTITY_VERSION];
        for part in ["event_id", source, "event_id"] {
            scratch.extend_from_slice(&(part.len() as u64).to_le_bytes());
            scratch.extend_from_slice(part.as_bytes());
        }
        let head = scratch.len();
        Self { scratch, head }
    }

    /// The key of the event that has this id; an empty id has none.
    #[inline]
    #[must_use]
    pub fn key(&mut self, event_id: &[u8]) -> Option<IdentityKey> {
        if event_id.is_empty() {
            return None;
        }
        self.scratch.truncate(self.head);
        self.scratch
            .extend_from_slice(&(event_id.len() as u64).to_le_bytes());
        self.scratch.extend_from_slice(event_id);
        Some(IdentityKey(xxh3_128(&self.scratch).to_be_bytes()))
    }
}

impl Content {
    /// The content of an event: XXH3-64 of its type, instant and user.
    #[inline]
    #[must_use]
    pub fn of(event_type: &[u8], timestamp: i64, user_id: &[u8]) -> Self {
        let seed = xxh3_64_with_seed(event_type, u64::from(IDENTITY_VERSION));
        Self(xxh3_64_with_seed(
            user_id,
            seed ^ timestamp.cast_unsigned().rotate_left(17),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_and_content_never_change() {
        let key = Identity::by_event_id("crm").key(b"e-1").expect("has an id");
        assert_eq!(
            u128::from_be_bytes(key.0),
            IDENTITY_OF_E1,
            "{:#x}",
            u128::from_be_bytes(key.0)
        );
        assert_eq!(
            Content::of(b"login", 1_762_732_800_000_000, b"u1").0,
            CONTENT_OF_LOGIN
        );
    }

    #[test]
    fn sources_and_lengths_keep_identities_apart() {
        let key = |source: &str, id: &[u8]| Identity::by_event_id(source).key(id);
        assert_ne!(key("a", b"1"), key("b", b"1"));
        assert_ne!(key("a", b"b1"), key("ab", b"1"));
        assert_eq!(key("", b""), None);
    }

    const IDENTITY_OF_E1: u128 = 0x71a7_2906_faa0_2e6d_d82c_8d6c_821f_dedd;
    const CONTENT_OF_LOGIN: u64 = 12_604_056_688_287_898_249;
}
