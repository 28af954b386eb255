//! Kills the real binary during uploads and jobs, repeatedly: no half-done batch is visible, no accepted file is lost,
//! and the figures equal one undisturbed pass over the files.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Client};
use serde_json::Value;
use tokio::{sync::mpsc, task::JoinSet};

use crate::helpers::{
    http_client,
    process::{Service, eventually, tallymill},
    sample::{Random, Sample, batches, figures, json, oracle},
};

/// Kills in an ordinary run.
const KILLS: u64 = 5;
/// Clients, and files that each sends, one after the other.
const CLIENTS: usize = 4;
const EACH: usize = 5;
/// Events that files draw from; they overlap.
const EVENTS: u64 = 6_000;
/// Longest life of a server, in milliseconds.
const LIFE: u64 = 600;

/// The state of a file as its sender knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    New,
    Uploaded(String),
    Asked(String),
}

/// A file and its state.
#[derive(Clone, Debug)]
struct Sent {
    file: Sample,
    begun: bool,
    step: Step,
}

impl Sent {
    fn new(number: u64, random: &mut Random) -> Self {
        let rows = 50 + random.below(2_500);
        Self {
            file: Sample::new(number, rows, EVENTS, random),
            begun: false,
            step: Step::New,
        }
    }

    fn is_asked(&self) -> bool {
        matches!(self.step, Step::Asked(_))
    }

    /// Uploads and processes the file, until the server is killed.
    async fn push(mut self, client: Client, url: String) -> Self {
        self.begun = true;
        if self.step == Step::New {
            let sent = client
                .post(format!("{url}/uploads?name={}", self.file.name))
                .header("content-type", "text/csv")
                .body(slowly(self.file.csv.clone()))
                .send()
                .await;
            let Ok(answer) = sent else { return self };
            // 200: it had been stored, only the answer was lost.
            let status = answer.status().as_u16();
            let Ok(body) = answer.json::<Value>().await else {
                return self;
            };
            assert!(matches!(status, 200 | 201), "{status}: {body}");
            self.step = Step::Uploaded(body["batch_id"].as_str().expect("an id").into());
        }
        if let Step::Uploaded(batch) = &self.step {
            let sent = client.post(format!("{url}/batches/{batch}/process")).send();
            let Ok(answer) = sent.await else { return self };
            assert_eq!(answer.status(), 202);
            self.step = Step::Asked(batch.clone());
        }
        self
    }
}

/// Sends one file after the other until the server is killed.
async fn push_all(mut files: Vec<Sent>, client: Client, url: String) -> Vec<Sent> {
    for file in &mut files {
        *file = file.clone().push(client.clone(), url.clone()).await;
        if !file.is_asked() {
            break;
        }
    }
    files
}

/// Returns a body in delayed chunks, so that a kill hits a running upload.
fn slowly(csv: String) -> Body {
    let chunks: Vec<Bytes> = csv
        .as_bytes()
        .chunks(2 << 10)
        .map(Bytes::copy_from_slice)
        .collect();
    Body::wrap_stream(stream::unfold(chunks.into_iter(), |mut chunks| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        let chunk = chunks.next()?;
        Some((Ok::<_, std::convert::Infallible>(chunk), chunks))
    }))
}

fn names(dir: &Path) -> BTreeSet<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a directory");
    entries.map(|entry| entry.expect("a name").path()).collect()
}

/// Asserts that every visible batch is a complete file of a client.
fn all_are_whole(batches: &[Value], files: &[Sent]) {
    for batch in batches {
        let name = &batch["file"]["name"];
        let file = files.iter().find(|file| name == &file.file.name);
        let file = file.unwrap_or_else(|| panic!("no client sent {name}: {batch}"));
        assert_eq!(batch["received_count"], file.file.received, "{batch}");
        assert_eq!(batch["inserted_count"], file.file.inserted, "{batch}");
        assert_ne!(batch["status"], "receiving");
    }
    for file in files {
        if let Step::Uploaded(id) | Step::Asked(id) = &file.step {
            let held = batches.iter().filter(|batch| batch["batch_id"] == **id);
            assert_eq!(
                held.count(),
                1,
                "{} was acknowledged as {id}",
                file.file.name
            );
        }
    }
}

fn kills() -> u64 {
    match std::env::var_os("TALLYMILL_KILLS") {
        None => KILLS,
        Some(text) => text
            .to_str()
            .and_then(|text| text.parse().ok())
            .expect("TALLYMILL_KILLS is a number"),
    }
}

