//! The cells that are stored with a rejected row, bounded in number and in bytes.

use crate::model::rejection::Rejection;

/// Cells stored beyond the number of columns.
const SURPLUS_CELLS: usize = 64;

/// Returns the cells to store for a row of a file with `columns` columns, and whether anything had to be cut off.
pub(crate) fn clip_cells<'a>(
    cells: impl Iterator<Item = &'a [u8]>,
    columns: usize,
) -> (Vec<String>, bool) {
    let mut stored = Vec::new();
    let mut budget = Rejection::CELLS_BYTES;
    for cell in cells {
        if stored.len() == columns + SURPLUS_CELLS {
            return (stored, true);
        }
        // An invalid byte becomes a replacement character of three bytes, so the budget applies before and after.
        let text = String::from_utf8_lossy(&cell[..cell.len().min(budget)]);
        let end = text.floor_char_boundary(budget);
        let complete = cell.len() <= budget && end == text.len();
        budget -= end;
        stored.push(text[..end].to_owned());
        if !complete {
            return (stored, true);
        }
    }
    (stored, false)
}
