//! Reads the text of a CSV file: detects the header and the dialect, divides the text into records, splits them into
//! cells, and passes them to row validation.

mod cells;
mod damaged;
mod detect;
mod dialect;
mod fault;
mod frame;
mod head;
mod reader;
mod record;
mod refine;
mod scan;
mod stage;

pub use dialect::{Dialect, DialectOptions, Escape};

pub(super) use detect::HEAD_BYTES;
pub(super) use reader::{CsvReader, CsvReaderOptions};
