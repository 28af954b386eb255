//! The life of a real process: signals, draining, its health file, and secrets from files.

use std::{path::Path, process::Stdio};

use reqwest::Client;
use serde_json::Value;

use crate::helpers::{
    http_client,
    mongo::Mongo,
    process::{Service, eventually, tallymill},
    sample::json,
};

const CSV: &str = "event_type,timestamp,user_id\nclick,2025-03-04T05:06:07Z,u1\n";

async fn ready(client: &Client, service: &Service) -> (u16, Value) {
    let answer = client.get(format!("{}/ready", service.url)).send().await;
    let answer = answer.expect("answers");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn upload(client: &Client, service: &Service) -> u16 {
    let request = client.post(format!("{}/uploads", service.url));
    let request = request.header("content-type", "text/csv").body(CSV);
    request.send().await.expect("answers").status().as_u16()
}

#[tokio::test]
async fn a_draining_service_serves_until_the_listener_closes() {
    let home = tempfile::tempdir().expect("a directory");
    let settings = [("DRAIN_SECONDS", "3600")];
    let mut service = Service::start(&home.path().join("data"), &settings).await;
    assert_eq!(ready(&http_client(), &service).await.0, 200);
    service.terminate();
    eventually("a service that drains", async || {
        // A client of its own: the listener still accepts connections.
        let (status, body) = ready(&http_client(), &service).await;
        (status == 503).then(|| assert_eq!(body["status"], "draining"))
    })
    .await;
    assert_eq!(upload(&http_client(), &service).await, 201);
    let url = format!("{}/health", service.url);
    assert_eq!(json(&http_client(), &url).await["status"], "ok");
    service.terminate();
    let status = service.ended().await;
    assert_eq!(status.code(), Some(1), "a second signal stops at once");
}

#[tokio::test]
async fn a_drained_service_stops_by_itself() {
    let home = tempfile::tempdir().expect("a directory");
    let settings = [("DRAIN_SECONDS", "1")];
    let mut service = Service::start(&home.path().join("data"), &settings).await;
    service.terminate();
    assert!(service.ended().await.success());
    let log = service.log();
    let drained = log.split_once("draining: ").expect("it drains").1;
    assert!(
        drained.contains("stopping") && drained.contains("stopped"),
        "{log}"
    );
}

#[tokio::test]
async fn a_hangup_does_not_end_a_process() {
    let home = tempfile::tempdir().expect("a directory");
    let service = Service::start(&home.path().join("data"), &[]).await;
    for _ in 0..2 {
        service.hang_up();
    }
    eventually("a hangup in the log", async || {
        service
            .log()
            .contains("SIGHUP received and ignored")
            .then_some(())
    })
    .await;
    assert_eq!(upload(&http_client(), &service).await, 201);
}

/// Runs `healthcheck`; returns its exit code and all it printed.
async fn healthcheck(data: &Path) -> (Option<i32>, String) {
    let mut command = tallymill(data, &[]);
    command.arg("healthcheck").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().expect("runs")).await;
    let output = output.expect("no panic");
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.code(), printed)
}

async fn until_health_is(data: &Path, code: i32, text: &str) {
    eventually(text, async || {
        let (found, printed) = healthcheck(data).await;
        (found == Some(code) && printed.contains(text)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_health_check_follows_a_process_of_any_kind() {
    let home = tempfile::tempdir().expect("a directory");
    let uri = Mongo::shared().database();
    let shared = [("MONGO_URI", &*uri)];
    for kind in ["serve", "api", "worker"] {
        let data = home.path().join(kind);
        let (code, printed) = healthcheck(&data).await;
        assert_eq!(code, Some(1), "{printed}");
        assert!(
            printed.contains("no process with this DATA_DIR"),
            "{printed}"
        );
        let mut service = match kind {
            "serve" => Service::start(&data, &[]).await,
            "api" => Service::api(&data, &shared).await,
            _ => Service::worker(&data, &shared).await,
        };
        until_health_is(&data, 0, "last pass ").await;
        if kind == "serve" {
            until_health_is(&data, 0, "last job acquired ").await;
        }
        service.freeze();
        until_health_is(&data, 1, "more than 3 × SWEEP_SECONDS (3 s)").await;
        service.wake();
        until_health_is(&data, 0, "last pass ").await;
        service.terminate();
        assert!(service.ended().await.success());
        assert_eq!(healthcheck(&data).await.0, Some(1), "its file is deleted");
    }
}

#[tokio::test]
async fn a_worker_whose_store_is_away_is_unhealthy() {
    let home = tempfile::tempdir().expect("a directory");
    let mut mongo = Mongo::start();
    let (data, uri) = (home.path().join("data"), mongo.database());
    let _worker = Service::worker(&data, &[("MONGO_URI", &uri)]).await;
    until_health_is(&data, 0, "last pass ").await;
    mongo.kill();
    until_health_is(&data, 1, "its store is away").await;
    mongo.start_again();
    until_health_is(&data, 0, "last pass ").await;
}

#[tokio::test]
async fn secrets_come_from_files_and_show_nowhere() {
    let home = tempfile::tempdir().expect("a directory");
    let file = |name: &str, content: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, content).expect("written");
        path.display().to_string()
    };
    let (token, uri) = (
        file("token", "hunter2-hunter2-hunter2\n"),
        file("uri", &Mongo::shared().database()),
    );
    let settings = [("ADMIN_TOKEN_FILE", &*token), ("MONGO_URI_FILE", &*uri)];
    let service = Service::start(&home.path().join("data"), &settings).await;
    let client = http_client();
    let list = format!("{}/admin/queues/event-processing/dlq", service.url);
    let answer = client
        .get(list)
        .bearer_auth("hunter2-hunter2-hunter2")
        .send()
        .await;
    assert_eq!(answer.expect("answers").status(), 200);
    assert_eq!(ready(&client, &service).await.1["store"]["kind"], "mongodb");
    assert!(
        !service.log().contains("hunter2-hunter2-hunter2"),
        "{}",
        service.log()
    );

    let both = [
        ("ADMIN_TOKEN_FILE", "/no/such/file"),
        ("MONGO_URI_FILE", &*uri),
        ("MONGO_URI", "mongodb://db"),
    ];
    let mut serve = tallymill(&home.path().join("data"), &both);
    let output = serve.arg("serve").output().expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("ADMIN_TOKEN_FILE=/no/such/file can't be used: No such file"),
        "{said}"
    );
    assert!(
        said.contains("MONGO_URI and MONGO_URI_FILE are both set"),
        "{said}"
    );
}

#[test]
fn the_binary_names_its_version() {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = tallymill(&home.path().join("data"), &[]);
    let output = command.arg("--version").output().expect("runs");
    let expected = format!("tallymill {}\n", tallymill::model::version());
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
