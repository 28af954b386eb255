//! Reads the values of single cells: event fields, and timestamps with their formats and time zones.

mod civil;
pub(crate) mod field;
pub(crate) mod format;
pub(crate) mod format_proposal;
mod moment;
mod native;
mod numeric_date;
mod pattern;
pub(crate) mod timestamp;
mod vendor_forms;
mod words;
mod zone;

pub(crate) use moment::{Basis, Reading};
