//! What several subjects use.

pub(crate) mod app;
pub(crate) mod browser;
pub(crate) mod process;
pub(crate) mod staged;
