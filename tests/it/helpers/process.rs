//! The real binary in a process of its own, which can be killed.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// Longest wait for what takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(10);

/// Settings that suit tests: any port, no limit on uploads, quick sweeps and cleanups.
const SETTINGS: [(&str, &str); 6] = [
    ("PORT", "0"),
    ("UPLOAD_LIMIT", "0"),
    ("SWEEP_SECONDS", "1"),
    ("CLEANUP_INTERVAL_SECONDS", "1"),
    ("JOB_BACKOFF_SECONDS", "1"),
    ("JOB_MAX_CRASHES", "1000"),
];

/// The binary with the settings of tests and nothing from outside.
pub(crate) fn tallymill(data: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallymill"));
    command.env_clear();
    // A `.env` of the source tree is not for tests.
    command.current_dir(data.parent().unwrap_or(data));
    command.env("DATA_DIR", data);
    for (name, value) in SETTINGS.iter().chain(settings) {
        command.env(name, value);
    }
    command
}

/// Looks until there is something to see.
pub(crate) async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = within(PATIENCE, look).await;
    seen.unwrap_or_else(|| panic!("never saw {what}"))
}

/// Looks until there is something to see, or for so long.
pub(crate) async fn within<T>(
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let seen = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(patience, seen).await.ok()
}

/// A process of its own; killed when dropped.
pub(crate) struct Service {
    pub(crate) child: Child,
    /// Where it answers; empty if it is a worker alone.
    pub(crate) url: String,
    log: PathBuf,
}

impl Service {
    /// Starts the service of one process and waits until it answers.
    pub(crate) async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(data, &["serve"], settings).await
    }

    /// Starts an API beside workers.
    pub(crate) async fn api(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(data, &["serve", "--no-worker"], settings).await
    }

    /// Starts a worker beside an API.
    pub(crate) async fn worker(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(data, &["worker"], settings).await
    }

    async fn run(data: &Path, command: &[&str], settings: &[(&str, &str)]) -> Self {
        let log = data.with_extension("log");
        let before = std::fs::read_to_string(&log).map_or(0, |log| log.len());
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        let child = tallymill(data, settings)
            .args(command)
            .stdin(Stdio::null())
            .stdout(out.try_clone().expect("a handle"))
            .stderr(out)
            .spawn()
            .expect("starts");
        let mut service = Self {
            child,
            url: String::new(),
            log,
        };
        service.url = eventually("a process that is ready", async || {
            if let Some(ended) = service.child.try_wait().expect("a status") {
                panic!("the process ended with {ended}: {}", service.log());
            }
            ready(&service.log()[before..])
        })
        .await;
        service
    }

    /// Everything logged on this directory.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills it, as a power cut does.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("ends");
    }

    /// Asks it to stop, as a service manager does.
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Freezes it, as a machine that stalls does.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub(crate) fn wake(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("the command `kill`").success());
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of the server", async || {
            child.try_wait().expect("a status")
        })
        .await
    }
}

/// Where the process that wrote this log answers, once it does; empty if it is a worker, once it works.
fn ready(log: &str) -> Option<String> {
    if log.contains("tallymill works on jobs") {
        return Some(String::new());
    }
    let (_, rest) = log.split_once("tallymill answers at ")?;
    let (url, _) = rest.split_once(char::is_whitespace)?;
    Some(url.to_owned())
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
