//! Options of an upload, with those of a profile and of a parent as defaults.

use std::collections::BTreeMap;

use super::{Ingest, IngestError, OptionFault, UploadOptions};
use crate::{
    model::{BatchId, Profile, ProfileName},
    store::Result,
};

/// The option that names a profile.
const PROFILE: &str = "profile";
/// The option that names the batch whose rows were mended.
const PARENT: &str = "parent";
/// Options of one file, which no profile has.
const OF_ONE_FILE: [&str; 4] = ["name", "dry_run", PARENT, PROFILE];
/// Profiles named to a sender whose own is not there.
const NAMED: usize = 10;

impl Ingest {
    /// Reads options in any order. Those that the request does not state are those of its `profile`, if it names one,
    /// and what is stated nowhere is as it was for its `parent`, as far as it says what rows mean.
    ///
    /// # Errors
    /// [`OptionFault`] names the option and what it takes; or the store is away.
    pub async fn options(
        &self,
        pairs: Vec<(String, String)>,
    ) -> std::result::Result<UploadOptions, IngestError> {
        let (profile, pairs) = self.stated(pairs).await?;
        Ok(UploadOptions {
            profile,
            ..UploadOptions::from_pairs(pairs)?
        })
    }

    /// The options as if they had all been stated, and the profile that some of them are from.
    ///
    /// # Errors
    /// [`OptionFault`] if there is no such profile or parent, or two are named; or the store is away.
    pub async fn stated(
        &self,
        mut pairs: Vec<(String, String)>,
    ) -> std::result::Result<(Option<ProfileName>, Vec<(String, String)>), IngestError> {
        let profile = match stated_once(&pairs, PROFILE)? {
            Some(name) => Some(self.known_profile(&name).await?),
            None => None,
        };
        pairs.retain(|(name, _)| name != PROFILE);
        let name = profile.map(|Profile { name, options, .. }| {
            fill_in(&mut pairs, options);
            name
        });
        if let Some(parent) = stated_once(&pairs, PARENT)? {
            fill_in(&mut pairs, self.options_of(&parent).await?);
        }
        Ok((name, pairs))
    }

    async fn known_profile(&self, name: &str) -> std::result::Result<Profile, IngestError> {
        let known = match name.parse::<ProfileName>() {
            Ok(name) => self.store.profile(&name).await?,
            Err(_) => None,
        };
        match known {
            Some(profile) => Ok(profile),
            None => {
                let there = self.some_profiles().await?;
                let name = name.chars().take(80).collect();
                Err(OptionFault::NoProfile { name, there }.into())
            }
        }
    }

    /// What the rows of a batch mean.
    async fn options_of(
        &self,
        parent: &str,
    ) -> std::result::Result<BTreeMap<String, String>, IngestError> {
        let batch = match parent.trim().parse::<BatchId>() {
            Ok(id) => self.store.batch(id).await?,
            Err(_) => None,
        };
        let receipt = batch
            .filter(|batch| !batch.status.is_void())
            .and_then(|batch| batch.receipt);
        let shown = || parent.chars().take(80).collect();
        match receipt {
            Some(receipt) => Ok(receipt.options),
            None => Err(OptionFault::NoParent(shown()).into()),
        }
    }

    async fn some_profiles(&self) -> Result<Vec<String>> {
        let some = self.store.profiles(None, NAMED).await?;
        Ok(some.into_iter().map(|p| p.name.to_string()).collect())
    }
}

/// The value of an option; none if it is not stated.
fn stated_once(
    pairs: &[(String, String)],
    option: &'static str,
) -> std::result::Result<Option<String>, OptionFault> {
    let mut stated = pairs.iter().filter(|(name, _)| name == option);
    let first = stated.next().map(|(_, value)| value.clone());
    match stated.next() {
        Some(_) => Err(OptionFault::Twice(option)),
        None => Ok(first),
    }
}

/// Adds those options that are not stated.
fn fill_in(pairs: &mut Vec<(String, String)>, defaults: BTreeMap<String, String>) {
    for (name, value) in defaults {
        if !pairs.iter().any(|(stated, _)| *stated == name) {
            pairs.push((name, value));
        }
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
