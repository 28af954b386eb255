//! The real binary while MongoDB is unavailable: during an upload, between requests, and before the start.

use std::{
    collections::BTreeMap,
    net::TcpListener,
    process::{Command, Output},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use mongodb::{
    Collection, Database,
    bson::{Document, doc},
};
use reqwest::{Body, Client, Method, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::helpers::{
    http_client,
    mongo::Mongo,
    process::{Service, eventually, tallymill},
    sample::{batches, figures, json},
    servers::Redis,
};

/// Longest wait for a reply while MongoDB is unavailable.
const BOUND: Duration = Duration::from_secs(25);
/// Longest wait for a command that can't start.
const START: Duration = Duration::from_secs(10);
/// More rows than are parsed before the first are stored.
const ROWS: u64 = 9_000;
const SECRET: &str = "hunter2";

/// A service on its own MongoDB server.
struct StoreUnderTest {
    _home: TempDir,
    mongo: Mongo,
    database: Database,
    service: Service,
    client: Client,
    _redis: Redis,
}

impl StoreUnderTest {
    async fn start() -> Self {
        let (mongo, redis) = (Mongo::start(), Redis::start().await);
        let home = tempfile::tempdir().expect("a directory");
        let uri = mongo.database();
        let settings = [
            ("MONGO_URI", &*uri),
            ("REDIS_URL", &redis.url()),
            ("JOB_LEASE_SECONDS", "2"),
        ];
        let service = Service::start(&home.path().join("data"), &settings).await;
        let bare = mongodb::Client::with_uri_str(&uri).await;
        let database = bare.expect("connects").default_database();
        Self {
            _home: home,
            mongo,
            database: database.expect("named in the string"),
            service,
            client: http_client(),
            _redis: redis,
        }
    }

    async fn upload(&self, csv: impl Into<Body>) -> Response {
        let url = format!("{}/uploads", self.service.url);
        let request = self.client.post(url).header("content-type", "text/csv");
        request.body(csv).send().await.expect("answers")
    }

    async fn completed(&self, batch: &str) {
        let url = format!("{}/batches/{batch}", self.service.url);
        let asked = self.client.post(format!("{url}/process")).send().await;
        assert_eq!(asked.expect("answers").status(), 202);
        eventually("figures", async || {
            let found = json(&self.client, &url).await;
            (found["status"] == "completed").then_some(())
        })
        .await;
    }

    async fn until_ready(&self, status: u16) -> Value {
        eventually("another state of readiness", async || {
            let url = format!("{}/ready", self.service.url);
            let answer = self.client.get(url).send().await.expect("answers");
            let seen = answer.status() == status;
            let body = answer.json().await.expect("JSON");
            seen.then_some(body)
        })
        .await
    }

    /// Returns the number of stored event documents.
    fn events(&self) -> Collection<Document> {
        self.database.collection("events")
    }
}

fn rows(many: u64) -> String {
    let rows = (0..many).map(|n| format!("u{},login,2025-11-10\n", n % 37));
    rows.collect()
}

/// Asserts a 503 `unavailable` with `Retry-After`.
async fn is_unavailable(answer: Response) {
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["retry-after"], "5");
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["code"], "unavailable", "{body}");
    assert_eq!(body["retryable"], true);
}

/// Starts an upload, kills MongoDB once some rows are stored, then sends further bytes, or none.
async fn cut(under_test: &mut StoreUnderTest, csv: String, silent: bool) -> Response {
    let (sender, chunks) = mpsc::channel::<Bytes>(1);
    let body = Body::wrap_stream(stream::unfold(chunks, |mut chunks| async {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, std::convert::Infallible>(chunk), chunks))
    }));
    let url = format!("{}/uploads", under_test.service.url);
    let request = http_client().post(url).header("content-type", "text/csv");
    let mut upload = JoinSet::new();
    upload.spawn(async move { request.body(body).send().await.expect("answers") });
    sender.send(csv.into()).await.expect("taken");
    eventually("events of an invisible batch", async || {
        let receiving = doc! { "status": "receiving" };
        let batch = under_test.database.collection::<Document>("batches");
        let batch = batch.find_one(receiving).await.expect("reads")?;
        let of_batch = doc! { "batch": batch.get_str("_id").expect("an id") };
        let some = under_test.events().find_one(of_batch).await;
        some.expect("reads").map(drop)
    })
    .await;
    under_test.mongo.kill();
    loop {
        tokio::select! {
            answer = upload.join_next() => break answer.expect("one").expect("no panic"),
            Ok(()) = sender.send(rows(1_000).into()), if !silent => {}
        }
    }
}

