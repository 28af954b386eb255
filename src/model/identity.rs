//! What makes two events the same, and what an event says. Both are kept as hashes, so both forms are fixed for ever.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::{
    ColumnRole, Columns, EventBlock,
    event::{null_is_empty, trim},
};

/// The 128-bit name of what makes two events the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey(pub [u8; 16]);

/// What an event says, without its attributes: equal content is a duplicate, other content a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content(pub u64);

/// By what the events of a batch are told apart, within their source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityBy {
    /// By ids of their own.
    #[default]
    EventId,
    /// By their cells in these columns, which are named by their labels in the file.
    Key(Vec<String>),
    /// By all their cells.
    Row,
}

impl IdentityBy {
    /// The kind's name, which users see and every identity holds.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::Key(_) => "key",
            Self::Row => "row",
        }
    }
}

/// Version of the identity and content forms.
const VERSION: u8 = 1;

/// A cell of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell {
    EventId,
    UserId,
    EventType,
    Timestamp,
    Attribute(usize),
}

/// What is hashed after the head.
#[derive(Debug, Clone)]
enum Form {
    /// The event's id.
    EventId,
    /// The values of these cells, all of which must have one.
    Key(Vec<Cell>),
    /// Name and value of those cells that have one.
    Row(Vec<(String, Cell)>),
}

/// Hashes identities of one batch: XXH3-128 over (version, kind, source, column names, length-prefixed values).
/// Columns come in the order of their names, so neither their order in the file nor the case of labels matters.
#[derive(Debug, Clone)]
pub struct Identity {
    form: Form,
    /// The fixed head, then room for values.
    scratch: Vec<u8>,
    head: usize,
}

impl Identity {
    /// The identity of events in these columns; none if a key names a column that is not there.
    #[must_use]
    pub fn new(source: &str, by: &IdentityBy, columns: &Columns) -> Option<Self> {
        let mut scratch = vec![VERSION];
        for part in [by.kind(), source] {
            put(&mut scratch, part.as_bytes());
        }
        let form = match by {
            IdentityBy::EventId => {
                put(&mut scratch, b"event_id");
                Form::EventId
            }
            IdentityBy::Key(labels) => {
                let mut cells = cells(columns, |label| labels.iter().any(|key| key == label));
                if cells.len() != labels.len() {
                    return None;
                }
                for (name, _) in &cells {
                    put(&mut scratch, name.as_bytes());
                }
                Form::Key(cells.drain(..).map(|(_, cell)| cell).collect())
            }
            IdentityBy::Row => Form::Row(cells(columns, |_| true)),
        };
        let head = scratch.len();
        Some(Self {
            form,
            scratch,
            head,
        })
    }

    /// Whether it looks at event ids.
    #[must_use]
    pub fn reads_event_id(&self) -> bool {
        self.cells().any(|cell| cell == Cell::EventId)
    }

    /// The attributes that it looks at, by their place among the attributes of the file.
    #[must_use]
    pub fn attributes(&self) -> Vec<usize> {
        self.cells()
            .filter_map(|cell| match cell {
                Cell::Attribute(at) => Some(at),
                Cell::EventId | Cell::UserId | Cell::EventType | Cell::Timestamp => None,
            })
            .collect()
    }

    fn cells(&self) -> Box<dyn Iterator<Item = Cell> + '_> {
        match &self.form {
            Form::EventId => Box::new(std::iter::once(Cell::EventId)),
            Form::Key(cells) => Box::new(cells.iter().copied()),
            Form::Row(cells) => Box::new(cells.iter().map(|(_, cell)| *cell)),
        }
    }

    /// The key of the event at `at`. It has none without an id, or, like NULL in SQL, with an empty cell in its key.
    #[inline]
    #[must_use]
    pub fn key(&mut self, block: &EventBlock, at: usize) -> Option<IdentityKey> {
        self.scratch.truncate(self.head);
        match &self.form {
            Form::EventId => {
                let id = block.event_id.get(at);
                if id.is_empty() {
                    return None;
                }
                put(&mut self.scratch, id);
            }
            Form::Key(cells) => {
                for cell in cells {
                    if !put_cell(&mut self.scratch, *cell, block, at) {
                        return None;
                    }
                }
            }
            Form::Row(cells) => {
                for (name, cell) in cells {
                    let before = self.scratch.len();
                    put(&mut self.scratch, name.as_bytes());
                    // With or without a column that is empty it is the same row.
                    if !put_cell(&mut self.scratch, *cell, block, at) {
                        self.scratch.truncate(before);
                    }
                }
            }
        }
        Some(IdentityKey(xxh3_128(&self.scratch).to_be_bytes()))
    }

    /// Whether any event of the block has an identity.
    #[must_use]
    pub fn any(&mut self, block: &EventBlock) -> bool {
        match self.form {
            Form::EventId => !block.event_id.bytes.is_empty(),
            Form::Key(_) | Form::Row(_) => (0..block.len()).any(|at| self.key(block, at).is_some()),
        }
    }
}

