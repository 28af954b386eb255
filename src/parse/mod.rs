//! Turns the decoded text of a file into blocks of events and rejections, in file order, with their line numbers.
//! Reads the text once in bounded memory. An invalid row becomes a rejection; only an invalid file is an error.
//! Accounts for every record: received = inserted + failed + blank. Does no IO and reads no clock.

mod csv;
mod error;
mod fault;
mod header;
mod limits;
mod options;
mod output;
mod parser;
mod record;
mod rejected_cells;
mod row;
mod value;

pub use csv::{Dialect, DialectOptions, Escape};
pub use error::{ParseError, ParseOptionError};
pub use header::{
    Header, normalize_label,
    source::{ColumnSource, FieldSource, Mapping, parse_mapping},
};
pub use limits::Limits;
pub use options::{HeaderOption, Options};
pub use output::{LineEnding, ParseSummary, ParsedRows};
pub use parser::Parser;
pub use value::field::EventField;

#[cfg(test)]
mod tests;
