//! Documents in lists that can't be decoded: damaged ones, and those of a newer version during a rolling upgrade.
//! A list leaves them out, since one of them must not hide the others.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::{Result, StoreError};

/// Documents remembered as reported.
const REPORTED: usize = 1_000;

/// Reports each such document once per process.
#[derive(Clone, Default)]
pub(super) struct Undecodable(Arc<Mutex<HashSet<String>>>);

impl Undecodable {
    /// Returns a decoded document, or none, with an error in the log, if it can't be decoded.
    pub(super) fn skip<T>(&self, collection: &str, id: &str, decoded: Result<T>) -> Option<T> {
        match decoded {
            Ok(document) => Some(document),
            Err(error) => {
                self.report(collection, id, &error);
                None
            }
        }
    }

    fn report(&self, collection: &str, id: &str, error: &StoreError) {
        let mut reported = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.len() < REPORTED && reported.insert(format!("{collection}/{id}")) {
            tracing::error!(
                collection,
                id,
                %error,
                "{id} of `{collection}` can't be decoded and is left out: a newer version wrote it, or it is damaged and must be restored from a backup"
            );
        }
    }
}
