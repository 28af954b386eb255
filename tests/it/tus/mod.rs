//! Resumable uploads over HTTP: a file sent in parts gives the same batch as one sent at once.

mod bounds;
mod died;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, stream};
use reqwest::{Body, Method};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::helpers::app::{Answer, TestApp};

const CHUNK: &str = "application/offset+octet-stream";

fn rows(count: usize) -> String {
    let head = "event_id,user_id,event_type,timestamp\n".to_owned();
    (0..count).fold(head, |csv, n| {
        let bad = if n % 50 == 7 { "never" } else { "2025-11-10" };
        csv + &format!("e{n},u{},click,{bad}\n", n % 40)
    })
}

/// Sends a request with the headers of the protocol.
async fn tus(
    app: &TestApp,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = app.request(method, path).header("Tus-Resumable", "1.0.0");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = Answer::of(request.body(body).send().await.expect("answers")).await;
    assert_eq!(answer.headers["tus-resumable"], "1.0.0", "{answer:?}");
    answer
}

fn metadata(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| format!("{name} {}", STANDARD.encode(value)))
        .collect();
    pairs.join(",")
}

/// Creates a transfer. Returns its path.
async fn create(app: &TestApp, length: usize, options: &[(&str, &str)]) -> String {
    let (length, metadata) = (length.to_string(), metadata(options));
    let headers = [("Upload-Length", &*length), ("Upload-Metadata", &*metadata)];
    let answer = tus(app, Method::POST, "/uploads/tus", &headers, "").await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    assert!(answer.headers.contains_key("upload-expires"));
    answer.headers["location"]
        .to_str()
        .expect("text")
        .to_owned()
}

async fn patch(app: &TestApp, at: &str, offset: usize, body: impl Into<Body>) -> Answer {
    let offset = offset.to_string();
    let headers = [("Upload-Offset", &*offset), ("Content-Type", CHUNK)];
    tus(app, Method::PATCH, at, &headers, body).await
}

async fn head(app: &TestApp, at: &str) -> Answer {
    tus(app, Method::HEAD, at, &[], "").await
}

fn offset(answer: &Answer) -> usize {
    let offset = answer.headers["upload-offset"].to_str().expect("text");
    offset.parse().expect("a number")
}

fn batch(answer: &Answer) -> String {
    let at = answer.headers["batch-location"].to_str().expect("text");
    at.strip_prefix("/batches/").expect("a batch").to_owned()
}

/// Awaits work that takes milliseconds, even if the machine is busy.
async fn soon<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(30), work).await;
    done.expect("ends in time")
}

async fn batches(app: &TestApp) -> usize {
    let list = app.get("/batches").await.json();
    list["data"].as_array().expect("a list").len()
}

#[tokio::test]
async fn an_interrupted_and_resumed_file_equals_one_sent_at_once() {
    let app = TestApp::start().await;
    // Several parts, but few rows.
    let note = "x".repeat(800);
    let csv = rows(10_000).replace('\n', &format!(",{note}\n"));
    let csv = csv.replacen(&note, "note", 1);
    let direct = app.upload("?source=a&name=a.csv", csv.clone()).await.json();
    let options = [
        ("filename", "a.csv"),
        ("source", "b"),
        ("filetype", "text/csv"),
    ];
    let at = create(&app, csv.len(), &options).await;
    let sent = csv.as_bytes()[..csv.len() * 6 / 10].to_vec();
    let (disconnect, disconnected) = tokio::sync::oneshot::channel::<()>();
    let broken = stream::iter([Ok(sent)]).chain(stream::once(async {
        // The connection breaks once the server has stored a part.
        drop(disconnected.await);
        Err(std::io::Error::other("the connection broke"))
    }));
    let broken = app
        .request(Method::PATCH, &at)
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Offset", "0")
        .header("Content-Type", CHUNK)
        .body(Body::wrap_stream(broken))
        .send();
    let breaking = async {
        while offset(&head(&app, &at).await) == 0 {}
        drop(disconnect);
    };
    let (cut, ()) = soon(futures_util::future::join(broken, breaking)).await;
    assert!(cut.is_err() || cut.is_ok_and(|answer| answer.status().is_client_error()));
    assert_eq!(batches(&app).await, 1, "an incomplete file is not visible");
    let last = soon(async {
        loop {
            let progress = head(&app, &at).await;
            assert_eq!(progress.headers["cache-control"], "no-store");
            assert_eq!(
                progress.headers["upload-length"],
                csv.len().to_string().as_str()
            );
            assert!((1..csv.len()).contains(&offset(&progress)), "{progress:?}");
            let rest = csv.as_bytes()[offset(&progress)..].to_vec();
            let last = patch(&app, &at, offset(&progress), rest).await;
            // The server may still have been storing the bytes of the first request.
            if last.status != 409 {
                break last;
            }
        }
    })
    .await;
    assert_eq!((last.status.as_u16(), offset(&last)), (204, csv.len()));
    let resumed = app.get(&format!("/batches/{}", batch(&last))).await.json();
    for same in [
        "received_count",
        "inserted_count",
        "failed_count",
        "blank_count",
        "errors_by_code",
        "errors",
        "file",
        "dialect",
        "columns",
        "event_time",
    ] {
        assert_eq!(resumed[same], direct[same], "{same}");
    }
    let sha256 = hex::encode(Sha256::digest(csv.as_bytes()));
    assert_eq!(resumed["file"]["sha256"], sha256.as_str());
    app.process(&batch(&last)).await;
    let (date, kind) = ("2025-11-10".to_owned(), "click".to_owned());
    assert_eq!(app.figures("").await, [(date, kind, 9_800, 40)]);
    app.stop().await;
}