/// The chosen columns by the name that they have in identities, in the order of these names.
fn cells(columns: &Columns, chosen: impl Fn(&str) -> bool) -> Vec<(String, Cell)> {
    let mut attributes = 0..;
    let mut cells = Vec::new();
    for (label, role) in columns.labels.iter().zip(&columns.roles) {
        let cell = match role {
            ColumnRole::EventId => Some(Cell::EventId),
            ColumnRole::UserId => Some(Cell::UserId),
            ColumnRole::EventType => Some(Cell::EventType),
            ColumnRole::Timestamp => Some(Cell::Timestamp),
            ColumnRole::Attribute => attributes.next().map(Cell::Attribute),
            ColumnRole::Ignored => None,
        };
        if let Some(cell) = cell.filter(|_| chosen(label)) {
            cells.push((name(label, *role), cell));
        }
    }
    cells.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    cells
}

/// A column's name in identities: the canonical one, else the label as labels are compared.
fn name(label: &str, role: ColumnRole) -> String {
    let own = label.to_lowercase();
    match role.canonical() {
        Some(canonical) => canonical.into(),
        // Labels are trimmed, so no other one begins with a space.
        None if ColumnRole::ALL.iter().any(|r| r.canonical() == Some(&own)) => format!(" {own}"),
        None => own,
    }
}

fn put(into: &mut Vec<u8>, value: &[u8]) {
    into.extend_from_slice(&(value.len() as u64).to_le_bytes());
    into.extend_from_slice(value);
}

/// Appends a cell's value; false, and nothing is appended, if it has none.
fn put_cell(into: &mut Vec<u8>, cell: Cell, block: &EventBlock, at: usize) -> bool {
    let instant;
    let value = match cell {
        Cell::EventId => block.event_id.get(at),
        Cell::UserId => block.user_id.get(at),
        Cell::EventType => block.event_type.get(at),
        Cell::Timestamp => {
            instant = block.timestamp[at].to_le_bytes();
            &instant[..]
        }
        Cell::Attribute(column) => null_is_empty(trim(block.attributes[column].get(at))),
    };
    if value.is_empty() {
        return false;
    }
    put(into, value);
    true
}

