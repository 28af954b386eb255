//! A disk that is full to the last byte, as a small file system in memory: `/ready` says so, nothing is half stored, and
//! the service goes on once there is space. Mounting needs root, so `tests/long` runs this.

use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    process::Command,
};

use reqwest::{Client, Method};

use crate::helpers::{
    http_client,
    process::{Service, eventually},
    sample::{batches, json},
};

const SIZE: &str = "size=48m";

/// A mounted file system; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]);
        let mounted = mount.arg(dir.path()).status().expect("the command `mount`");
        assert!(mounted.success(), "mounting needs root");
        Self(dir)
    }

    fn filler(&self) -> PathBuf {
        self.0.path().join("filler")
    }

    /// Fills the disk to its last byte.
    fn fill(&self) {
        let mut file = File::create(self.filler()).expect("creates");
        for block in [64 << 10, 1] {
            let block = vec![1; block];
            loop {
                match file.write(&block) {
                    Ok(_) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).expect("removes");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        drop(unmounted);
    }
}

fn csv(name: &str, rows: usize) -> String {
    let mut csv = "event_type,timestamp,user_id\n".to_owned();
    for row in 0..rows {
        csv += &format!(
            "click,2025-03-04,{name}-{row}-{:x}\n",
            row * 7_919 % 1_000_003
        );
    }
    csv
}

struct Run {
    client: Client,
    service: Service,
}

impl Run {
    async fn start(data: &Path) -> Self {
        Self {
            client: http_client(),
            service: Service::start(data, &[]).await,
        }
    }

    async fn status(&self, method: Method, path: &str, body: String) -> u16 {
        let request = self
            .client
            .request(method, format!("{}{path}", self.service.url));
        let request = request.header("content-type", "text/csv").body(body);
        request.send().await.expect("answers").status().as_u16()
    }

    async fn until_ready(&self, status: u16) {
        eventually("another state of readiness", async || {
            let found = self.status(Method::GET, "/ready", String::new()).await;
            (found == status).then_some(())
        })
        .await;
    }

    async fn figures(&self) -> u64 {
        let metrics = json(&self.client, &format!("{}/metrics", self.service.url)).await;
        let total = &metrics["totals"]["processed_events"];
        total.as_u64().expect("a number")
    }

    async fn process(&self, batch: &str) -> u16 {
        let path = format!("/batches/{batch}/process");
        self.status(Method::POST, &path, String::new()).await
    }
}

#[tokio::test]
#[ignore = "mounts a small file system, which needs root: tests/long full_disk"]
async fn a_full_disk_is_told_and_survived() {
    let disk = SmallDisk::mount();
    let data = disk.0.path().join("data");
    let run = Run::start(&data).await;
    assert_eq!(
        run.status(Method::POST, "/uploads", csv("first", 100))
            .await,
        201
    );
    let stored = batches(&run.client, &run.service.url).await;
    let first = stored[0]["batch_id"].as_str().expect("an id").to_owned();
    run.until_ready(200).await;

    disk.fill();
    run.until_ready(503).await;
    assert_eq!(run.status(Method::GET, "/live", String::new()).await, 200);
    assert_eq!(
        run.status(Method::POST, "/uploads", csv("second", 100))
            .await,
        503
    );
    let large = csv("large", 2_000_000);
    assert_eq!(
        run.status(Method::POST, "/uploads", large.clone()).await,
        503
    );
    assert_eq!(run.figures().await, 0, "figures can be read");
    let asked = run.process(&first).await;
    assert!([202, 503].contains(&asked), "{asked}");
    run.service.kill();

    disk.free();
    let run = Run::start(&data).await;
    run.until_ready(200).await;
    // A file that does not fit, while there is space for others.
    let mut larger = large.clone();
    for part in ["a", "b", "c"] {
        larger += &csv(part, 2_000_000).replace("event_type,timestamp,user_id\n", "");
    }
    let sent = run.status(Method::POST, "/uploads", larger).await;
    assert!([201, 503].contains(&sent), "{sent}");
    let listed = batches(&run.client, &run.service.url).await;
    assert_eq!(listed.len(), if sent == 201 { 2 } else { 1 }, "{listed:?}");
    assert_eq!(
        run.status(Method::POST, "/uploads", csv("second", 100))
            .await,
        201
    );
    assert_eq!(run.process(&first).await, 202);
    eventually("the figures", async || {
        (run.figures().await == 100).then_some(())
    })
    .await;
}