#[tokio::test]
async fn the_outcome_of_a_complete_file_is_returned_again() {
    let app = TestApp::start().await;
    let csv = rows(20);
    let at = create(&app, csv.len(), &[("source", "a")]).await;
    let last = patch(&app, &at, 0, csv.clone()).await;
    assert_eq!(last.status, 204, "{}", last.text);
    let first = batch(&last);
    let again = head(&app, &at).await;
    assert_eq!((offset(&again), batch(&again)), (csv.len(), first.clone()));
    let again = patch(&app, &at, csv.len(), "").await;
    assert_eq!((again.status.as_u16(), batch(&again)), (204, first.clone()));
    assert_eq!(app.get(&at).await.json()["batch_id"], first.as_str());
    let copy = create(&app, csv.len(), &[("source", "a")]).await;
    let copied = patch(&app, &copy, 0, csv).await;
    assert_eq!(batch(&copied), first);
    assert_eq!(copied.headers["duplicate-of"], first.as_str());
    assert_eq!(batches(&app).await, 1);
    app.stop().await;
}

#[tokio::test]
async fn the_refusal_of_a_complete_file_is_returned_again() {
    let app = TestApp::start().await;
    let csv = "user_id,timestamp\nu,2025-11-10\n";
    let at = create(&app, csv.len(), &[]).await;
    let last = patch(&app, &at, 0, csv).await;
    assert_eq!(last.problem(), (422, "missing-columns".into()));
    for again in [patch(&app, &at, csv.len(), "").await, app.get(&at).await] {
        assert_eq!(again.problem(), (422, "missing-columns".into()));
        assert_eq!(again.json(), last.json());
    }
    assert_eq!(head(&app, &at).await.status, 422);
    assert_eq!(
        patch(&app, &at, 0, csv).await.problem().1,
        "offset-mismatch"
    );
    assert_eq!(batches(&app).await, 0);
    app.stop().await;
}

#[tokio::test]
async fn bytes_with_another_checksum_are_not_stored() {
    let app = TestApp::start().await;
    let csv = rows(30);
    let at = create(&app, csv.len(), &[]).await;
    let (first, second) = csv.split_at(500);
    let sha1 = |text: &str| STANDARD.encode(Sha1::digest(text));
    let sha256 = |text: &str| STANDARD.encode(Sha256::digest(text));
    let send = async |start: usize, text: &str, checksum: String| {
        let start = start.to_string();
        let headers = [
            ("Upload-Offset", &*start),
            ("Content-Type", CHUNK),
            ("Upload-Checksum", &*checksum),
        ];
        tus(&app, Method::PATCH, &at, &headers, text.to_owned()).await
    };
    let wrong = send(0, first, format!("sha1 {}", sha1("other"))).await;
    assert_eq!(wrong.problem(), (460, "checksum-mismatch".into()));
    for unknown in ["md5 XrY7u+Ae7tCTyyK7j1rNww==", "sha1", "sha1 ?"] {
        let refused = send(0, first, unknown.into()).await;
        assert_eq!(refused.problem(), (400, "bad-upload".into()));
    }
    assert_eq!(offset(&head(&app, &at).await), 0);
    let stored = send(0, first, format!("sha1 {}", sha1(first))).await;
    assert_eq!((stored.status.as_u16(), offset(&stored)), (204, 500));
    let wrong = send(500, second, format!("sha256 {}", sha256(first))).await;
    assert_eq!(wrong.status, 460);
    assert_eq!(offset(&head(&app, &at).await), 500);
    let stored = send(500, second, format!("sha256 {}", sha256(second))).await;
    assert_eq!(stored.status, 204, "{}", stored.text);
    let batch = app
        .get(&format!("/batches/{}", batch(&stored)))
        .await
        .json();
    assert_eq!(batch["received_count"], 30);
    app.stop().await;
}

