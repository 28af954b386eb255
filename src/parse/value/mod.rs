//! Reads the values of single cells: required texts, and timestamps with their formats and time zones.

pub(crate) mod field;
pub(crate) mod format;
pub(crate) mod format_proposal;
pub(crate) mod timestamp;
pub(crate) mod zone;