#[tokio::test]
async fn an_upload_whose_mongodb_dies_leaves_nothing() {
    let mut under_test = StoreUnderTest::start().await;
    let (mut taken, url) = (0, under_test.service.url.clone());
    for (more, silent) in [(0, false), (1, true)] {
        let csv = format!("user_id,event_type,timestamp\n{}", rows(ROWS + more));
        let begun = Instant::now();
        is_unavailable(cut(&mut under_test, csv.clone(), silent).await).await;
        println!(
            "503 to an upload, silent: {silent}, after {:?}",
            begun.elapsed()
        );
        assert!(begun.elapsed() < BOUND);
        under_test.mongo.start_again();
        under_test.until_ready(200).await;
        assert_eq!(batches(&under_test.client, &url).await.len(), more as usize);
        eventually("nothing of the upload in the store", async || {
            // A connection of before may be found broken only now.
            let left = under_test.events().count_documents(doc! {}).await;
            (left.ok()? == taken).then_some(())
        })
        .await;
        let again = under_test.upload(csv).await;
        assert_eq!(again.status(), 201);
        taken += ROWS + more;
        let batch: Value = again.json().await.expect("JSON");
        let batch = batch["batch_id"].as_str().expect("an id");
        under_test.completed(batch).await;
        let key = ("2025-11-10".to_owned(), "login".to_owned());
        let figures = figures(&under_test.client, &url).await;
        assert_eq!(figures, BTreeMap::from([(key, (taken, 37))]));
    }
}

/// The requests about a batch that need the store.
fn requests(batch: &str) -> [(Method, String); 7] {
    [
        (Method::GET, "/metrics".into()),
        (Method::GET, "/batches".into()),
        (Method::GET, format!("/batches/{batch}")),
        (Method::GET, format!("/jobs/process:{batch}")),
        (Method::POST, format!("/batches/{batch}/process?force=true")),
        (Method::DELETE, format!("/batches/{batch}")),
        (Method::POST, "/uploads".into()),
    ]
}

/// Sends all requests at once.
async fn all_are_unavailable(
    under_test: &StoreUnderTest,
    batch: &str,
    csv: &str,
    away: &'static str,
) {
    let mut asked = JoinSet::new();
    for (method, path) in requests(batch) {
        let url = format!("{}{path}", under_test.service.url);
        let request = under_test.client.request(method.clone(), url);
        let request = request.header("content-type", "text/csv");
        let request = request.body(csv.to_owned());
        asked.spawn(async move {
            let begun = Instant::now();
            is_unavailable(request.send().await.expect("answers")).await;
            println!("{away}: 503 to {method} {path} after {:?}", begun.elapsed());
            assert!(begun.elapsed() < BOUND, "{path}");
        });
    }
    asked.join_all().await;
}

#[tokio::test]
async fn without_mongodb_every_request_is_refused_in_time() {
    let mut under_test = StoreUnderTest::start().await;
    let csv = format!("user_id,event_type,timestamp\n{}", rows(10));
    let taken = under_test.upload(csv.clone()).await;
    let batch: Value = taken.json().await.expect("JSON");
    let batch = batch["batch_id"].as_str().expect("an id").to_owned();
    under_test.completed(&batch).await;
    for away in ["killed", "hanging"] {
        under_test.until_ready(200).await;
        match away {
            "killed" => under_test.mongo.kill(),
            _ => under_test.mongo.hang(),
        }
        let lost = Instant::now();
        let degraded = under_test.until_ready(503).await;
        assert!(lost.elapsed() < Duration::from_secs(5));
        assert_eq!(degraded["status"], "unavailable");
        assert_eq!(degraded["store"]["kind"], "mongodb");
        assert_eq!(degraded["store"]["ok"], false);
        assert_eq!(degraded["queue"]["ok"], true);
        all_are_unavailable(&under_test, &batch, &csv, away).await;
        let health = format!("{}/health", under_test.service.url);
        assert_eq!(json(&under_test.client, &health).await["status"], "ok");
        match away {
            "killed" => under_test.mongo.start_again(),
            _ => under_test.mongo.resume(),
        }
        let back = Instant::now();
        under_test.until_ready(200).await;
        println!("{away}: ready again after {:?}", back.elapsed());
        assert!(back.elapsed() < START);
    }
    let log = under_test.service.log();
    let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
    assert_eq!(count("is unavailable: requests get 503"), 2, "{log}");
    assert_eq!(count(" answers again after "), 2, "{log}");
    let warns = |line: &&str| line.contains("WARN") && line.contains("503");
    let repeated = |line: &&str| warns(line) && !line.contains("/ready replies 503");
    assert_eq!(log.lines().filter(repeated).count(), 2, "{log}");
}

