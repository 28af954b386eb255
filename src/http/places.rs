//! The places for requests that take memory, threads or time, and the problems of those that get none.

use std::time::Duration;

use super::{
    Context,
    auth::Caller,
    problem::{Code, Problem},
};
use crate::limit::{NoPlace, Place, Places};

/// Queries of events or figures at once. Each may take tens of megabytes.
const QUERIES: usize = 4;
/// Those of one client.
const QUERIES_PER_CLIENT: usize = 2;
/// Lists at once. Each may take some megabytes.
const LISTS: usize = 32;
/// Those of one client.
const LISTS_PER_CLIENT: usize = 8;
/// Files sent at once.
const DOWNLOADS: usize = 16;
/// Those of one client.
const DOWNLOADS_PER_CLIENT: usize = 4;
/// Longest wait of a query or a list for its place.
const WAIT: Duration = Duration::from_secs(10);
/// Seconds after which a client may try again.
const RETRY_AFTER: u64 = 5;

/// The places of all requests.
pub struct RequestPlaces {
    uploads: Places,
    downloads: Places,
    queries: Places,
    lists: Places,
}

impl RequestPlaces {
    /// Returns places for `uploads` at once, of which one client may have `uploads_per_client`.
    #[must_use]
    pub fn new(uploads: usize, uploads_per_client: usize) -> Self {
        Self {
            uploads: Places::new(uploads, uploads_per_client),
            downloads: Places::new(DOWNLOADS, DOWNLOADS_PER_CLIENT),
            queries: Places::new(QUERIES, QUERIES_PER_CLIENT),
            lists: Places::new(LISTS, LISTS_PER_CLIENT),
        }
    }
}

/// Takes the place of an upload, if there is one now.
pub(super) fn upload(context: &Context, caller: &Caller) -> Result<Place, Problem> {
    let place = context.places.uploads.try_take(caller.address);
    place.map_err(|why| match why {
        NoPlace::Taken(limit) => {
            let why = format!(
                "{limit} uploads are being received at the moment: try again in a few seconds (setting UPLOADS_AT_ONCE)"
            );
            Problem::new(Code::Unavailable, why).limit(limit, "UPLOADS_AT_ONCE")
        }
        NoPlace::ShareTaken(limit) => {
            let why = format!(
                "{limit} uploads of this address are being received at the moment: wait for one to end (setting UPLOADS_AT_ONCE_PER_CLIENT)"
            );
            let problem = Problem::new(Code::RateLimited, why).after(RETRY_AFTER);
            problem.limit(limit, "UPLOADS_AT_ONCE_PER_CLIENT")
        }
    })
}

/// Takes the place of a download, if there is one now.
pub(super) fn download(context: &Context, caller: &Caller) -> Result<Place, Problem> {
    let place = context.places.downloads.try_take(caller.address);
    place.map_err(|why| refused("downloads", why))
}

/// Takes the place of a query of events or figures.
pub(super) async fn query(context: &Context, caller: &Caller) -> Result<Place, Problem> {
    let place = context.places.queries.take(caller.address, WAIT).await;
    place.map_err(|why| refused("queries of events and figures", why))
}

/// Takes the place of a list.
pub(super) async fn list(context: &Context, caller: &Caller) -> Result<Place, Problem> {
    let place = context.places.lists.take(caller.address, WAIT).await;
    place.map_err(|why| refused("lists", why))
}

fn refused(what: &str, why: NoPlace) -> Problem {
    match why {
        NoPlace::Taken(limit) => {
            let why = format!(
                "{limit} {what} are being answered at the moment: try again in a few seconds"
            );
            Problem::new(Code::Unavailable, why).with("limit", limit)
        }
        NoPlace::ShareTaken(limit) => {
            let why = format!(
                "{limit} {what} of this address are being answered at the moment: wait for one to end, and read replies to their end"
            );
            let problem = Problem::new(Code::RateLimited, why).after(RETRY_AFTER);
            problem.with("limit", limit)
        }
    }
}
