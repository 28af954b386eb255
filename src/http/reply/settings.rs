//! Settings that clients have to know.

use std::collections::BTreeMap;

use serde::Serialize;

/// The settings of the service.
#[derive(Debug, Serialize)]
pub(in crate::http) struct SettingsReply<'a> {
    pub(in crate::http) version: &'static str,
    /// The zone whose midnights separate days.
    pub(in crate::http) time_zone: &'static str,
    pub(in crate::http) store: &'static str,
    pub(in crate::http) queue: &'static str,
    /// Limits by the names of their settings.
    pub(in crate::http) limits: &'a BTreeMap<&'static str, u64>,
}
