//! A rolling restart behind a load balancer that asks `/ready`: no request fails, and no upload is lost.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use reqwest::Client;
use tokio::{task::JoinSet, time::Duration};

use crate::helpers::{cluster::Cluster, http_client, process::eventually, sample::batches};

/// Time between two checks of a backend.
const CHECK_INTERVAL: Duration = Duration::from_millis(50);
/// Much longer than a check on a busy machine.
const DRAIN: (&str, &str) = ("DRAIN_SECONDS", "3");
const CLIENTS: u64 = 4;

/// Sends each request to the next backend that was ready when it was last asked.
#[derive(Default)]
struct Balancer {
    ready: Mutex<Vec<String>>,
    turn: AtomicU64,
}

impl Balancer {
    fn next(&self) -> String {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        assert!(!ready.is_empty(), "no backend is ready");
        ready[turn % ready.len()].clone()
    }

    fn set(&self, url: &str, is_ready: bool) {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.retain(|known| known != url);
        if is_ready {
            ready.push(url.to_owned());
        }
    }

    fn has(&self, url: &str) -> bool {
        let ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        ready.iter().any(|known| known == url)
    }

    /// Asks a backend again and again, until it no longer answers.
    async fn watch(self: Arc<Self>, url: String) {
        let client = http_client();
        while let Ok(answer) = client.get(format!("{url}/ready")).send().await {
            self.set(&url, answer.status() == 200);
            tokio::time::sleep(CHECK_INTERVAL).await;
        }
        self.set(&url, false);
    }
}

/// Uploads small files until the end; returns their number, or what failed.
async fn upload(
    balancer: Arc<Balancer>,
    client: Client,
    n: u64,
    ended: Arc<AtomicBool>,
) -> Result<u64, String> {
    let mut sent = 0;
    while !ended.load(Ordering::Relaxed) {
        let url = balancer.next();
        let csv = format!("event_type,timestamp,user_id\nclick,2025-03-04,{n}-{sent}\n");
        let request = client.post(format!("{url}/uploads"));
        let answer = request.header("content-type", "text/csv").body(csv).send();
        let answer = answer.await.map_err(|error| format!("{error:?}"))?;
        let (status, text) = (answer.status(), answer.text().await.unwrap_or_default());
        if status != 201 {
            return Err(format!("{status} {text}"));
        }
        sent += 1;
    }
    Ok(sent)
}

#[tokio::test]
async fn no_request_fails_during_a_rolling_restart() {
    let mut cluster = Cluster::start().await;
    let (balancer, ended) = (Arc::<Balancer>::default(), Arc::<AtomicBool>::default());
    let mut watches = JoinSet::new();
    let mut backends = Vec::new();
    for name in ["a", "b"] {
        backends.push(cluster.start_api_with(name, &[DRAIN]).await);
    }
    let mut watch = |url: &str| watches.spawn(Arc::clone(&balancer).watch(url.to_owned()));
    for backend in &backends {
        watch(&backend.url);
        eventually("a ready backend", async || {
            balancer.has(&backend.url).then_some(())
        })
        .await;
    }
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (balancer, ended) = (Arc::clone(&balancer), Arc::clone(&ended));
        clients.spawn(upload(balancer, http_client(), n, ended));
    }
    for (n, name) in ["c", "d"].into_iter().enumerate() {
        backends[n].terminate();
        assert!(backends[n].ended().await.success());
        backends[n] = cluster.start_api_with(name, &[DRAIN]).await;
        watch(&backends[n].url);
        eventually("the new backend", async || {
            balancer.has(&backends[n].url).then_some(())
        })
        .await;
    }
    ended.store(true, Ordering::Relaxed);
    let mut sent = 0;
    for client in clients.join_all().await {
        sent += client.expect("no request fails");
    }
    assert!(sent > 0);
    println!("{sent} uploads during two restarts, none failed");
    cluster.api = backends.remove(0);
    let stored = batches(&cluster.client, &cluster.api.url).await.len() as u64;
    assert_eq!(stored, sent, "each answered upload is one batch");
}
