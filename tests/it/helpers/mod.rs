//! What several subjects use.

pub(crate) mod app;
pub(crate) mod process;
pub(crate) mod staged;
