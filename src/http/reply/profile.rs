//! Profiles.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::{Instant, Profile, ProfileName};

/// A named set of upload options.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ProfileReply<'a> {
    name: &'a ProfileName,
    options: &'a BTreeMap<String, String>,
    changed_at: Instant,
}

impl<'a> From<&'a Profile> for ProfileReply<'a> {
    fn from(profile: &'a Profile) -> Self {
        let Profile {
            name,
            options,
            changed_at,
        } = profile;
        Self {
            name,
            options,
            changed_at: *changed_at,
        }
    }
}
