//! Events in columns.
//! A block is what travels between the stages: a few thousand rows, column by column, nothing per row.

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

    /// Appends the event at `at` of a block with the same columns, all of which it has.
    pub fn push_from(&mut self, other: &Self, at: usize) {
        self.rows.push(other.rows[at]);
        self.lines.push(other.lines[at]);
        self.event_id.push(other.event_id.get(at));
        self.user_id.push(other.user_id.get(at));
        self.event_type.push(other.event_type.get(at));
        self.timestamp.push(other.timestamp[at]);
        let columns = other.attributes.len();
        self.attributes.resize_with(columns, TextColumn::default);
        for (into, from) in self.attributes.iter_mut().zip(&other.attributes) {
            into.push(from.get(at));
        }
    }

    /// Bytes of text held, which is what bounds a block of wide rows.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let fixed =
            self.event_id.bytes.len() + self.user_id.bytes.len() + self.event_type.bytes.len();
        fixed + self.attributes.iter().map(|c| c.bytes.len()).sum::<usize>()
    }
}

/// A cell without white space around it; bytes that are not UTF-8 only lose that of ASCII.
#[inline]
#[must_use]
pub fn trim(cell: &[u8]) -> &[u8] {
    let visible = |byte: &u8| (0x21..0x7f).contains(byte);
    match (cell.first(), cell.last()) {
        (Some(first), Some(last)) if visible(first) && visible(last) => cell,
        _ => trim_slow(cell),
    }
}

#[cold]
fn trim_slow(cell: &[u8]) -> &[u8] {
    match std::str::from_utf8(cell) {
        Ok(text) => text.trim().as_bytes(),
        Err(_) => cell.trim_ascii(),
    }
}

/// What databases write for no value, `\N` or `NULL`. Taken for an id, all such rows would be one.
#[inline]
#[must_use]
pub fn null_is_empty(value: &[u8]) -> &[u8] {
    match value {
        b"\\N" | b"NULL" => b"",
        value => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_a_value_is_no_part_of_it() {
        for (cell, trimmed) in [
            ("a b", "a b"),
            (" a", "a"),
            ("a\t", "a"),
            ("\u{a0}é\u{2003}", "é"),
            ("é", "é"),
            (" \n", ""),
            ("", ""),
            ("NULLs", "NULLs"),
        ] {
            assert_eq!(trim(cell.as_bytes()), trimmed.as_bytes(), "{cell:?}");
        }
    }
}
