//! Places: how many things run at once, in all and for each client. A client that holds its share can't keep others out.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::subnet;

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// All places are taken.
    #[error("all {0} places are taken")]
    Taken(usize),
    /// The client has as many as one client may have.
    #[error("one client may have {0} places")]
    ShareTaken(usize),
}

/// Places for one kind of work.
#[derive(Debug, Clone)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    all: Arc<Semaphore>,
    total: usize,
    per_client: usize,
    /// The shares of clients that have a place or wait for one.
    clients: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// One place, held until it is dropped.
#[derive(Debug)]
pub struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_client: Option<OwnedSemaphorePermit>,
    _share: Option<Share>,
}

/// The share of one client. Removes its entry once nobody uses it.
#[derive(Debug)]
struct Share {
    places: Places,
    client: IpAddr,
    /// None only while it is dropped.
    semaphore: Option<Arc<Semaphore>>,
}

impl Places {
    /// Returns `total` places, of which one client may have `per_client`.
    #[must_use]
    pub fn new(total: usize, per_client: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            all: Arc::new(Semaphore::new(total)),
            total,
            per_client: per_client.min(total),
            clients: Mutex::default(),
        }))
    }

    /// Returns a place for a client, if there is one now. A client without an address has no share.
    ///
    /// # Errors
    /// [`NoPlace`] says whose limit is reached.
    pub fn try_take(&self, client: Option<IpAddr>) -> Result<Place, NoPlace> {
        let share = client.map(|client| self.share(client));
        let of_client = share
            .as_ref()
            .map(|share| share.semaphore().try_acquire_owned());
        let of_client = of_client.transpose().map_err(|_| self.share_taken())?;
        let of_all = Arc::clone(&self.0.all).try_acquire_owned();
        Ok(Place {
            _of_all: of_all.map_err(|_| self.taken())?,
            _of_client: of_client,
            _share: share,
        })
    }

    /// Returns a place for a client, in order of arrival.
    ///
    /// # Errors
    /// [`NoPlace`] if there is none within `wait`.
    pub async fn take(&self, client: Option<IpAddr>, wait: Duration) -> Result<Place, NoPlace> {
        let until = Instant::now() + wait;
        let share = client.map(|client| self.share(client));
        let of_client = match &share {
            Some(share) => {
                let permit = timeout_at(until, share.semaphore().acquire_owned()).await;
                let permit = permit.map_err(|_| self.share_taken())?;
                Some(permit.map_err(|_| self.share_taken())?)
            }
            None => None,
        };
        // At most its share of each client waits here, so that nobody waits behind all requests of another.
        let of_all = timeout_at(until, Arc::clone(&self.0.all).acquire_owned()).await;
        let of_all = of_all.map_err(|_| self.taken())?;
        Ok(Place {
            _of_all: of_all.map_err(|_| self.taken())?,
            _of_client: of_client,
            _share: share,
        })
    }

    fn taken(&self) -> NoPlace {
        NoPlace::Taken(self.0.total)
    }

    fn share_taken(&self) -> NoPlace {
        NoPlace::ShareTaken(self.0.per_client)
    }

    fn share(&self, client: IpAddr) -> Share {
        let client = subnet(client);
        let mut clients = self.clients();
        let semaphore = clients
            .entry(client)
            .or_insert_with(|| Arc::new(Semaphore::new(self.0.per_client)));
        Share {
            places: self.clone(),
            client,
            semaphore: Some(Arc::clone(semaphore)),
        }
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
        self.0
            .clients
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn semaphore(&self) -> Arc<Semaphore> {
        let semaphore = self.semaphore.as_ref();
        Arc::clone(semaphore.expect("it is taken out only by drop"))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut clients = self.places.clients();
        self.semaphore = None;
        let is_unused = clients
            .get(&self.client)
            .is_some_and(|semaphore| Arc::strong_count(semaphore) == 1);
        if is_unused {
            clients.remove(&self.client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    #[test]
    fn one_client_has_its_share_and_others_have_the_rest() {
        let places = Places::new(4, 2);
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        let held = [places.try_take(one), places.try_take(one)];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(places.try_take(one).err(), Some(NoPlace::ShareTaken(2)));
        let rest = [places.try_take(other), places.try_take(other)];
        assert!(rest.iter().all(Result::is_ok));
        let third = places.try_take(ip("192.0.2.3"));
        assert_eq!(third.err(), Some(NoPlace::Taken(4)));
        drop(held);
        assert!(places.try_take(one).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let places = Places::new(4, 1);
        let _held = places.try_take(ip("2001:db8:0:7::1")).expect("a place");
        let same = places.try_take(ip("2001:db8:0:7:ffff::9"));
        assert_eq!(same.err(), Some(NoPlace::ShareTaken(1)));
        assert!(places.try_take(ip("2001:db8:0:8::1")).is_ok());
    }

    #[test]
    fn clients_without_a_place_are_forgotten() {
        let places = Places::new(8, 1);
        for n in 0..100 {
            let held = places
                .try_take(ip(&format!("10.0.0.{n}")))
                .expect("a place");
            assert!(places.try_take(ip(&format!("10.0.0.{n}"))).is_err());
            drop(held);
        }
        assert!(places.clients().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_or_with_a_place() {
        let places = Places::new(2, 1);
        let (one, wait) = (ip("192.0.2.1"), Duration::from_secs(5));
        let held = places.take(one, wait).await.expect("a place");
        let refused = places.take(one, wait).await;
        assert_eq!(refused.err(), Some(NoPlace::ShareTaken(1)));
        let waiting = places.take(one, wait);
        let (served, ()) = tokio::join!(waiting, async {
            tokio::task::yield_now().await;
            drop(held);
        });
        assert!(served.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_clients_do_not_queue_behind_all_requests_of_another() {
        let places = Places::new(2, 1);
        let (one, wait) = (ip("192.0.2.1"), Duration::from_secs(5));
        let _held = places.take(one, wait).await.expect("a place");
        let crowd = (0..100).map(|_| places.take(one, wait));
        let crowd = futures_util::future::join_all(crowd);
        let good = places.take(ip("192.0.2.2"), Duration::ZERO);
        let (refused, good) = tokio::join!(crowd, good);
        assert!(good.is_ok());
        assert!(refused.iter().all(Result::is_err));
    }
}
