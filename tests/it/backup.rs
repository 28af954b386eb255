//! Backup under load and restore elsewhere: the restored service is the original one at one point in time. Kills leave no
//! half backup that looks complete.

use std::{
    fs,
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::helpers::{
    http_client,
    process::{Service, eventually, tallymill},
    sample::{Figures, Random, Sample, batches, figures, oracle},
};

/// Files that a load uploads; every third is deleted again.
const FILES: u64 = 60;
/// Kills in an ordinary run.
const KILLS: u64 = 5;

fn run(data: &Path, arguments: &[&str]) -> Output {
    let output = tallymill(data, &[]).args(arguments).output();
    output.expect("runs")
}

fn succeed(data: &Path, arguments: &[&str]) -> String {
    let output = run(data, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        text(&output.stderr)
    );
    text(&output.stdout)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// Uploads, processes and deletes files, one after the other, until the server is gone.
async fn load(client: Client, url: String, files: Vec<Sample>) {
    for (n, file) in (1..).zip(files) {
        let upload = client.post(format!("{url}/uploads?name={}", file.name));
        let upload = upload.header("content-type", "text/csv").body(file.csv);
        let Ok(reply) = upload.send().await else {
            return;
        };
        let Ok(reply) = reply.json::<Value>().await else {
            return;
        };
        let batch = format!(
            "{url}/batches/{}",
            reply["batch_id"].as_str().expect("an id")
        );
        if client
            .post(format!("{batch}/process"))
            .send()
            .await
            .is_err()
        {
            return;
        }
        if n % 3 == 0 && client.delete(&batch).send().await.is_err() {
            return;
        }
    }
}

/// Processes what a restored service has, and compares its figures with a plain pass over its files.
async fn is_consistent(data: &Path, files: &[Sample]) -> Figures {
    assert!(succeed(data, &["check"]).contains(" 0 faults, 0 orphaned files"));
    let (client, service) = (http_client(), Service::start(data, &[]).await);
    let url = &service.url;
    let shown = eventually("a batch for each file, completed", async || {
        let shown = batches(&client, url).await;
        let live = |batch: &&Value| batch["status"] != "deleted";
        let live: Vec<Value> = shown.iter().filter(live).cloned().collect();
        for batch in live.iter().filter(|batch| batch["status"] == "uploaded") {
            let process = format!("{url}/batches/{}/process", batch["batch_id"].as_str()?);
            client.post(process).send().await.expect("answers");
        }
        let done = live.iter().all(|batch| batch["status"] == "completed");
        done.then_some(live)
    })
    .await;
    let name = |batch: &Value| batch["file"]["name"].as_str().expect("a name").to_owned();
    let names: Vec<_> = shown.iter().map(name).collect();
    let held = files.iter().filter(|file| names.contains(&file.name));
    let expected = oracle(held);
    eventually("current figures", async || {
        (figures(&client, url).await == expected).then_some(())
    })
    .await;
    expected
}

#[tokio::test]
async fn a_backup_under_load_is_one_point_in_time() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let service = Service::start(&data, &[]).await;
    let mut random = Random(11);
    let files: Vec<_> = (0..FILES)
        .map(|n| Sample::new(n, 200 + n, 3_000, &mut random))
        .collect();
    let mut clients = JoinSet::new();
    for share in files.chunks(FILES as usize / 3) {
        clients.spawn(load(http_client(), service.url.clone(), share.to_vec()));
    }
    let mut restored = 0;
    for n in 0..3 {
        let enough = restored * 4;
        eventually("some batches", async || {
            (batches(&http_client(), &service.url).await.len() >= enough).then_some(())
        })
        .await;
        let (to, elsewhere) = (
            home.path().join(format!("backup-{n}")),
            home.path().join(format!("data-{n}")),
        );
        // A slash at the end changes nothing.
        succeed(&data, &["backup", &format!("{}/", text(&to))]);
        assert_eq!(
            run(&data, &["backup", text(&to)]).status.code(),
            Some(2),
            "it exists"
        );
        succeed(&elsewhere, &["restore", text(&to)]);
        restored += 1;
    }
    service.kill();
    while let Some(client) = clients.join_next().await {
        client.expect("no panic");
    }
    for n in 0..restored {
        is_consistent(&home.path().join(format!("data-{n}")), &files).await;
    }
    // The original is as well as ever, and is not overwritten.
    let refused = run(&data, &["restore", text(&home.path().join("backup-0"))]);
    assert_eq!(refused.status.code(), Some(2));
    is_consistent(&data, &files).await;
}

#[tokio::test]
async fn a_killed_backup_never_looks_complete() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, to) = (home.path().join("data"), home.path().join("backup"));
    let mut random = Random(12);
    let files: Vec<_> = (0..20)
        .map(|n| Sample::new(n, 300, 3_000, &mut random))
        .collect();
    let service = Service::start(&data, &[]).await;
    load(http_client(), service.url.clone(), files.clone()).await;
    service.kill();
    let kills = std::env::vars().find(|(name, _)| name == "TALLYMILL_KILLS");
    let kills = kills.map_or(KILLS, |(_, kills)| kills.parse().expect("a number"));
    let mut unfinished = 0;
    for _ in 0..kills {
        let mut backup = tallymill(&data, &[]);
        let backup = backup.args(["backup", text(&to)]).stdout(Stdio::null());
        let mut backup = backup.spawn().expect("starts");
        tokio::time::sleep(Duration::from_millis(random.below(20))).await;
        backup.kill().expect("kills");
        backup.wait().expect("ends");
        if to.exists() {
            fs::remove_dir_all(&to).expect("removes");
        } else {
            unfinished += 1;
            assert_eq!(
                run(&home.path().join("new"), &["restore", text(&to)])
                    .status
                    .code(),
                Some(2)
            );
        }
    }
    println!("{unfinished} of {kills} backups were killed before their end");
    succeed(&data, &["backup", text(&to)]);
    let elsewhere = home.path().join("elsewhere");
    succeed(&elsewhere, &["restore", text(&to)]);
    is_consistent(&elsewhere, &files).await;
}

