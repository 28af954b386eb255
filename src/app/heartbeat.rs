//! The health file: how long ago this process did its work, for `tallymill healthcheck`, which runs beside it and asks
//! nothing over the network. One file per host in `DATA_DIR`, replaced after each pass of the reconciler.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::host_name;
use crate::{
    clock::{Clock, System},
    config::Config,
    job::{JobBodies, JobContext, RunEnd, RunError, work::Bodies},
    model::{Instant, JobId},
    store::{self, Store},
};

/// The name of a health file is this, the name of the host, and `.json`.
const PREFIX: &str = "health-";
/// Passes that may fail or be late before a process is unhealthy.
const MISSED_PASSES: u32 = 3;
/// Age at which a start deletes the health file of a host that is gone: containers get new names.
const MAX_AGE: TimeDelta = TimeDelta::hours(1);

/// The content of a health file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Health {
    pid: u32,
    /// Seconds between two passes.
    sweep_seconds: u64,
    /// The end of the last pass without an error. A process without workers has no reconciler; it writes the file as
    /// often.
    last_pass: Option<Instant>,
    /// The time at which a job was last acquired.
    last_acquired: Option<Instant>,
}

/// Writes the health file of this process.
pub(super) struct Heartbeat {
    path: PathBuf,
    health: Mutex<Health>,
    clock: Arc<dyn Clock>,
    /// Whether the last write failed, so that a full disk has one warning.
    failed: AtomicBool,
}

impl Heartbeat {
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        delete_old_files(&config.data_dir, clock.now());
        Self {
            path: path(&config.data_dir),
            health: Mutex::new(Health {
                pid: std::process::id(),
                sweep_seconds: config.sweep.as_secs(),
                last_pass: None,
                last_acquired: None,
            }),
            clock,
            failed: AtomicBool::new(false),
        }
    }

    /// Records that a pass ended without an error, and replaces the file.
    pub(super) async fn record_pass(&self) {
        let health = {
            let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            health.last_pass = Some(self.clock.now());
            health.clone()
        };
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || write(&path, &health)).await;
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(panic)));
        let failed = written.is_err();
        if let Err(error) = written
            && !self.failed.load(Ordering::Relaxed)
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "health file {path} can't be written, `tallymill healthcheck` will report this process as unhealthy");
        }
        self.failed.store(failed, Ordering::Relaxed);
    }

    fn record_acquisition(&self) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.last_acquired = Some(self.clock.now());
    }

    /// Writes the file of a process without a reconciler until `stop`.
    pub(super) async fn beat(self: Arc<Self>, interval: Duration, stop: CancellationToken) {
        loop {
            self.record_pass().await;
            tokio::select! {
                () = self.clock.sleep(interval) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Deletes the file, since this process stops.
    pub(super) fn remove(&self) {
        // A file that remains is old soon.
        let _ = fs::remove_file(&self.path);
    }
}

/// The bodies of all jobs; notes when a job is acquired.
pub(super) struct ObservedBodies(pub(super) Arc<Heartbeat>);

#[async_trait]
impl JobBodies for ObservedBodies {
    async fn run(&self, job: JobId, context: &JobContext<'_>) -> Result<RunEnd, RunError> {
        self.0.record_acquisition();
        Bodies.run(job, context).await
    }

    async fn is_short(&self, job: JobId, store: &dyn Store) -> store::Result<bool> {
        Bodies.is_short(job, store).await
    }

    async fn end_without_run(
        &self,
        job: JobId,
        context: &JobContext<'_>,
    ) -> store::Result<Option<RunEnd>> {
        Bodies.end_without_run(job, context).await
    }

    async fn abandon(
        &self,
        job: JobId,
        context: &JobContext<'_>,
        reason: &str,
    ) -> store::Result<()> {
        Bodies.abandon(job, context, reason).await
    }
}

/// Returns the state of the process that runs on this host with the same `DATA_DIR`, in one sentence.
///
/// # Errors
/// Says why the process is unhealthy.
pub fn check(config: &Config) -> Result<String, String> {
    let path = path(&config.data_dir);
    let text = fs::read(&path).map_err(|why| {
        let path = path.display();
        format!("{path} can't be read: {why}; no process with this DATA_DIR runs on this host, or its first pass has not ended")
    })?;
    let health: Health = serde_json::from_slice(&text)
        .map_err(|why| format!("{} is damaged: {why}", path.display()))?;
    judge(&health, System::start().now())
}

fn judge(health: &Health, now: Instant) -> Result<String, String> {
    // A clock that was set back makes the last pass one of the future: the next pass mends it.
    let age = |at: Instant| (now - at).num_seconds().max(0).unsigned_abs();
    let limit = health.sweep_seconds.saturating_mul(MISSED_PASSES.into());
    let pid = health.pid;
    match health.last_pass.map(age) {
        Some(passed) if passed <= limit => {
            let acquired = health.last_acquired.map_or_else(
                || "no job acquired yet".to_owned(),
                |at| format!("last job acquired {} s ago", age(at)),
            );
            Ok(format!(
                "process {pid}: last pass {passed} s ago, {acquired}"
            ))
        }
        Some(passed) => Err(format!(
            "process {pid}: the last pass was {passed} s ago, more than {MISSED_PASSES} × SWEEP_SECONDS ({limit} s): its store is away, or it hangs or has ended; its log says which"
        )),
        None => Err(format!("process {pid}: its first pass has not ended")),
    }
}

fn path(data_dir: &Path) -> PathBuf {
    let host: String = host_name()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    data_dir.join(format!("{PREFIX}{host}.json"))
}

/// Replaces the file at once: a reader sees the old or the new one.
fn write(path: &Path, health: &Health) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(health)?)?;
    fs::rename(new, path)
}

