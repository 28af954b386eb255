//! An API and workers as processes of the real binary, on one MongoDB and one Redis.

use std::path::PathBuf;

use reqwest::{Client, Method};
use serde_json::Value;
use tallymill::model::{BatchId, Job, JobId, JobState};
use tempfile::TempDir;
use tokio::time::Duration;

use super::{
    http_client,
    ledger::Ledger,
    mongo::Mongo,
    process::{Service, eventually, within},
    sample::{Random, Sample},
    servers::Redis,
};

/// Longest wait for a batch. The backoff of a job whose worker is killed repeatedly is a minute or two.
const PATIENCE: Duration = Duration::from_secs(300);
/// Attempts to freeze a worker before it has settled its job.
const TRIES: usize = 20;

/// Processes on one MongoDB and one Redis.
pub(crate) struct Cluster {
    home: TempDir,
    uri: String,
    pub(crate) redis: Redis,
    pub(crate) client: Client,
    pub(crate) api: Service,
    pub(crate) workers: Vec<Service>,
    pub(crate) ledger: Ledger,
}

impl Cluster {
    /// Starts an API without workers.
    pub(crate) async fn start() -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let redis = Redis::start().await;
        let uri = Mongo::shared().database();
        let settings = [("MONGO_URI", &*uri), ("REDIS_URL", &redis.url())];
        let api = Service::api(&home.path().join("api"), &settings).await;
        Self {
            ledger: Ledger::open(&uri).await,
            client: http_client(),
            workers: Vec::new(),
            home,
            uri,
            redis,
            api,
        }
    }

    /// Starts another API.
    pub(crate) async fn start_api(&self, name: &str) -> Service {
        self.start_api_with(name, &[]).await
    }

    /// Starts another API with additional settings.
    pub(crate) async fn start_api_with(&self, name: &str, settings: &[(&str, &str)]) -> Service {
        let url = self.redis.url();
        let mut all = vec![("MONGO_URI", &*self.uri), ("REDIS_URL", &*url)];
        all.extend(settings);
        Service::api(&self.home.path().join(name), &all).await
    }

    /// Starts another worker with additional settings.
    pub(crate) async fn start_worker(&self, n: usize, settings: &[(&str, &str)]) -> Service {
        let url = self.redis.url();
        let mut all = vec![
            ("MONGO_URI", &*self.uri),
            ("REDIS_URL", &*url),
            ("JOB_LEASE_SECONDS", "2"),
            ("CLEANUP_INTERVAL_SECONDS", "5"),
            ("WORKER_CONCURRENCY", "4"),
        ];
        all.extend(settings);
        Service::worker(&self.data(n), &all).await
    }

    fn data(&self, n: usize) -> PathBuf {
        self.home.path().join(format!("worker-{n}"))
    }

    pub(crate) async fn ask(&self, method: Method, path: &str) -> Value {
        let request = self
            .client
            .request(method, format!("{}{path}", self.api.url));
        let answer = request.send().await.expect("answers");
        assert_eq!(answer.status(), 202, "{path}");
        answer.json().await.expect("JSON")
    }

    pub(crate) async fn uploaded(&self, file: &Sample) -> BatchId {
        let url = format!("{}/uploads?name={}", self.api.url, file.name);
        let request = self.client.post(url).header("content-type", "text/csv");
        let sent = request.body(file.csv.clone()).send().await;
        let answer = sent.expect("answers");
        assert_eq!(answer.status(), 201);
        let body: Value = answer.json().await.expect("JSON");
        let id = body["batch_id"].as_str().expect("an id");
        id.parse().expect("an id")
    }

    /// Kills a worker, mostly a running one, and restarts it; returns the number of its jobs.
    pub(crate) async fn kill_one(&mut self, random: &mut Random) -> usize {
        let running = eventually("a job under way, or none to do", async || {
            let running = self.ledger.running().await;
            (!running.is_empty() || self.ledger.is_at_rest().await).then_some(running)
        })
        .await;
        let held = |service: &Service| {
            let pid = format!("/pid-{}/", service.child.id());
            let has = |job: &&Job| job.lease.as_ref().is_some_and(|l| l.owner.contains(&pid));
            running.iter().filter(has).count()
        };
        let any = random.below(self.workers.len() as u64) as usize;
        let busy = self.workers.iter().position(|worker| held(worker) > 0);
        let victim = busy.filter(|_| random.below(3) > 0).unwrap_or(any);
        let cut_short = held(&self.workers[victim]);
        self.workers.remove(victim).kill();
        let again = self.start_worker(victim, &[]).await;
        self.workers.insert(victim, again);
        cut_short
    }

    /// Waits until a batch is as last requested.
    pub(crate) async fn until_done(&self, id: BatchId, undone: bool) {
        let wanted = if undone { "deleted" } else { "completed" };
        let done = within(PATIENCE, async || {
            let batch = self.ledger.batch(id).await;
            assert_ne!(batch.status.as_str(), "failed", "{batch:#?}");
            (batch.status.as_str() == wanted).then_some(())
        });
        if done.await.is_none() {
            let job = self.ledger.job(JobId::Process(id)).await;
            panic!("batch {id} did not become {wanted} in time: {job:#?}");
        }
    }

    /// Freezes the only worker during the job of a batch; returns the job.
    pub(crate) async fn freeze_at_work(&self, batch: BatchId) -> Job {
        let [worker] = &self.workers[..] else {
            panic!("one worker")
        };
        let id = JobId::Process(batch);
        for _ in 0..TRIES {
            self.ask(
                Method::POST,
                &format!("/batches/{batch}/process?force=true"),
            )
            .await;
            eventually("the job under way", async || {
                let job = self.ledger.job(id).await;
                (job.state != JobState::Queued).then_some(())
            })
            .await;
            worker.freeze();
            let job = self.ledger.job(id).await;
            if job.state == JobState::Running {
                return job;
            }
            // Too late: it has settled.
            worker.wake();
        }
        panic!("the worker was never caught at work");
    }

    pub(crate) async fn until_at_rest(&mut self) {
        let rest = within(PATIENCE, async || {
            self.ledger.is_at_rest().await.then_some(())
        });
        assert!(rest.await.is_some(), "there is always something left to do");
    }
}
