//! The limits of a file, which the configuration sets.

/// The limits that a file must respect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum bytes of a record, without its line end.
    pub record_bytes: usize,
    /// Maximum bytes of a cell.
    pub cell_bytes: usize,
    /// Maximum number of columns.
    pub columns: usize,
    /// Maximum bytes of an event type.
    pub event_type_bytes: usize,
    /// Maximum bytes of a user id.
    pub user_id_bytes: usize,
    /// Maximum bytes of an event id.
    pub event_id_bytes: usize,
    /// Maximum physical lines of a record.
    pub record_lines: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes: 1024 * 1024,
            cell_bytes: 256 * 1024,
            columns: 512,
            event_type_bytes: 128,
            user_id_bytes: 256,
            event_id_bytes: 256,
            record_lines: 10_000,
        }
    }
}
