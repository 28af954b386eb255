//! Reads the text of a CSV file into records: finds the header and the dialect, frames records, splits them into cells.

pub(crate) mod cells;
pub(crate) mod detect;
pub(crate) mod dialect;
pub(crate) mod frame;
pub(crate) mod reader;
pub(crate) mod scan;
