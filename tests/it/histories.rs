//! Random histories over HTTP: several clients upload in every way, process, force and delete, while the server is killed
//! and started again. Once all is quiet, the figures equal a plain oracle over the live batches, and nothing that was
//! acknowledged is lost. `TALLYMILL_HISTORIES=N` runs N of them on each store, `TALLYMILL_HISTORY=S` replays the choices
//! of one; `tests/long histories` runs a thousand.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::helpers::{
    http_client,
    mongo::Mongo,
    process::{Service, eventually},
    sample::{Random, Sample, batches, figures, json, oracle},
    servers::shared_redis,
};

/// Histories of an ordinary run.
const HISTORIES: u64 = 20;
const CLIENTS: u64 = 3;
/// Requests of each client.
const REQUESTS: u64 = 14;
/// Files that a history has, and the events that they draw from.
const FILES: u64 = 8;
const EVENTS: u64 = 60;
/// Longest life of a server, in milliseconds.
const LIFE: u64 = 400;

/// What clients know together.
struct World {
    files: Vec<Sample>,
    /// The URL of the server that runs now.
    url: Mutex<String>,
    /// The batches that a server acknowledged, each with its file, and whether a client asked to delete it.
    batches: Mutex<BTreeMap<String, Known>>,
}

#[derive(Clone)]
struct Known {
    file: usize,
    deleted: bool,
}

impl World {
    fn url(&self) -> String {
        self.url.lock().expect("no panics").clone()
    }

    fn pick(&self, random: &mut Random) -> Option<String> {
        let batches = self.batches.lock().expect("no panics");
        let count = batches.len() as u64;
        let at = (count > 0).then(|| random.below(count) as usize)?;
        batches.keys().nth(at).cloned()
    }

    /// Records a request to delete a batch: even if its reply is lost, the batch may be deleted.
    fn mark_deleted(&self, batch: &str) {
        let mut batches = self.batches.lock().expect("no panics");
        batches.get_mut(batch).expect("is known").deleted = true;
    }

    fn acknowledge(&self, reply: &Value, file: usize) {
        let id = reply["batch_id"].as_str().expect("an id").to_owned();
        let known = Known {
            file,
            deleted: false,
        };
        self.batches
            .lock()
            .expect("no panics")
            .entry(id)
            .or_insert(known);
    }
}

/// Sends a request. Returns no reply if the server was killed meanwhile.
async fn send(request: RequestBuilder, allowed: &[u16]) -> Option<(StatusCode, Value)> {
    let reply = request.send().await.ok()?;
    let status = reply.status();
    let body = reply.text().await.ok()?;
    assert!(allowed.contains(&status.as_u16()), "{status}: {body}");
    Some((status, serde_json::from_str(&body).unwrap_or_default()))
}

/// Uploads a file in one of the ways.
async fn upload(world: &World, client: &Client, random: &mut Random) {
    let at = random.below(FILES) as usize;
    let (file, url) = (world.files[at].clone(), world.url());
    let target = format!("{url}/uploads?name={}", file.name);
    let csv = || client.post(&target).header("content-type", "text/csv");
    let request = match random.below(5) {
        0 => csv().body(file.csv),
        1 => {
            let part = reqwest::multipart::Part::text(file.csv).file_name(file.name);
            let form = reqwest::multipart::Form::new().part("file", part);
            client.post(format!("{url}/uploads")).multipart(form)
        }
        2 => {
            let mut packed = zstd::Encoder::new(Vec::new(), 1).expect("an encoder");
            std::io::Write::write_all(&mut packed, file.csv.as_bytes()).expect("packs");
            csv()
                .header("content-encoding", "zstd")
                .body(packed.finish().expect("packs"))
        }
        3 => csv()
            .header("idempotency-key", format!("file-{at}"))
            .body(file.csv),
        _ => return resumable(world, client, at).await,
    };
    // 409: the same key is in use; 503: the outcome of an identical upload is not known yet.
    if let Some((status, reply)) = send(request, &[200, 201, 409, 503]).await
        && status.is_success()
    {
        world.acknowledge(&reply, at);
    }
}

/// Uploads a file in two parts by the tus protocol.
async fn resumable(world: &World, client: &Client, at: usize) {
    let (file, url) = (&world.files[at], world.url());
    let tus = |request: RequestBuilder| request.header("Tus-Resumable", "1.0.0");
    let created = tus(client.post(format!("{url}/uploads/tus")))
        .header("Upload-Length", file.csv.len())
        .header(
            "Upload-Metadata",
            format!("filename {}", STANDARD.encode(&file.name)),
        );
    let Ok(created) = created.send().await else {
        return;
    };
    assert_eq!(created.status(), 201);
    let location = created.headers()["location"]
        .to_str()
        .expect("text")
        .to_owned();
    let half = file.csv.len() / 2;
    for (offset, part) in [(0, &file.csv[..half]), (half, &file.csv[half..])] {
        let request = tus(client.patch(format!("{url}{location}")))
            .header("Upload-Offset", offset)
            .header("content-type", "application/offset+octet-stream")
            .body(part.to_owned());
        let Some((status, _)) = send(request, &[204, 409, 503]).await else {
            return;
        };
        if !status.is_success() {
            return;
        }
    }
}

