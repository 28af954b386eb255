//! Completes the options of a request with those of its profile and of its parent, and checks the options of profiles.

use std::collections::BTreeMap;

use super::{
    Ingest, IngestError, OptionFault, OptionName, OptionScope, UploadOptions, options::clip,
};
use crate::{
    model::{BatchId, Profile, ProfileName},
    store::StoreError,
};

/// Profiles listed in the error about an unknown one.
const LISTED_PROFILES: usize = 10;

type Pairs = Vec<(String, String)>;

/// Names and values that are complete without a profile or a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedOptions {
    /// The profile that supplied options, if any.
    pub profile: Option<ProfileName>,
    /// The names and values.
    pub pairs: Pairs,
}

impl UploadOptions {
    /// Parses options that were resolved before.
    ///
    /// # Errors
    /// [`OptionFault`] names the option and its valid values.
    pub fn from_resolved<N: AsRef<str>, V: AsRef<str>>(
        profile: Option<ProfileName>,
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, OptionFault> {
        Ok(Self {
            profile,
            ..Self::from_pairs(pairs)?
        })
    }
}

impl Ingest {
    /// Resolves and parses the options of a request.
    ///
    /// # Errors
    /// [`OptionFault`] names the option and its valid values; or the store failed.
    pub async fn options(&self, pairs: Pairs) -> Result<UploadOptions, IngestError> {
        let ResolvedOptions { profile, pairs } = self.resolve_options(pairs).await?;
        Ok(UploadOptions::from_resolved(profile, pairs)?)
    }

    /// Replaces `profile` by its options, as far as the request does not state them. Adds the options of
    /// [`OptionScope::Meaning`] of the parent that neither states.
    ///
    /// # Errors
    /// [`OptionFault`] if the profile or the parent does not exist or is stated twice; or the store failed.
    pub async fn resolve_options(&self, mut pairs: Pairs) -> Result<ResolvedOptions, IngestError> {
        let profile = match stated_once(&pairs, OptionName::Profile)? {
            Some(name) => Some(self.profile(&name).await?),
            None => None,
        };
        pairs.retain(|(name, _)| name != OptionName::Profile.as_str());
        let profile = profile.map(|Profile { name, options, .. }| {
            add_defaults(&mut pairs, options);
            name
        });
        if let Some(parent) = stated_once(&pairs, OptionName::Parent)? {
            add_defaults(&mut pairs, self.options_of_parent(&parent).await?);
        }
        Ok(ResolvedOptions { profile, pairs })
    }

    async fn profile(&self, name: &str) -> Result<Profile, IngestError> {
        let profile = match name.parse::<ProfileName>() {
            Ok(name) => self.store.profile(&name).await?,
            Err(_) => None,
        };
        match profile {
            Some(profile) => Ok(profile),
            None => {
                let there = self.some_profile_names().await?;
                let name = clip(name);
                Err(OptionFault::NoProfile { name, there }.into())
            }
        }
    }

    async fn options_of_parent(
        &self,
        parent: &str,
    ) -> Result<BTreeMap<String, String>, IngestError> {
        let batch = match parent.trim().parse::<BatchId>() {
            Ok(id) => self.store.batch(id).await?,
            Err(_) => None,
        };
        let receipt = batch
            .filter(|batch| !batch.status.is_void())
            .and_then(|batch| batch.receipt);
        match receipt {
            Some(receipt) => Ok(receipt.options),
            None => Err(OptionFault::NoParent(clip(parent)).into()),
        }
    }

    async fn some_profile_names(&self) -> Result<Vec<String>, StoreError> {
        let profiles = self.store.profiles(None, LISTED_PROFILES).await?;
        let names = profiles.into_iter().map(|p| p.name.to_string());
        Ok(names.collect())
    }
}

/// Returns the value of an option; `None` if it is not stated.
fn stated_once(
    pairs: &[(String, String)],
    option: OptionName,
) -> Result<Option<String>, OptionFault> {
    let mut stated = pairs.iter().filter(|(name, _)| name == option.as_str());
    let first = stated.next().map(|(_, value)| value.clone());
    match stated.next() {
        Some(_) => Err(OptionFault::Twice(option)),
        None => Ok(first),
    }
}

/// Adds the options that are not stated.
fn add_defaults(pairs: &mut Pairs, defaults: BTreeMap<String, String>) {
    for (name, value) in defaults {
        if !pairs.iter().any(|(stated, _)| *stated == name) {
            pairs.push((name, value));
        }
    }
}

/// Checks the options of a profile.
///
/// # Errors
/// [`OptionFault`] names an option that is invalid, or cannot be in a profile.
pub fn check_profile(options: &BTreeMap<String, String>) -> Result<(), OptionFault> {
    for name in options.keys() {
        if let Some(option) = OptionName::of(name)
            && option.scope() == OptionScope::Upload
        {
            return Err(OptionFault::OfOneFile(option));
        }
    }
    UploadOptions::from_pairs(options).map(drop)
}
