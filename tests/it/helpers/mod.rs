//! What several subjects use.

pub(crate) mod app;
pub(crate) mod staged;