/// Deletes the health files of hosts that are gone. A file that can't be deleted does no harm.
fn delete_old_files(data_dir: &Path, now: Instant) {
    for entry in fs::read_dir(data_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_ours = name.starts_with(PREFIX) && name.ends_with(".json");
        let changed = entry.metadata().and_then(|file| file.modified());
        let is_old = changed.is_ok_and(|at| DateTime::<Utc>::from(at) + MAX_AGE < now);
        if is_ours && is_old {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(passed: Option<i64>) -> Result<String, String> {
        let now = Instant::default() + TimeDelta::days(1);
        let health = Health {
            pid: 7,
            sweep_seconds: 5,
            last_pass: passed.map(|seconds| now - TimeDelta::seconds(seconds)),
            last_acquired: Some(now - TimeDelta::seconds(90)),
        };
        judge(&health, now)
    }

    #[test]
    fn a_process_is_healthy_for_three_sweeps_after_a_pass() {
        let expected = "process 7: last pass 15 s ago, last job acquired 90 s ago";
        assert_eq!(health(Some(15)).as_deref(), Ok(expected));
        assert!(health(Some(-60)).is_ok(), "the clock was set back");
        let late = health(Some(16)).expect_err("late");
        assert!(
            late.contains("16 s ago, more than 3 × SWEEP_SECONDS (15 s)"),
            "{late}"
        );
        assert!(health(None).is_err());
    }

    #[test]
    fn files_of_gone_hosts_are_deleted() {
        let dir = tempfile::tempdir().expect("a directory");
        let (gone, kept) = (dir.path().join("health-a.json"), dir.path().join("a.json"));
        for path in [&gone, &kept] {
            fs::write(path, "{}").expect("written");
        }
        let now = System::start().now();
        delete_old_files(dir.path(), now);
        assert!(gone.exists(), "another container runs");
        delete_old_files(dir.path(), now + TimeDelta::hours(2));
        assert!(!gone.exists() && kept.exists());
    }
}
