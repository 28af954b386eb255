//! `/ready` follows what uploads need: it is 503 exactly while they would fail.

use std::{collections::HashMap, fs, path::Path};

use tallymill::{
    app::{App, Role},
    config::Config,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::helpers::{
    app::{Answer, TestApp},
    http_client,
    process::eventually,
};

const CSV: &str = "event_type,timestamp,user_id\nclick,2025-03-04,u1\n";

/// Waits until `/ready` has a status, and compares it with what happens to an upload.
async fn until_ready(app: &TestApp, status: u16, n: u32) -> serde_json::Value {
    let ready = eventually("another state of readiness", async || {
        let answer = app.get("/ready").await;
        (answer.status == status).then(|| answer.json())
    })
    .await;
    let csv = format!("{CSV}view,2025-03-04,u{n}\n");
    let upload = app.client.post(format!("{}/uploads", app.url));
    let upload = upload.header("content-type", "text/csv").body(csv).send();
    let stored = upload.await.expect("answers").status();
    assert_eq!(stored, if status == 200 { 201 } else { 503 });
    ready
}

async fn follows(app: &TestApp, n: u32, damage: impl Fn(&Path), repair: impl Fn(&Path)) {
    let dir = app.dir.path();
    damage(dir);
    let ready = until_ready(app, 503, n).await;
    assert_eq!(ready["status"], "unavailable");
    assert_eq!(
        ready["store"]["ok"],
        serde_json::Value::Bool(false),
        "{ready}"
    );
    repair(dir);
    let ready = until_ready(app, 200, n + 1).await;
    assert_eq!(
        (&ready["status"], &ready["scratch"]["ok"]),
        (&"ready".into(), &true.into())
    );
}

#[tokio::test]
async fn readiness_follows_the_data_directory() {
    let app = TestApp::start().await;
    until_ready(&app, 200, 1).await;
    // Deleted, and replaced by a file.
    let batches = |dir: &Path| dir.join("batches");
    follows(
        &app,
        2,
        |dir| fs::rename(batches(dir), dir.join("away")).expect("renames"),
        |dir| fs::rename(dir.join("away"), batches(dir)).expect("renames"),
    )
    .await;
    follows(
        &app,
        4,
        |dir| {
            fs::rename(batches(dir), dir.join("away")).expect("renames");
            fs::write(batches(dir), "").expect("writes");
        },
        |dir| {
            fs::remove_file(batches(dir)).expect("removes");
            fs::rename(dir.join("away"), batches(dir)).expect("renames");
        },
    )
    .await;
    // The complete directory.
    let (tmp, away) = (app.dir.path().join("tmp"), app.dir.path().join("away"));
    fs::rename(&tmp, &away).expect("renames");
    let ready = until_ready(&app, 503, 6).await;
    assert_eq!(ready["scratch"]["ok"], false);
    fs::rename(&away, &tmp).expect("renames");
    until_ready(&app, 200, 7).await;
    app.stop().await;
}

#[tokio::test]
async fn a_backlog_is_reported_and_the_service_stays_ready() {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = HashMap::from([
        ("DATA_DIR", dir.path().display().to_string()),
        ("PORT", "0".into()),
    ]);
    let config = Config::from_lookup(|name| settings.get(name).cloned()).expect("settings");
    let app = App::build(config, Role::NoWorker).await.expect("starts");
    let (url, stop, mut running) = (
        app.url().to_owned(),
        CancellationToken::new(),
        JoinSet::new(),
    );
    let until = stop.clone();
    running.spawn(async move { app.run(until).await.expect("ends well") });
    let client = http_client();
    let upload = client
        .post(format!("{url}/uploads"))
        .header("content-type", "text/csv");
    let batch = Answer::of(upload.body(CSV).send().await.expect("answers"))
        .await
        .json();
    let batch = batch["batch_id"].as_str().expect("an id");
    let process = client.post(format!("{url}/batches/{batch}/process"));
    assert_eq!(process.send().await.expect("answers").status(), 202);
    let db = rusqlite::Connection::open(dir.path().join("tallymill.db")).expect("opens");
    db.execute("UPDATE jobs SET run_at = 0", [])
        .expect("makes it old");

    let ready = eventually("a backlog", async || {
        let answer = client
            .get(format!("{url}/ready"))
            .send()
            .await
            .expect("answers");
        let ready = Answer::of(answer).await;
        assert_eq!(ready.status, 200, "{}", ready.text);
        let ready = ready.json();
        (ready["status"] == "degraded").then_some(ready)
    })
    .await;
    assert_eq!(ready["queue"]["unclaimed_job"], format!("process:{batch}"));
    stop.cancel();
    running
        .join_next()
        .await
        .expect("the service")
        .expect("no panic");
}

#[tokio::test]
async fn damage_that_sqlite_reports_ends_readiness() {
    let app = TestApp::start().await;
    let batch = app.uploaded("", CSV).await;
    until_ready(&app, 200, 2).await;
    // Page 1 stays: the database opens, and a query of a table fails.
    let path = app.dir.path().join("tallymill.db");
    let db = rusqlite::Connection::open(&path).expect("opens");
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .expect("checkpoints");
    let root: u64 = db
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'rejections'",
            [],
            |row| row.get(0),
        )
        .expect("a table");
    drop(db);
    let mut bytes = fs::read(&path).expect("reads");
    let at = (root as usize - 1) * 4_096;
    bytes[at..at + 100].fill(0xEE);
    // In place, since the service has the file open.
    use std::io::{Seek, SeekFrom, Write};
    let mut file = fs::File::options().write(true).open(&path).expect("opens");
    file.seek(SeekFrom::Start(at as u64)).expect("seeks");
    file.write_all(&bytes[at..at + 100]).expect("writes");
    let ready = eventually("damage", async || {
        app.get(&format!("/batches/{batch}/errors")).await;
        let answer = app.get("/ready").await;
        (answer.status == 503).then(|| answer.json())
    })
    .await;
    assert_eq!(ready["store"]["ok"], false);
    app.stop().await;
}
