//! Several processes of the real binary on one MongoDB and one Redis: killed, frozen and stopped during runs, with a
//! Redis that is flushed and restarted. Every request is fulfilled once; the histories in the ledger prove it.

use std::collections::{BTreeMap, HashSet};

use reqwest::Method;
use serde_json::Value;
use tallymill::model::{BatchId, JobId, JobState};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant},
};

use crate::helpers::{
    cluster::Cluster,
    ledger::is_sound,
    process::{Service, eventually},
    sample::{Random, Sample, batches, figures, oracle},
};

/// The faults of a test run.
#[derive(Debug, Clone, Copy)]
struct Plan {
    batches: u64,
    kills: u64,
    flushes: u64,
    restarts: u64,
}

impl Plan {
    /// Returns the short run, or the one that `tests/long` asks for.
    fn read() -> Self {
        let Some(text) = std::env::var_os("TALLYMILL_CLUSTER") else {
            return Self {
                batches: 24,
                kills: 6,
                flushes: 2,
                restarts: 1,
            };
        };
        let batches = text.to_str().and_then(|text| text.parse().ok());
        let batches = batches.expect("TALLYMILL_CLUSTER is a number of batches");
        Self {
            batches,
            kills: batches / 2,
            flushes: batches / 20,
            restarts: batches / 40,
        }
    }

    /// Returns how many of `times` faults belong to the batch `n`, spread evenly.
    fn share(self, n: u64, times: u64) -> u64 {
        (n + 1) * times / self.batches - n * times / self.batches
    }
}

/// The files that were sent, and whether each was deleted.
#[derive(Default)]
struct Sent(Vec<(BatchId, Sample, bool)>);

impl Sent {
    fn live(&self) -> impl Iterator<Item = &Sample> {
        let live = self.0.iter().filter(|(_, _, undone)| !undone);
        live.map(|(_, file, _)| file)
    }

    /// Picks an earlier file that is not deleted.
    fn any_live(&mut self, random: &mut Random) -> Option<&mut (BatchId, Sample, bool)> {
        let mut live: Vec<_> = self.0.iter_mut().filter(|(_, _, undone)| !undone).collect();
        let at = random.below(live.len().max(1) as u64) as usize;
        (at < live.len()).then(|| live.swap_remove(at))
    }
}

/// Sends a file and requests its figures; sometimes forces those of another, or deletes another.
async fn send(cluster: &Cluster, n: u64, sent: &mut Sent, random: &mut Random) {
    let file = Sample::new(n, 10 + random.below(30), 400, random);
    let id = cluster.uploaded(&file).await;
    let path = format!("/batches/{id}/process");
    cluster.ask(Method::POST, &path).await;
    sent.0.push((id, file, false));
    if n % 4 == 3
        && let Some((id, ..)) = sent.any_live(random)
    {
        let path = format!("/batches/{id}/process?force=true");
        cluster.ask(Method::POST, &path).await;
    }
    if n % 6 == 5
        && let Some((id, _, undone)) = sent.any_live(random)
    {
        cluster.ask(Method::DELETE, &format!("/batches/{id}")).await;
        *undone = true;
    }
}

#[tokio::test]
async fn killed_workers_and_a_flushed_redis_change_no_count() {
    let (plan, begun) = (Plan::read(), Instant::now());
    let (mut cluster, mut random) = (Cluster::start().await, Random(20_251_121));
    for n in 0..2 {
        let worker = cluster.start_worker(n, &[]).await;
        cluster.workers.push(worker);
    }
    let (mut sent, mut cut_short) = (Sent::default(), 0);
    for n in 0..plan.batches {
        let away = plan.share(n, plan.restarts) > 0;
        if away {
            cluster.redis.stop();
        }
        send(&cluster, n, &mut sent, &mut random).await;
        if away {
            cluster.redis.restart().await;
        }
        for _ in 0..plan.share(n, plan.kills) {
            cut_short += cluster.kill_one(&mut random).await;
        }
        for _ in 0..plan.share(n, plan.flushes) {
            cluster.redis.flush().await;
        }
        cluster.ledger.refresh().await;
    }
    all_are_done(&mut cluster, &sent).await;
    all_add_up(&cluster, &sent).await;
    let runs = cluster.ledger.audit().await;
    println!(
        "{plan:?}, {cut_short} runs cut short: {runs:?} in {:?}",
        begun.elapsed()
    );
    assert!(cut_short > 0, "no kill came in time");
}

/// Waits until every batch is as last requested, and nothing is left to do.
async fn all_are_done(cluster: &mut Cluster, sent: &Sent) {
    // To take one back is to count others again.
    for _ in 0..2 {
        for (id, _, undone) in &sent.0 {
            cluster.until_done(*id, *undone).await;
        }
        cluster.until_at_rest().await;
    }
}

/// Asserts that the figures equal one pass over the live files, and that every row of each is accounted for.
async fn all_add_up(cluster: &Cluster, sent: &Sent) {
    let url = &cluster.api.url;
    assert_eq!(figures(&cluster.client, url).await, oracle(sent.live()));
    let shown = batches(&cluster.client, url).await;
    let shown: BTreeMap<_, _> = shown
        .iter()
        .map(|batch| (batch["batch_id"].as_str().expect("an id"), batch))
        .collect();
    let (mut duplicates, mut conflicts) = (0, 0);
    for (id, file, undone) in &sent.0 {
        let batch = shown[&*id.to_string()];
        assert_eq!(batch["received_count"], file.received, "{batch}");
        assert_eq!(batch["inserted_count"], file.inserted, "{batch}");
        let Some(published) = cluster.ledger.batch(*id).await.published else {
            assert!(undone, "{batch}");
            continue;
        };
        let counts = published.counts;
        let rows = counts.counted + counts.duplicate + counts.conflict;
        assert_eq!(rows, file.inserted, "{batch}");
        duplicates += counts.duplicate;
        conflicts += counts.conflict;
    }
    assert!(duplicates > 0 && conflicts > 0, "files that don't overlap");
}

