//! What several subjects use.

pub(crate) mod staged;