/// Sends one request of a client.
async fn act(world: &World, client: &Client, random: &mut Random) {
    let choice = random.below(100);
    let Some(batch) = world.pick(random).filter(|_| choice >= 40) else {
        return upload(world, client, random).await;
    };
    let batch_url = format!("{}/batches/{batch}", world.url());
    match choice {
        40..80 => {
            let force = random.below(4) == 0;
            let mut request = client.post(format!("{batch_url}/process?force={force}"));
            if random.below(2) == 0 {
                request = request.header("idempotency-key", format!("{batch}-{force}"));
            }
            send(request, &[202, 409, 410, 503]).await;
        }
        80..90 => {
            world.mark_deleted(&batch);
            send(client.delete(batch_url), &[202, 410, 503]).await;
        }
        _ => {
            for path in ["events?limit=5", "errors", "errors.csv"] {
                send(client.get(format!("{batch_url}/{path}")), &[200, 410, 503]).await;
            }
            send(client.get(format!("{}/metrics", world.url())), &[200, 503]).await;
        }
    }
}

/// Runs one history.
async fn history(seed: u64, data: &Path, settings: &[(&str, &str)]) {
    let mut random = Random(seed);
    let files = (0..FILES).map(|n| Sample::new(n, 5 + n, EVENTS, &mut random));
    let mut service = Service::start(data, settings).await;
    let world = Arc::new(World {
        files: files.collect(),
        url: Mutex::new(service.url.clone()),
        batches: Mutex::default(),
    });
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let (world, mut random) = (Arc::clone(&world), Random(seed * 1_000 + n));
        clients.spawn(async move {
            let client = http_client();
            for _ in 0..REQUESTS {
                act(&world, &client, &mut random).await;
            }
        });
    }
    for _ in 0..random.below(3) {
        tokio::time::sleep(Duration::from_millis(random.below(LIFE))).await;
        service.kill();
        service = Service::start(data, settings).await;
        *world.url.lock().expect("no panics") = service.url.clone();
    }
    while let Some(client) = clients.join_next().await {
        client.expect("no panic");
    }
    is_consistent(&world, &service.url, seed).await;
}

async fn is_consistent(world: &World, url: &str, seed: u64) {
    let client = http_client();
    let shown = eventually("every batch completed or deleted", async || {
        let shown = batches(&client, url).await;
        for batch in shown.iter().filter(|batch| batch["status"] == "uploaded") {
            let id = batch["batch_id"].as_str()?;
            let process = client.post(format!("{url}/batches/{id}/process"));
            send(process, &[202, 410]).await?;
        }
        let quiet =
            |batch: &Value| matches!(batch["status"].as_str(), Some("completed" | "deleted"));
        shown.iter().all(quiet).then_some(shown)
    })
    .await;
    let known = world.batches.lock().expect("no panics").clone();
    for (id, known) in &known {
        let batch = shown.iter().find(|batch| batch["batch_id"] == **id);
        let batch = batch.unwrap_or_else(|| panic!("seed {seed}: {id} was acknowledged"));
        assert!(
            known.deleted || batch["status"] == "completed",
            "seed {seed}: nobody deleted {batch}"
        );
        assert_eq!(batch["received_count"], world.files[known.file].received);
    }
    let live: Vec<_> = shown
        .iter()
        .filter(|batch| batch["status"] == "completed")
        .collect();
    for batch in &live {
        let detail = format!(
            "{url}/batches/{}",
            batch["batch_id"].as_str().expect("an id")
        );
        let detail = json(&client, &detail).await;
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{detail}"));
        let sum: u64 = ["counted", "duplicate", "conflict"]
            .iter()
            .map(|name| number(&detail["published"][name]))
            .sum();
        assert_eq!(
            sum,
            number(&detail["inserted_count"]),
            "seed {seed}: {detail}"
        );
    }
    let named = |sample: &&Sample| {
        live.iter()
            .any(|batch| batch["file"]["name"] == sample.name)
    };
    let expected = oracle(world.files.iter().filter(named));
    eventually("figures that equal the oracle", async || {
        (figures(&client, url).await == expected).then_some(())
    })
    .await;
}

fn number(name: &str) -> Option<u64> {
    let value = std::env::vars().find(|(key, _)| key == name);
    value.map(|(_, value)| value.parse().expect("a number"))
}

fn seeds() -> std::ops::Range<u64> {
    match number("TALLYMILL_HISTORY") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TALLYMILL_HISTORIES").unwrap_or(HISTORIES),
    }
}

#[tokio::test]
async fn random_histories_equal_the_oracle() {
    for seed in seeds() {
        let home = tempfile::tempdir().expect("a directory");
        history(seed, &home.path().join("data"), &[]).await;
    }
}

#[tokio::test]
async fn random_histories_over_mongodb_equal_the_oracle() {
    for seed in seeds() {
        let home = tempfile::tempdir().expect("a directory");
        let uri = Mongo::shared().database();
        let settings = [
            ("MONGO_URI", &*uri),
            ("REDIS_URL", shared_redis()),
            ("JOB_LEASE_SECONDS", "2"),
        ];
        history(seed, &home.path().join("data"), &settings).await;
    }
}