/// Sends a hundred requests at once to two processes; returns the job ids of the replies.
async fn a_hundred_answers(cluster: &Cluster, second: &Service, batch: BatchId) -> HashSet<String> {
    let mut calls = JoinSet::new();
    for n in 0..100 {
        let api = if n % 2 == 0 { &cluster.api } else { second };
        let url = format!("{}/batches/{batch}/process", api.url);
        let request = cluster.client.post(url);
        calls.spawn(async move {
            let answer = request.send().await.expect("answers");
            assert_eq!(answer.status(), 202);
            let body: Value = answer.json().await.expect("JSON");
            body["job_id"].as_str().expect("an id").to_owned()
        });
    }
    calls.join_all().await.into_iter().collect()
}

#[tokio::test]
async fn a_hundred_concurrent_requests_are_one_job_and_one_run() {
    let mut cluster = Cluster::start().await;
    let second = cluster.start_api("second").await;
    for (n, worker_first) in [true, false].into_iter().enumerate() {
        let file = Sample::new(n as u64, 30, 400, &mut Random(n as u64));
        let batch = cluster.uploaded(&file).await;
        cluster.workers.clear();
        if worker_first {
            cluster.workers.push(cluster.start_worker(0, &[]).await);
        }
        let named = a_hundred_answers(&cluster, &second, batch).await;
        let id = JobId::Process(batch);
        assert_eq!(named, HashSet::from([id.to_string()]));
        if !worker_first {
            cluster.workers.push(cluster.start_worker(1, &[]).await);
        }
        cluster.until_done(batch, false).await;
        cluster.until_at_rest().await;
        assert_eq!(cluster.ledger.batch(batch).await.wanted, 1);
        let job = cluster.ledger.job(id).await;
        is_sound(&job);
        let states: Vec<_> = job.history.iter().map(|line| line.to).collect();
        let once = [JobState::Queued, JobState::Running, JobState::Completed];
        assert_eq!(states, once, "{job:#?}");
        let all = cluster.ledger.refresh().await;
        let of_batches = all.iter().filter(|j| matches!(j.id, JobId::Process(_)));
        assert_eq!(of_batches.count(), n + 1);
    }
}

/// The next write of the woken worker is its settlement or a renewal.
#[tokio::test]
async fn a_woken_worker_finds_its_job_done_by_another() {
    for lease in ["60", "2"] {
        let mut cluster = Cluster::start().await;
        let file = Sample::new(0, 2_000, 4_000, &mut Random(1));
        let batch = cluster.uploaded(&file).await;
        let settings = [("JOB_LEASE_SECONDS", lease)];
        cluster
            .workers
            .push(cluster.start_worker(0, &settings).await);
        let frozen = cluster.freeze_at_work(batch).await;
        let other = cluster.start_worker(1, &[]).await;
        cluster.until_done(batch, false).await;
        cluster.until_at_rest().await;
        let done = cluster.ledger.job(frozen.id).await;
        assert_eq!(done.token, frozen.token + 1, "{done:#?}");
        assert_eq!(done.state, JobState::Completed);
        assert!(done.history.starts_with(&frozen.history));
        let since: Vec<_> = done.history[frozen.history.len()..]
            .iter()
            .map(|line| line.to)
            .collect();
        let once = [JobState::Queued, JobState::Running, JobState::Completed];
        assert_eq!(since, once, "{done:#?}");
        cluster.workers[0].wake();
        let lost = format!("lease of job {} was lost to another worker", frozen.id);
        eventually("the end of the stale run", async || {
            cluster.workers[0].log().contains(&lost).then_some(())
        })
        .await;
        assert_eq!(cluster.ledger.job(frozen.id).await, done);
        is_sound(&done);
        assert!(
            !other.log().contains("was lost to another worker"),
            "{}",
            other.log()
        );
        let shown = figures(&cluster.client, &cluster.api.url).await;
        assert_eq!(shown, oracle([&file]));
    }
}

#[tokio::test]
async fn a_stopping_worker_process_releases_its_job() {
    let mut cluster = Cluster::start().await;
    let file = Sample::new(0, 2_000, 4_000, &mut Random(2));
    let batch = cluster.uploaded(&file).await;
    let settings = [("SHUTDOWN_SECONDS", "10")];
    cluster
        .workers
        .push(cluster.start_worker(0, &settings).await);
    let held = cluster.freeze_at_work(batch).await;
    let stopped_at = Instant::now();
    cluster.workers[0].terminate();
    cluster.workers[0].wake();
    let ended = cluster.workers[0].ended().await;
    assert!(stopped_at.elapsed() < Duration::from_secs(10));
    let log = cluster.workers[0].log();
    assert_eq!(ended.code(), Some(0), "{log}");
    assert!(!log.contains("was cut short"), "{log}");
    let job = cluster.ledger.job(held.id).await;
    assert_eq!(
        (job.state, job.attempt, job.crashes),
        (JobState::Queued, 0, 0)
    );
    let last = job.history.last().expect("handed back");
    assert_eq!(last.reason, "handed back by a worker that stops");
    cluster.workers[0] = cluster.start_worker(1, &[]).await;
    cluster.until_done(batch, false).await;
    let shown = figures(&cluster.client, &cluster.api.url).await;
    assert_eq!(shown, oracle([&file]));
}