#[tokio::test]
async fn one_of_several_concurrent_patches_at_an_offset_succeeds() {
    let app = TestApp::start().await;
    for round in 0..10 {
        let csv = rows(100 + round);
        let at = create(&app, csv.len(), &[]).await;
        let half = csv.len() / 2;
        for (start, part) in [(0, &csv[..half]), (half, &csv[half..])] {
            let sent = (0..3).map(|_| patch(&app, &at, start, part.to_owned()));
            let answers = futures_util::future::join_all(sent).await;
            let won = answers.iter().filter(|answer| answer.status == 204);
            assert_eq!(won.count(), 1, "{answers:?}");
            for lost in answers.iter().filter(|answer| answer.status != 204) {
                // Beside the first, or after it.
                match lost.problem() {
                    (423, code) => assert_eq!(code, "upload-busy"),
                    (status, code) => {
                        assert_eq!((status, &*code), (409, "offset-mismatch"));
                        assert_eq!(lost.json()["offset"], start + part.len());
                    }
                }
            }
        }
        let stored = app
            .get(&format!("/batches/{}", batch(&head(&app, &at).await)))
            .await;
        assert_eq!(stored.json()["received_count"], 100 + round);
    }
    app.stop().await;
}

#[tokio::test]
async fn transfers_continue_after_a_restart() {
    let app = TestApp::start().await;
    let csv = rows(200);
    let at = create(&app, csv.len(), &[("name", "a.csv")]).await;
    assert_eq!(
        patch(&app, &at, 0, csv[..1_000].to_owned()).await.status,
        204
    );
    let dir = app.stop().await;
    let app = TestApp::on(dir, &[]).await;
    assert_eq!(offset(&head(&app, &at).await), 1_000);
    let last = patch(&app, &at, 1_000, csv[1_000..].to_owned()).await;
    let stored = app.get(&format!("/batches/{}", batch(&last))).await.json();
    assert_eq!(stored["received_count"], 200);
    assert_eq!(stored["file"]["name"], "a.csv");
    app.stop().await;
}

#[tokio::test]
async fn termination_deletes_the_bytes_of_a_transfer() {
    let app = TestApp::start().await;
    let at = create(&app, 1_000, &[]).await;
    assert_eq!(patch(&app, &at, 0, rows(3)).await.status, 204);
    let terminated = tus(&app, Method::DELETE, &at, &[], "").await;
    assert_eq!(terminated.status, 204);
    assert_eq!(head(&app, &at).await.status, 404);
    let missing = (404, "upload-missing".to_owned());
    assert_eq!(patch(&app, &at, 0, "x").await.problem(), missing);
    assert_eq!(app.get(&at).await.problem(), missing);
    let again = tus(&app, Method::DELETE, &at, &[], "").await;
    assert_eq!(again.problem(), missing);
    let parts = std::fs::read_dir(app.dir.path().join("parts"));
    assert_eq!(parts.map_or(0, Iterator::count), 0);
    app.stop().await;
}