fn ended(command: &mut Command) -> (Output, Duration) {
    let begun = Instant::now();
    (command.output().expect("runs"), begun.elapsed())
}

/// Asserts exit code 2 in time, and an error that names the setting and hides the password.
fn is_refused(command: &str, setting: &str, settings: &[(&str, &str)]) {
    let home = tempfile::tempdir().expect("a directory");
    let mut command_line = tallymill(&home.path().join("data"), settings);
    let (output, took) = ended(command_line.arg(command));
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("{command} with {settings:?} after {took:?}: {said}");
    assert_eq!(output.status.code(), Some(2), "{what}");
    assert!(took < START, "{what}");
    assert!(said.contains(setting), "{what}");
    assert!(!said.contains(SECRET), "{what}");
    assert!(output.stdout.is_empty(), "{what}");
}

#[test]
fn an_unusable_mongo_uri_is_a_named_fault_in_time() {
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = silent
        .local_addr()
        .map(|at| at.port())
        .map(|port| (port, silent));
    let (port, _held) = silent.expect("an address");
    let real = Mongo::shared().named("refused");
    let (_, host) = real.split_once("//").expect("a connection string");
    let (host, _) = host.split_once('/').expect("with a database");
    let uris = [
        format!("http://me:{SECRET}@127.0.0.1/x"),
        format!("mongodb://me:{SECRET}@"),
        format!("mongodb://me:{SECRET}@127.0.0.1:99999/x"),
        format!("mongodb://me:{SECRET}@127.0.0.1:1/x?connectTimeoutMS={SECRET}"),
        format!("mongodb+srv://me:{SECRET}@127.0.0.1/x"),
        format!("mongodb://me:{SECRET}@no-such-host.invalid/x"),
        format!("mongodb://me:{SECRET}@127.0.0.1:1/x"),
        format!("mongodb://me:{SECRET}@127.0.0.1:{port}/x"),
        format!("mongodb://127.0.0.1:{port}/x"),
        format!("mongodb://me:{SECRET}@{host}/x?authMechanism=SCRAM-SHA-1"),
    ];
    std::thread::scope(|all| {
        for uri in &uris {
            all.spawn(|| is_refused("serve", "MONGO_URI", &[("MONGO_URI", uri)]));
        }
        for command in ["worker", "migrate"] {
            let uri = &uris[6];
            all.spawn(move || is_refused(command, "MONGO_URI", &[("MONGO_URI", uri)]));
        }
    });
}

#[test]
fn an_invalid_redis_url_is_a_named_fault() {
    let uri = Mongo::shared().database();
    for url in [
        format!("http://me:{SECRET}@cache"),
        format!("redis://me:{SECRET}@cache:99999"),
        format!("redis://me:{SECRET}@cache/{SECRET}"),
    ] {
        for command in ["serve", "worker"] {
            let settings = [("MONGO_URI", &*uri), ("REDIS_URL", &*url)];
            is_refused(command, "REDIS_URL", &settings);
        }
    }
}

#[tokio::test]
async fn a_service_starts_without_redis_and_logs_it() {
    let home = tempfile::tempdir().expect("a directory");
    let uri = Mongo::shared().database();
    let url = format!("redis://me:{SECRET}@127.0.0.1:1/0");
    let settings = [("MONGO_URI", &*uri), ("REDIS_URL", &*url)];
    let begun = Instant::now();
    let service = Service::start(&home.path().join("data"), &settings).await;
    assert!(begun.elapsed() < START);
    let answer = http_client().get(format!("{}/ready", service.url)).send();
    let answer = answer.await.expect("answers");
    assert_eq!(answer.status(), 200);
    let body: Value = answer.json().await.expect("JSON");
    assert_eq!(body["status"], "degraded");
    assert_eq!(body["queue"]["kind"], "redis");
    assert_eq!(body["queue"]["ok"], false);
    assert_eq!(body["store"]["ok"], true);
    let log = service.log();
    assert!(
        log.contains("127.0.0.1:1/0") && log.contains("is unavailable"),
        "{log}"
    );
    assert!(!log.contains(SECRET), "{log}");
}

#[test]
fn migrate_names_the_store_and_is_repeatable() {
    let home = tempfile::tempdir().expect("a directory");
    let uri = Mongo::shared().database();
    for _ in 0..2 {
        let data = home.path().join("data");
        let (output, _) = ended(tallymill(&data, &[("MONGO_URI", &uri)]).arg("migrate"));
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(
            said.contains("the mongodb store is at the schema"),
            "{said}"
        );
    }
}
