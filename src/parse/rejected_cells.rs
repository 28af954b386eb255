//! What is kept of a row that is rejected: its cells, bounded, also where its quotes are not sound.

use super::csv::dialect::{Dialect, Escape};
use crate::model::rejection::Rejection;

/// Cells kept beyond those of the header.
pub(super) const EXTRA_CELLS: usize = 64;

/// The cells as a rejection keeps them, and whether that is less than all.
pub(super) fn keep<'a>(cells: impl Iterator<Item = &'a [u8]>, most: usize) -> (Vec<String>, bool) {
    let mut kept = Vec::new();
    let mut room = Rejection::CELLS_BYTES;
    for cell in cells {
        if kept.len() == most {
            return (kept, true);
        }
        // A byte that is not text takes three as a replacement character, so the room is measured twice.
        let text = String::from_utf8_lossy(&cell[..cell.len().min(room)]);
        let end = text.floor_char_boundary(room);
        let whole = cell.len() <= room && end == text.len();
        room -= end;
        kept.push(text[..end].to_owned());
        if !whole {
            return (kept, true);
        }
    }
    (kept, false)
}

/// The cells of a line whose last quote may be open: what a person would see in it.
pub(super) fn split(line: &[u8], dialect: Dialect) -> Vec<Vec<u8>> {
    let Dialect {
        delimiter,
        quote,
        escape,
    } = dialect;
    let (mut cells, mut cell) = (Vec::new(), Vec::new());
    let (mut quoted, mut start) = (false, true);
    let mut rest = line.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match byte {
            byte if quoted && byte == quote => {
                quoted = rest.next_if_eq(&quote).is_some();
                cell.extend(quoted.then_some(quote));
            }
            b'\\' if quoted && escape == Escape::Backslash => cell.extend(rest.next()),
            byte if !quoted && start && byte == quote => quoted = true,
            byte if !quoted && byte == delimiter => {
                cells.push(std::mem::take(&mut cell));
                start = true;
                continue;
            }
            byte => cell.push(byte),
        }
        start = false;
    }
    cells.push(cell);
    cells
}
