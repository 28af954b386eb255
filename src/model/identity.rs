//! The identity of an event, and the digest of its content. Stores contain both as hashes, so their forms never change.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

use super::{
    ColumnRole, Columns, EventBlock,
    event::{null_is_empty, trim},
};

/// The hash of an identity. Events with the same hash are the same event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityKey(pub [u8; 16]);

/// The hash of the content of an event, without its attributes. A repeated identity with the same content is a duplicate;
/// with other content, a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Content(pub u64);

/// The columns that identify an event within its source.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityBy {
    /// The event id.
    #[default]
    EventId,
    /// The columns with these labels.
    Key(Vec<String>),
    /// All columns.
    Row,
}

impl IdentityBy {
    /// Returns the name in replies, which is also part of the hash.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::Key(_) => "key",
            Self::Row => "row",
        }
    }
}

/// The version of the hashed forms.
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

/// The form of the hashed values.
#[derive(Debug, Clone)]
enum Form {
    /// The event id.
    EventId,
    /// The values of these cells, none of which may be empty.
    Key(Vec<Cell>),
    /// The names and the values of the cells that are not empty.
    Row(Vec<(String, Cell)>),
}

/// Hashes the identities of one batch: XXH3-128 of (version, kind, source, column names, length-prefixed values).
/// Columns are hashed in the order of their names, so their order in the file and the case of labels do not matter.
#[derive(Debug, Clone)]
pub struct Identity {
    form: Form,
    /// The hashed bytes: a head that is the same for all events, then the values of one.
    scratch: Vec<u8>,
    head_bytes: usize,
}

impl Identity {
    /// Returns the identity of events with these columns; `None` if a column of the key is missing.
    #[must_use]
    pub fn new(source: &str, by: &IdentityBy, columns: &Columns) -> Option<Self> {
        let mut scratch = vec![VERSION];
        for part in [by.kind(), source] {
            append(&mut scratch, part.as_bytes());
        }
        let form = match by {
            IdentityBy::EventId => {
                append(&mut scratch, b"event_id");
                Form::EventId
            }
            IdentityBy::Key(labels) => {
                let mut cells = cells(columns, |label| labels.iter().any(|key| key == label));
                if cells.len() != labels.len() {
                    return None;
                }
                for (name, _) in &cells {
                    append(&mut scratch, name.as_bytes());
                }
                Form::Key(cells.drain(..).map(|(_, cell)| cell).collect())
            }
            IdentityBy::Row => Form::Row(cells(columns, |_| true)),
        };
        let head_bytes = scratch.len();
        Some(Self {
            form,
            scratch,
            head_bytes,
        })
    }

    /// Returns whether it depends on event ids.
    #[must_use]
    pub fn reads_event_id(&self) -> bool {
        self.cells().any(|cell| cell == Cell::EventId)
    }

    /// Returns the attributes on which it depends, by their index among the attributes of the file.
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

    /// Returns the key of the event at `at`; `None` if its id is empty, or, like NULL in SQL, any cell of its key.
    #[inline]
    #[must_use]
    pub fn key(&mut self, block: &EventBlock, at: usize) -> Option<IdentityKey> {
        self.scratch.truncate(self.head_bytes);
        match &self.form {
            Form::EventId => {
                let id = block.event_id.get(at);
                if id.is_empty() {
                    return None;
                }
                append(&mut self.scratch, id);
            }
            Form::Key(cells) => {
                for cell in cells {
                    if !append_cell(&mut self.scratch, *cell, block, at) {
                        return None;
                    }
                }
            }
            Form::Row(cells) => {
                for (name, cell) in cells {
                    let before = self.scratch.len();
                    append(&mut self.scratch, name.as_bytes());
                    // An empty cell hashes like a missing column.
                    if !append_cell(&mut self.scratch, *cell, block, at) {
                        self.scratch.truncate(before);
                    }
                }
            }
        }
        Some(IdentityKey(xxh3_128(&self.scratch).to_be_bytes()))
    }

    /// Returns whether any event of the block has a key.
    #[must_use]
    pub fn any(&mut self, block: &EventBlock) -> bool {
        match self.form {
            Form::EventId => !block.event_id.bytes.is_empty(),
            Form::Key(_) | Form::Row(_) => (0..block.len()).any(|at| self.key(block, at).is_some()),
        }
    }
}

/// Returns the chosen columns with their names in identities, in the order of the names.
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

/// Returns the name of a column in identities: the canonical one, else the label in lower case.
fn name(label: &str, role: ColumnRole) -> String {
    let own = label.to_lowercase();
    match role.canonical() {
        Some(canonical) => canonical.into(),
        // Distinguishes an attribute with a canonical name. Labels are trimmed, so no other name starts with a space.
        None if ColumnRole::ALL.iter().any(|r| r.canonical() == Some(&own)) => format!(" {own}"),
        None => own,
    }
}

fn append(into: &mut Vec<u8>, value: &[u8]) {
    into.extend_from_slice(&(value.len() as u64).to_le_bytes());
    into.extend_from_slice(value);
}

/// Appends the value of a cell. Returns false, and appends nothing, if it is empty.
fn append_cell(into: &mut Vec<u8>, cell: Cell, block: &EventBlock, at: usize) -> bool {
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
    append(into, value);
    true
}

impl Content {
    /// Returns the content of an event: XXH3-64 of its type, instant and user.
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
            .expect("the columns exist")
            .key(&event(attributes), 0);
        key.map(|key| u128::from_be_bytes(key.0))
    }

    fn by_key(labels: &[&str]) -> IdentityBy {
        IdentityBy::Key(labels.iter().map(|label| (*label).to_owned()).collect())
    }

    #[test]
    fn stored_hashes_never_change() {
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
    fn identities_do_not_depend_on_the_order_of_columns() {
        let other = [5, 3, 4, 2, 0, 1];
        let key = by_key(&["ts", "City", "Who"]);
        assert_eq!(key_of(&key, &other, &["x", "Oslo"]), Some(BY_KEY));
        assert_eq!(
            key_of(&IdentityBy::Row, &other, &["x", "Oslo"]),
            Some(BY_ROW)
        );
    }

    #[test]
    fn empty_cells_void_a_key_and_do_not_change_a_row() {
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
    fn identities_differ_by_source_value_and_length() {
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
    fn attributes_with_a_canonical_name_are_other_columns() {
        let mut columns = columns(&[1, 2, 3, 4]);
        columns.labels[3] = "USER_ID".into();
        let key = |label: &str| {
            let identity = Identity::new("crm", &by_key(&[label]), &columns);
            identity.expect("the column exists").key(&event(&["u1"]), 0)
        };
        assert_ne!(key("USER_ID"), key("Who"), "the same value in both");
        assert!(Identity::new("", &by_key(&["who"]), &columns).is_none());
    }

    #[test]
    fn identities_report_the_columns_they_depend_on() {
        let identity = |by: &IdentityBy| Identity::new("", by, &columns(&[5, 1, 2, 3, 4]));
        let by = by_key(&["City", "Who"]);
        let key = identity(&by).expect("the column exists");
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