impl Content {
    /// The content of an event: XXH3-64 of its type, instant and user.
    #[inline]
    #[must_use]
    pub fn of(event_type: &[u8], timestamp: i64, user_id: &[u8]) -> Self {
        let seed = xxh3_64_with_seed(event_type, u64::from(VERSION));
        Self(xxh3_64_with_seed(
            user_id,
            seed ^ timestamp.cast_unsigned().rotate_left(17),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [&str; 6] = ["event_id", "Who", "type", "ts", "City", "note"];
    const ROLES: [ColumnRole; 6] = [
        ColumnRole::EventId,
        ColumnRole::UserId,
        ColumnRole::EventType,
        ColumnRole::Timestamp,
        ColumnRole::Attribute,
        ColumnRole::Attribute,
    ];

    fn columns(order: &[usize]) -> Columns {
        Columns {
            labels: order.iter().map(|at| LABELS[*at].to_owned()).collect(),
            roles: order.iter().map(|at| ROLES[*at]).collect(),
            hint: None,
        }
    }

    /// One event: `e-1`, `u1`, `login`, at 1,762,732,800 s, and these attributes.
    fn event(attributes: &[&str]) -> EventBlock {
        let mut block = EventBlock::new(attributes.len());
        block.rows.push(1);
        block.lines.push(2);
        block.event_id.push(b"e-1");
        block.user_id.push(b"u1");
        block.event_type.push(b"login");
        block.timestamp.push(1_762_732_800_000_000);
        for (column, value) in block.attributes.iter_mut().zip(attributes) {
            column.push(value.as_bytes());
        }
        block
    }

    fn key_of(by: &IdentityBy, order: &[usize], attributes: &[&str]) -> Option<u128> {
        let identity = Identity::new("crm", by, &columns(order));
        let key = identity
            .expect("its columns are there")
            .key(&event(attributes), 0);
        key.map(|key| u128::from_be_bytes(key.0))
    }

    fn by_key(labels: &[&str]) -> IdentityBy {
        IdentityBy::Key(labels.iter().map(|label| (*label).to_owned()).collect())
    }

    #[test]
    fn identity_and_content_never_change() {
        let all = [0, 1, 2, 3, 4, 5];
        let cells = ["Oslo", "x"];
        assert_eq!(
            key_of(&IdentityBy::EventId, &all, &cells),
            Some(BY_EVENT_ID)
        );
        let key = by_key(&["City", "Who", "ts"]);
        assert_eq!(key_of(&key, &all, &cells), Some(BY_KEY));
        assert_eq!(key_of(&IdentityBy::Row, &all, &cells), Some(BY_ROW));
        assert_eq!(
            Content::of(b"login", 1_762_732_800_000_000, b"u1").0,
            CONTENT_OF_LOGIN
        );
    }

    #[test]
    fn neither_the_order_of_columns_nor_of_the_key_matters() {
        let other = [5, 3, 4, 2, 0, 1];
        let key = by_key(&["ts", "City", "Who"]);
        assert_eq!(key_of(&key, &other, &["x", "Oslo"]), Some(BY_KEY));
        assert_eq!(
            key_of(&IdentityBy::Row, &other, &["x", "Oslo"]),
            Some(BY_ROW)
        );
    }

    #[test]
    fn an_empty_cell_leaves_a_key_without_identity_and_a_row_as_it_is() {
        let all = [0, 1, 2, 3, 4, 5];
        let key = by_key(&["City", "note"]);
        for empty in ["", " \u{a0}", "NULL", "\\N "] {
            assert_eq!(key_of(&key, &all, &["Oslo", empty]), None);
        }
        let without = [0, 1, 2, 3, 4];
        let row = key_of(&IdentityBy::Row, &without, &["Oslo"]);
        assert_eq!(key_of(&IdentityBy::Row, &all, &["Oslo", ""]), row);
        assert_eq!(key_of(&IdentityBy::Row, &all, &[" Oslo", " "]), row);
        assert_ne!(key_of(&IdentityBy::Row, &all, &["", "Oslo"]), row);
    }

    #[test]
    fn sources_values_and_lengths_keep_identities_apart() {
        let key = |source: &str, id: &str| {
            let mut block = EventBlock::default();
            block.event_id.push(id.as_bytes());
            let identity = Identity::new(source, &IdentityBy::EventId, &columns(&[0]));
            identity.expect("an id needs no column").key(&block, 0)
        };
        assert_ne!(key("a", "1"), key("b", "1"));
        assert_ne!(key("a", "b1"), key("ab", "1"));
        assert_eq!(key("", ""), None);
        let by = by_key(&["City", "note"]);
        let all = [0, 1, 2, 3, 4, 5];
        assert_ne!(
            key_of(&by, &all, &["ab", "c"]),
            key_of(&by, &all, &["a", "bc"])
        );
    }

    #[test]
    fn an_attribute_that_is_called_like_a_column_with_a_meaning_is_another_column() {
        let mut columns = columns(&[1, 2, 3, 4]);
        columns.labels[3] = "USER_ID".into();
        let key = |label: &str| {
            let identity = Identity::new("crm", &by_key(&[label]), &columns);
            identity.expect("is there").key(&event(&["u1"]), 0)
        };
        assert_ne!(key("USER_ID"), key("Who"), "the same value in both");
        assert!(Identity::new("", &by_key(&["who"]), &columns).is_none());
    }

    #[test]
    fn only_what_is_looked_at_is_read() {
        let identity = |by: &IdentityBy| Identity::new("", by, &columns(&[5, 1, 2, 3, 4]));
        let by = by_key(&["City", "Who"]);
        let key = identity(&by).expect("is there");
        assert_eq!((key.reads_event_id(), key.attributes()), (false, vec![1]));
        let id = identity(&IdentityBy::EventId).expect("needs no column");
        assert_eq!((id.reads_event_id(), id.attributes()), (true, vec![]));
        let mut row = identity(&IdentityBy::Row)
            .expect("needs no column")
            .attributes();
        row.sort_unstable();
        assert_eq!(row, [0, 1]);
    }

    const BY_EVENT_ID: u128 = 0x71a7_2906_faa0_2e6d_d82c_8d6c_821f_dedd;
    const BY_KEY: u128 = 0x66ca_c204_be78_b6fa_b263_24b8_e89e_56e4;
    const BY_ROW: u128 = 0x8dd7_8b1f_30a1_851e_8bda_2cb4_57a0_29d1;
    const CONTENT_OF_LOGIN: u64 = 12_604_056_688_287_898_249;
}