#[tokio::test]
async fn repeated_kills_lose_and_expose_nothing() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let (client, mut random) = (http_client(), Random(20_251_110));
    let mut files: Vec<Sent> = Vec::new();
    let mut left = BTreeSet::new();
    let (mut uploads, mut jobs) = (0, 0);
    // On a busy machine a kill may come before there is anything to cut short.
    for round in 0..kills() * 10 {
        if round >= kills() && uploads > 0 && jobs > 0 {
            break;
        }
        let service = Service::start(&data, &[]).await;
        assert!(
            names(&data.join("tmp")).is_disjoint(&left),
            "what an unfinished upload left is removed at the start"
        );
        let shown = batches(&client, &service.url).await;
        all_are_whole(&shown, &files);
        let cut_short =
            |batch: &&Value| batch["status"] == "queued" || batch["status"] == "processing";
        jobs += shown.iter().filter(cut_short).count();
        let (mut waiting, asked): (Vec<_>, Vec<_>) =
            files.drain(..).partition(|file| !file.is_asked());
        files = asked;
        while waiting.len() < CLIENTS * EACH {
            waiting.push(Sent::new((files.len() + waiting.len()) as u64, &mut random));
        }
        let mut under_way = JoinSet::new();
        for share in waiting.chunks(EACH) {
            under_way.spawn(push_all(
                share.to_vec(),
                client.clone(),
                service.url.clone(),
            ));
        }
        tokio::time::sleep(Duration::from_millis(random.below(LIFE))).await;
        service.kill();
        while let Some(share) = under_way.join_next().await {
            let share = share.expect("no panic");
            uploads += share
                .iter()
                .filter(|file| file.begun && !file.is_asked())
                .count();
            files.extend(share);
        }
        left = names(&data.join("tmp"));
    }
    assert!(uploads > 0 && jobs > 0, "no kill came in time");

    let service = Service::start(&data, &[]).await;
    let url = &service.url;
    for file in &files {
        if let Step::Asked(batch) = &file.step {
            eventually(
                "an accepted job completed without asking again",
                async || {
                    let found = json(&client, &format!("{url}/batches/{batch}")).await;
                    assert_ne!(found["status"], "failed", "{found}");
                    (found["status"] == "completed").then_some(())
                },
            )
            .await;
        }
    }
    for file in &mut files {
        *file = file.clone().push(client.clone(), url.clone()).await;
        assert!(file.is_asked(), "{} is taken", file.file.name);
    }
    let shown = eventually("every batch completed", async || {
        let shown = batches(&client, url).await;
        shown
            .iter()
            .all(|batch| batch["status"] == "completed")
            .then_some(shown)
    })
    .await;
    all_are_whole(&shown, &files);
    assert_eq!(shown.len(), files.len(), "one batch a file");
    assert_eq!(
        figures(&client, url).await,
        oracle(files.iter().map(|sent| &sent.file))
    );
    let held: BTreeSet<PathBuf> = shown
        .iter()
        .map(|batch| batch["batch_id"].as_str().expect("an id"))
        .map(|id| data.join("batches").join(format!("{id}.parquet")))
        .collect();
    eventually("no file without a batch", async || {
        (names(&data.join("batches")) == held).then_some(())
    })
    .await;
    assert_eq!(names(&data.join("tmp")), BTreeSet::new());
}

#[tokio::test]
async fn a_stop_under_load_finishes_running_uploads() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let mut service = Service::start(&data, &[("SHUTDOWN_SECONDS", "20")]).await;
    let url = service.url.clone();
    let mut uploads = JoinSet::new();
    let mut senders = Vec::new();
    for n in 0..4 {
        let (sender, chunks) = mpsc::channel::<Bytes>(1);
        let body = Body::wrap_stream(stream::unfold(chunks, |mut chunks| async {
            let chunk = chunks.recv().await?;
            Some((Ok::<_, std::convert::Infallible>(chunk), chunks))
        }));
        let request = http_client()
            .post(format!("{url}/uploads"))
            .header("content-type", "text/csv")
            .body(body);
        uploads.spawn(async move { request.send().await.map(|answer| answer.status().as_u16()) });
        let head = format!("user_id,event_type,timestamp\nu{n},login,2025-11-10\n");
        let rows = "u,login,2025-11-10\n".repeat(20_000);
        for chunk in [head, rows] {
            sender.send(chunk.into()).await.expect("received");
        }
        senders.push(sender);
    }
    eventually("four uploads being stored", async || {
        (names(&data.join("tmp")).len() == 4).then_some(())
    })
    .await;
    service.terminate();
    let (_, address) = url.split_once("//").expect("an address");
    eventually("no more connections taken", async || {
        std::net::TcpStream::connect(address).is_err().then_some(())
    })
    .await;
    for sender in senders {
        let last = "u,logout,2025-11-11\n".into();
        sender.send(last).await.expect("received");
    }
    while let Some(status) = uploads.join_next().await {
        assert_eq!(status.expect("no panic").ok(), Some(201));
    }
    assert_eq!(service.ended().await.code(), Some(0), "{}", service.log());
    let log = service.log();
    assert!(!log.contains("was cut short"), "{log}");

    let again = Service::start(&data, &[]).await;
    let kept = batches(&http_client(), &again.url).await;
    assert_eq!(kept.len(), 4);
    for batch in kept {
        assert_eq!(batch["inserted_count"], 20_002, "{batch}");
    }
}

#[tokio::test]
async fn a_second_server_on_a_directory_is_refused_by_name() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let service = Service::start(&data, &[]).await;
    let second = tallymill(&data, &[]).output().expect("runs");
    assert_eq!(second.status.code(), Some(2));
    let why = String::from_utf8_lossy(&second.stderr);
    let pid = format!("process {}", service.child.id());
    assert!(why.contains(&pid) && why.contains(&service.url), "{why}");
    assert!(why.contains("DATA_DIR"), "{why}");
}
