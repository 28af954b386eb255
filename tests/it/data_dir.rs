//! The data directory of the real binary: closed to other users, and nothing of someone else in it is touched.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::helpers::{
    http_client,
    process::{Service, tallymill},
};

const CSV: &str = "event_type,timestamp,user_id\nclick,2025-03-04,u1\n";

fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        }
        found.push(path);
    }
}

#[tokio::test]
async fn files_are_closed_to_other_users_whatever_the_umask() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    // A process inherits the umask: the loosest one, set by the shell around it.
    let program = tallymill(&data, &[]).get_program().to_owned();
    let mut service = Service::start_by(&data, |command| {
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "umask 000; exec \"$0\" serve"])
            .arg(program);
        for (name, value) in command.get_envs() {
            shell.env(name, value.expect("is set"));
        }
        shell
    })
    .await;
    let upload = http_client().post(format!("{}/uploads", service.url));
    let sent = upload.header("content-type", "text/csv").body(CSV).send();
    assert_eq!(sent.await.expect("answers").status(), 201);
    let mut all = vec![data.clone()];
    files(&data, &mut all);
    assert!(
        all.iter()
            .any(|path| path.extension().is_some_and(|kind| kind == "parquet"))
    );
    for path in all {
        let mode = fs::metadata(&path).expect("is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", path.display());
    }
    service.terminate();
    assert!(service.ended().await.success());
}

#[test]
fn a_directory_of_someone_else_is_refused_untouched() {
    let home = tempfile::tempdir().expect("a directory");
    let letter = home.path().join("tmp/letter.odt");
    fs::create_dir_all(home.path().join("tmp")).expect("creates");
    fs::write(&letter, "mine").expect("writes");
    for (command, settings) in [("serve", &[][..]), ("migrate", &[])] {
        let refused = tallymill(home.path(), settings).arg(command).output();
        let refused = refused.expect("runs");
        let why = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{why}");
        assert!(why.contains("tmp/letter.odt"), "{why}");
    }
    assert_eq!(fs::read(&letter).expect("is there"), b"mine");
}

#[tokio::test]
async fn leftovers_are_removed_and_other_files_are_not() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let mut service = Service::start(&data, &[]).await;
    service.terminate();
    assert!(service.ended().await.success());
    let id = "01a1faf9-1753-78e0-a8f6-49c3dc141d6f";
    let ours = [format!("tmp/{id}.parquet"), format!("parts/{id}-0-{id}")];
    let others = ["tmp/letter.odt", "parts/wheel.step", "notes.txt"];
    for name in ours.iter().map(String::as_str).chain(others) {
        fs::write(data.join(name), "x").expect("writes");
    }
    let mut service = Service::start(&data, &[]).await;
    for name in &ours {
        assert!(!data.join(name).exists(), "{name}");
        assert!(service.log().contains(name), "its removal is logged");
    }
    for name in others {
        assert!(data.join(name).exists(), "{name}");
    }
    service.terminate();
    assert!(service.ended().await.success());
}

#[test]
fn an_address_beyond_loopback_needs_a_token() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let refused = tallymill(&data, &[("HOST", "0.0.0.0")])
        .output()
        .expect("runs");
    let why = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{why}");
    assert!(
        why.contains("ADMIN_TOKEN") && why.contains("INSECURE_OPEN"),
        "{why}"
    );
    assert!(!data.exists(), "it is refused before anything is created");
}

#[tokio::test]
async fn malformed_requests_are_no_errors_of_the_service() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let home = tempfile::tempdir().expect("a directory");
    let mut service = Service::start(&home.path().join("data"), &[]).await;
    let address = service.url.trim_start_matches("http://").to_owned();
    for bytes in [
        "\u{1}\u{2}\r\n\r\n",
        "GET / HTTP/9\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(&address)
            .await
            .expect("connects");
        stream.write_all(bytes.as_bytes()).await.expect("writes");
        let mut reply = Vec::new();
        drop(stream.read_to_end(&mut reply).await);
    }
    service.terminate();
    assert!(service.ended().await.success());
    let log = service.log();
    assert!(!log.contains("ERROR"), "{log}");
}