#[tokio::test]
async fn a_lost_database_and_a_left_over_log_are_refused() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, to) = (home.path().join("data"), home.path().join("backup"));
    let service = Service::start(&data, &[]).await;
    let file = Sample::new(1, 50, 100, &mut Random(1));
    load(http_client(), service.url.clone(), vec![file.clone()]).await;
    // A second process is refused even if the lock file is deleted.
    fs::remove_file(data.join("tallymill.lock")).expect("removes");
    let second = run(&data, &["serve"]);
    assert_eq!(second.status.code(), Some(2));
    assert!(
        String::from_utf8_lossy(&second.stderr).contains("is in use"),
        "{second:?}"
    );
    service.kill();
    succeed(&data, &["backup", text(&to)]);
    let database = data.join("tallymill.db");
    for lost in [true, false] {
        fs::remove_file(&database).expect("removes");
        if !lost {
            fs::write(&database, "").expect("writes");
        }
        let refused = run(&data, &["serve"]);
        assert_eq!(refused.status.code(), Some(2));
        let why = String::from_utf8_lossy(&refused.stderr);
        assert!(why.contains("tallymill restore"), "{why}");
        if lost {
            // What a crash left of the old store must not be replayed onto the backup.
            fs::write(data.join("tallymill.db-wal"), "old").expect("writes");
            let refused = run(&data, &["restore", text(&to)]);
            assert_eq!(refused.status.code(), Some(2));
            fs::remove_file(data.join("tallymill.db-wal")).expect("removes");
            succeed(&data, &["restore", text(&to)]);
        }
    }
    fs::remove_file(&database).expect("removes");
    succeed(&data, &["restore", text(&to)]);
    is_consistent(&data, &[file]).await;
    // A damaged file and a damaged document are named.
    let db = rusqlite::Connection::open(&database).expect("opens");
    db.execute("UPDATE jobs SET doc = 'rot' WHERE kind = 'process'", [])
        .expect("damages");
    drop(db);
    let events = fs::read_dir(data.join("batches"))
        .expect("a directory")
        .next();
    let events = events.expect("a file").expect("a name").path();
    fs::write(&events, "PAR1").expect("writes");
    let checked = run(&data, &["check"]);
    assert_eq!(checked.status.code(), Some(1));
    let faults = String::from_utf8_lossy(&checked.stdout);
    assert!(faults.contains(".parquet is damaged"), "{faults}");
    assert!(faults.contains("of `jobs` can't be decoded"), "{faults}");
}

#[test]
fn a_directory_that_only_has_the_name_of_an_unfinished_backup_stays() {
    let home = tempfile::tempdir().expect("a directory");
    let (data, to) = (home.path().join("data"), home.path().join("backup"));
    succeed(&data, &["migrate"]);
    let unfinished = home.path().join("backup.unfinished");
    fs::create_dir_all(unfinished.join("batches")).expect("creates");
    fs::write(unfinished.join("notes.txt"), "mine").expect("writes");
    let refused = run(&data, &["backup", text(&to)]);
    assert_eq!(refused.status.code(), Some(2));
    let why = String::from_utf8_lossy(&refused.stderr);
    assert!(why.contains("notes.txt"), "{why}");
    fs::remove_file(unfinished.join("notes.txt")).expect("is still there");
    succeed(&data, &["backup", text(&to)]);
    assert!(!unfinished.exists() && to.exists());
}
