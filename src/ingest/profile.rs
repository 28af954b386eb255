//! Options of an upload with those of a profile as defaults.

use std::collections::BTreeMap;

use super::{Ingest, IngestError, OptionFault, UploadOptions};
use crate::{
    model::{Profile, ProfileName},
    store::Result,
};

/// The option that names a profile.
const PROFILE: &str = "profile";
/// Options of one file, which no profile has.
const OF_ONE_FILE: [&str; 2] = ["name", PROFILE];
/// Profiles named to a sender whose own is not there.
const NAMED: usize = 10;

impl Ingest {
    /// Reads options in any order; those that the request does not state are those of its `profile`, if it names one.
    ///
    /// # Errors
    /// [`OptionFault`] names the option and what it takes; or the store is away.
    pub async fn options(
        &self,
        mut pairs: Vec<(String, String)>,
    ) -> std::result::Result<UploadOptions, IngestError> {
        let Some(at) = pairs.iter().position(|(name, _)| name == PROFILE) else {
            return Ok(UploadOptions::from_pairs(pairs)?);
        };
        let (_, name) = pairs.remove(at);
        if pairs.iter().any(|(name, _)| name == PROFILE) {
            return Err(OptionFault::Twice(PROFILE).into());
        }
        let known = match name.parse::<ProfileName>() {
            Ok(name) => self.store.profile(&name).await?,
            Err(_) => None,
        };
        let Some(Profile { name, options, .. }) = known else {
            let there = self.some_profiles().await?;
            let name = name.chars().take(80).collect();
            return Err(OptionFault::NoProfile { name, there }.into());
        };
        let stated = |name: &str| pairs.iter().any(|(stated, _)| stated == name);
        let defaults: Vec<_> = options
            .into_iter()
            .filter(|(name, _)| !stated(name))
            .collect();
        pairs.extend(defaults);
        Ok(UploadOptions {
            profile: Some(name),
            ..UploadOptions::from_pairs(pairs)?
        })
    }

    async fn some_profiles(&self) -> Result<Vec<String>> {
        let some = self.store.profiles(None, NAMED).await?;
        Ok(some.into_iter().map(|p| p.name.to_string()).collect())
    }
}

/// Whether options may be those of a profile: each is one of an upload, and makes sense for more than one file.
///
/// # Errors
/// [`OptionFault`] names the option that does not.
pub fn check_profile(options: &BTreeMap<String, String>) -> std::result::Result<(), OptionFault> {
    for name in options.keys() {
        if let Some(name) = OF_ONE_FILE.into_iter().find(|of_one| of_one == name) {
            return Err(OptionFault::OfOneFile(name));
        }
    }
    UploadOptions::from_pairs(options).map(drop)
}
