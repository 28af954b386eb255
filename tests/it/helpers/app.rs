//! The service within the test process, with its own port and directory.

use std::{collections::HashMap, time::Duration};

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tallymill::{
    app::{App, Role},
    config::Config,
};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{http_client, mongo::Mongo, servers::shared_redis};

pub(crate) const TOKEN: &str = "a-token-for-tests";

/// Longest wait for a condition that holds within milliseconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Returns whether services use MongoDB and Redis. `tests/run` runs the suites both ways.
pub(crate) fn distributed() -> bool {
    match std::env::vars().find(|(key, _)| key == "TALLYMILL_TEST_PAIR") {
        Some((_, pair)) if pair == "distributed" => true,
        Some((_, pair)) => panic!("TALLYMILL_TEST_PAIR={pair}: there is `distributed`"),
        None => false,
    }
}

/// A running service.
pub(crate) struct TestApp {
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    pub(crate) dir: TempDir,
    pub(super) mongo_uri: Option<String>,
    stop: CancellationToken,
    running: JoinSet<()>,
}

/// A complete reply.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.expect("a body"),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    /// Asserts that the reply is a problem; returns status and code.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{}",
            self.text
        );
        let body = self.json();
        assert_eq!(body["error"], body["detail"]);
        assert_eq!(body["status"], self.status.as_u16());
        (
            self.status.as_u16(),
            body["code"].as_str().unwrap_or_default().to_owned(),
        )
    }
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a service with additional settings.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::on(tempfile::tempdir().expect("a directory"), settings).await
    }

    /// Starts a service on the directory of an earlier one.
    pub(crate) async fn on(dir: TempDir, settings: &[(&str, &str)]) -> Self {
        let config = Self::config(&dir, settings);
        Self::run(dir, config).await
    }

    /// Starts a service with queue and limit in Redis over an embedded store, which settings alone do not allow.
    pub(crate) async fn with_redis(url: &str, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut all = vec![("MONGO_URI", "mongodb://unused"), ("REDIS_URL", url)];
        all.extend(settings);
        let mut config = Self::config(&dir, &all);
        config.mongo_uri = None;
        Self::run(dir, config).await
    }

    fn config(dir: &TempDir, settings: &[(&str, &str)]) -> Config {
        let mut all: HashMap<String, String> = HashMap::new();
        let defaults = [
            ("PORT", "0"),
            ("UPLOAD_LIMIT", "0"),
            ("ADMIN_TOKEN", TOKEN),
            ("UPLOADS_AT_ONCE_PER_CLIENT", "16"),
            ("SWEEP_SECONDS", "1"),
            ("JOB_BACKOFF_SECONDS", "1"),
        ];
        for (name, value) in defaults.iter().chain(settings) {
            all.insert((*name).into(), (*value).into());
        }
        all.entry("DATA_DIR".into())
            .or_insert_with(|| dir.path().display().to_string());
        if distributed() {
            // The same directory is the same database, so that a service may be started again.
            let name = dir.path().file_name().and_then(|name| name.to_str());
            let name = name
                .expect("text")
                .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            let uri = || Mongo::shared().named(&format!("app{name}"));
            all.entry("MONGO_URI".into()).or_insert_with(uri);
            let url = || shared_redis().to_owned();
            all.entry("REDIS_URL".into()).or_insert_with(url);
        }
        Config::from_lookup(|key| all.get(key).cloned()).expect("settings of a test")
    }

    async fn run(dir: TempDir, config: Config) -> Self {
        let mongo_uri = config.mongo_uri.as_ref().map(|uri| uri.expose().to_owned());
        let app = App::build(config, Role::Full).await.expect("starts");
        let (url, stop, mut running) = (
            app.url().to_owned(),
            CancellationToken::new(),
            JoinSet::new(),
        );
        let until = stop.clone();
        running.spawn(async move { app.run(until).await.expect("ends well") });
        Self {
            url,
            client: http_client(),
            dir,
            mongo_uri,
            stop,
            running,
        }
    }

    /// Stops the service as a signal does; returns the directory.
    pub(crate) async fn stop(mut self) -> TempDir {
        self.stop.cancel();
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                ended.expect("no panic");
            }
        };
        // Well before SHUTDOWN_SECONDS cuts it short.
        let ended = tokio::time::timeout(Duration::from_secs(20), all).await;
        ended.expect("stops by itself");
        self.dir
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(
            self.request(Method::GET, path)
                .send()
                .await
                .expect("answers"),
        )
        .await
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        Answer::of(
            self.request(Method::POST, path)
                .send()
                .await
                .expect("answers"),
        )
        .await
    }

    pub(crate) async fn admin(&self, method: Method, path: &str) -> Answer {
        let request = self.request(method, &format!("/admin/queues/event-processing/dlq{path}"));
        Answer::of(request.bearer_auth(TOKEN).send().await.expect("answers")).await
    }

    /// Uploads a file as a raw body.
    pub(crate) async fn upload(&self, options: &str, csv: impl Into<reqwest::Body>) -> Answer {
        let request = self
            .request(Method::POST, &format!("/uploads{options}"))
            .header("content-type", "text/csv");
        Answer::of(request.body(csv).send().await.expect("answers")).await
    }

    /// Uploads a file that is accepted; returns its batch.
    pub(crate) async fn uploaded(&self, options: &str, csv: impl Into<reqwest::Body>) -> String {
        let answer = self.upload(options, csv).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()["batch_id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// Processes a batch and waits for its figures.
    pub(crate) async fn process(&self, batch: &str) -> Value {
        let answer = self.post(&format!("/batches/{batch}/process")).await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        self.until(batch, "completed").await
    }

    /// Waits until a batch has a status.
    pub(crate) async fn until(&self, batch: &str, status: &str) -> Value {
        self.until_has(&format!("/batches/{batch}"), "status", status)
            .await
    }

    /// Waits until a job has a state.
    pub(crate) async fn until_job(&self, job: &str, state: &str) -> Value {
        self.until_has(&format!("/jobs/{job}"), "state", state)
            .await
    }

    /// Waits until a job has died `times` times.
    pub(crate) async fn until_died(&self, job: &str, times: usize) {
        let deaths = |job: &Value| {
            let history = job["history"].as_array().expect("a list");
            history.iter().filter(|entry| entry["to"] == "dead").count()
        };
        self.until_is(&format!("/jobs/{job}"), "dead again", |job| {
            job["state"] == "dead" && deaths(job) >= times
        })
        .await;
    }

    async fn until_has(&self, path: &str, name: &str, value: &str) -> Value {
        self.until_is(path, value, |found| found[name] == value)
            .await
    }

    async fn until_is(
        &self,
        path: &str,
        value: &str,
        is_reached: impl Fn(&Value) -> bool,
    ) -> Value {
        let reached = async {
            loop {
                let found = self.get(path).await.json();
                if is_reached(&found) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let reached = tokio::time::timeout(TIMEOUT, reached).await;
        reached.unwrap_or_else(|_| panic!("{path} did not become {value} in time"))
    }

    /// Deletes a batch and waits until it is deleted.
    pub(crate) async fn undo(&self, batch: &str) {
        let answer = Answer::of(
            self.request(Method::DELETE, &format!("/batches/{batch}"))
                .send()
                .await
                .expect("answers"),
        )
        .await;
        assert_eq!(answer.status, 202, "{}", answer.text);
        self.until(batch, "deleted").await;
    }

    /// Returns daily figures as (date, type, count, users).
    pub(crate) async fn figures(&self, query: &str) -> Vec<(String, String, u64, u64)> {
        let answer = self.get(&format!("/metrics{query}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let body = answer.json();
        let mut all = Vec::new();
        for day in body["data"].as_array().expect("a list") {
            for figure in day["metrics"].as_array().expect("a list") {
                let text = |value: &Value| value.as_str().expect("text").to_owned();
                let number = |value: &Value| value.as_u64().expect("a number");
                all.push((
                    text(&day["date"]),
                    text(&figure["event_type"]),
                    number(&figure["count"]),
                    number(&figure["unique_users"]),
                ));
            }
        }
        all
    }
}
