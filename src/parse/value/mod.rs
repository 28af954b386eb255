//! Reads the values of single cells: event fields, and timestamps with their formats and time zones.

pub(crate) mod field;
pub(crate) mod format;
pub(crate) mod format_proposal;
pub(crate) mod numeric_date;
pub(crate) mod timestamp;
mod zone;