#[tokio::test]
async fn requests_must_follow_the_protocol() {
    let app = TestApp::with(&[("BODY_LIMIT_BYTES", "5000")]).await;
    let able = app.request(Method::OPTIONS, "/uploads/tus");
    let able = Answer::of(able.send().await.expect("answers")).await;
    assert_eq!(able.status, 204);
    for (name, value) in [
        ("tus-resumable", "1.0.0"),
        ("tus-version", "1.0.0"),
        ("tus-max-size", "5000"),
        ("tus-checksum-algorithm", "sha1,sha256"),
    ] {
        assert_eq!(able.headers[name], value);
    }
    let old = app
        .request(Method::POST, "/uploads/tus")
        .header("Tus-Resumable", "0.2.2");
    let old = Answer::of(
        old.header("Upload-Length", "5")
            .send()
            .await
            .expect("answers"),
    )
    .await;
    assert_eq!(old.problem(), (412, "unsupported-tus-version".into()));
    assert_eq!(old.headers["tus-version"], "1.0.0");
    for (headers, expected) in [
        (&[][..], (400, "bad-upload")),
        (&[("Upload-Length", "-1")], (400, "bad-upload")),
        (&[("Upload-Length", "5001")], (413, "too-large")),
        (&[("Upload-Defer-Length", "1")], (400, "bad-upload")),
        (
            &[("Upload-Length", "5"), ("Upload-Metadata", "source ?")],
            (400, "bad-upload"),
        ),
        (
            &[("Upload-Length", "5"), ("Upload-Metadata", "sauce eA==")],
            (400, "bad-option"),
        ),
        (
            &[
                ("Upload-Length", "5"),
                ("Upload-Metadata", "dry_run dHJ1ZQ=="),
            ],
            (400, "bad-option"),
        ),
    ] {
        let refused = tus(&app, Method::POST, "/uploads/tus", headers, "").await;
        let (status, code) = refused.problem();
        assert_eq!((status, &*code), expected, "{headers:?}");
    }
    let at = create(&app, 10, &[]).await;
    let plain = [("Upload-Offset", "0"), ("Content-Type", "text/csv")];
    let plain = tus(&app, Method::PATCH, &at, &plain, "x").await;
    assert_eq!(plain.problem(), (415, "unsupported-type".into()));
    assert_eq!(
        patch(&app, &at, 1, "x").await.problem(),
        (409, "offset-mismatch".into())
    );
    let much = patch(&app, &at, 0, "more than ten bytes").await;
    assert_eq!(much.problem(), (400, "bad-upload".into()));
    let headers = [
        ("Upload-Offset", "0"),
        ("Content-Type", CHUNK),
        ("X-HTTP-Method-Override", "PATCH"),
    ];
    let posted = tus(&app, Method::POST, &at, &headers, "abc").await;
    assert_eq!((posted.status.as_u16(), offset(&posted)), (204, 3));
    let unknown = "/uploads/tus/01a1faf9-1753-78e0-a8f6-49c3dc141d6f";
    assert_eq!(head(&app, unknown).await.status, 404);
    assert_eq!(head(&app, "/uploads/tus/17").await.status, 400);
    app.stop().await;
}

#[tokio::test]
async fn a_creation_may_contain_some_or_all_bytes() {
    let app = TestApp::start().await;
    let csv = rows(10);
    let length = csv.len().to_string();
    let headers = [("Upload-Length", &*length), ("Content-Type", CHUNK)];
    let part = tus(
        &app,
        Method::POST,
        "/uploads/tus",
        &headers,
        csv[..9].to_owned(),
    )
    .await;
    assert_eq!((part.status.as_u16(), offset(&part)), (201, 9));
    assert!(!part.headers.contains_key("batch-location"));
    let all = tus(&app, Method::POST, "/uploads/tus", &headers, csv.clone()).await;
    assert_eq!((all.status.as_u16(), offset(&all)), (201, csv.len()));
    let stored = app.get(&format!("/batches/{}", batch(&all))).await.json();
    assert_eq!(stored["received_count"], 10);
    let refused = [("Upload-Length", "3"), ("Content-Type", CHUNK)];
    let refused = tus(&app, Method::POST, "/uploads/tus", &refused, "a,b").await;
    assert_eq!(refused.status, 422, "{}", refused.text);
    app.stop().await;
}

#[tokio::test]
async fn a_creation_counts_against_the_upload_limit() {
    let app = TestApp::with(&[("UPLOAD_LIMIT", "1"), ("UPLOAD_WINDOW_SECONDS", "3600")]).await;
    let at = create(&app, rows(2).len(), &[]).await;
    let headers = [("Upload-Length", "5")];
    let limited = tus(&app, Method::POST, "/uploads/tus", &headers, "").await;
    assert_eq!(limited.problem(), (429, "rate-limited".into()));
    assert_eq!(patch(&app, &at, 0, rows(2)).await.status, 204);
    app.stop().await;
}
