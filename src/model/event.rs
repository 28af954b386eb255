//! Events in columns. The stages exchange blocks of a few thousand rows, with no allocation per row.

/// A column of texts in one buffer. Text `i` is between the offsets `i` and `i + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextColumn {
    /// The start of each text, and the end of the last. The first offset is 0.
    pub offsets: Vec<i32>,
    /// All texts, in UTF-8.
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
    /// Appends a text.
    #[inline]
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.offsets
            .push(i32::try_from(self.bytes.len()).expect("a block ends long before 2 GiB"));
    }

    /// Returns the text of row `at`.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> &[u8] {
        let start = usize::try_from(self.offsets[at]).unwrap_or(0);
        let end = usize::try_from(self.offsets[at + 1]).unwrap_or(0);
        &self.bytes[start..end]
    }

    /// Returns the number of texts.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Returns whether the column is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Consecutive events of one batch, in the order of their rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventBlock {
    /// The number of each row, from 1, without the header.
    pub rows: Vec<u32>,
    /// The physical line on which each row starts, from 1.
    pub lines: Vec<u32>,
    /// The event ids; empty for an event without one.
    pub event_id: TextColumn,
    /// The user ids.
    pub user_id: TextColumn,
    /// The event types.
    pub event_type: TextColumn,
    /// The instants, in microseconds since 1970 (UTC).
    pub timestamp: Vec<i64>,
    /// The other columns, in the order of the header.
    pub attributes: Vec<TextColumn>,
}

impl EventBlock {
    /// Returns an empty block with this number of attributes.
    #[must_use]
    pub fn new(attributes: usize) -> Self {
        Self {
            attributes: vec![TextColumn::default(); attributes],
            ..Self::default()
        }
    }

    /// Returns the number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Returns whether there is no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Appends the event at `at` of another block, which must have all columns.
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

    /// Returns the bytes of its text. They limit the size of a block of long rows.
    #[must_use]
    pub fn text_bytes(&self) -> usize {
        let fixed =
            self.event_id.bytes.len() + self.user_id.bytes.len() + self.event_type.bytes.len();
        fixed + self.attributes.iter().map(|c| c.bytes.len()).sum::<usize>()
    }
}

/// Returns a cell without white space around it. Of bytes that are not UTF-8, only ASCII white space is removed.
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

/// Returns an empty value for `\N` and `NULL`, which databases export for a missing one. As an id they would make all
/// such rows one event.
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
    fn white_space_around_a_value_is_removed() {
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
