//! Runs the real binary in a process that tests can kill, freeze and stop.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

/// Longest wait for a condition that holds within milliseconds on an idle machine.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Time between two checks of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Settings of tests: any free port, no upload limit, short intervals, and more crashes of a job than any test causes.
const SETTINGS: [(&str, &str); 6] = [
    ("PORT", "0"),
    ("UPLOAD_LIMIT", "0"),
    ("SWEEP_SECONDS", "1"),
    ("CLEANUP_INTERVAL_SECONDS", "1"),
    ("JOB_BACKOFF_SECONDS", "1"),
    ("JOB_MAX_CRASHES", "1000"),
];

/// Returns the binary with the settings of tests and an empty environment.
pub(crate) fn tallymill(data: &Path, settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tallymill"));
    command.env_clear();
    // Tests must not read a `.env` of the source tree.
    command.current_dir(data.parent().unwrap_or(data));
    command.env("DATA_DIR", data);
    for (name, value) in SETTINGS.iter().chain(settings) {
        command.env(name, value);
    }
    command
}

/// Polls until `condition` returns a value; panics with `what` after [`TIMEOUT`].
pub(crate) async fn eventually<T>(what: &str, condition: impl AsyncFnMut() -> Option<T>) -> T {
    let value = within(TIMEOUT, condition).await;
    value.unwrap_or_else(|| panic!("never saw {what}"))
}

/// Polls until `condition` returns a value; returns `None` after `timeout`.
pub(crate) async fn within<T>(
    timeout: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Option<T> {
    let polling = async {
        loop {
            if let Some(value) = condition().await {
                return value;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    };
    tokio::time::timeout(timeout, polling).await.ok()
}

/// A running process; killed when dropped.
pub(crate) struct Service {
    pub(crate) child: Child,
    /// The URL of the API; empty for a worker.
    pub(crate) url: String,
    log: PathBuf,
}

impl Service {
    /// Starts an API with workers, and waits until it is ready.
    pub(crate) async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(data, &["serve"], settings).await
    }

    /// Starts an API without workers.
    pub(crate) async fn api(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(data, &["serve", "--no-worker"], settings).await
    }

    /// Starts a worker without an API.
    pub(crate) async fn worker(data: &Path, settings: &[(&str, &str)]) -> Self {
        Self::run(data, &["worker"], settings).await
    }

    async fn run(data: &Path, command: &[&str], settings: &[(&str, &str)]) -> Self {
        let mut process = tallymill(data, settings);
        process.args(command);
        Self::spawn(data, process).await
    }

    /// Starts the process that `around` makes of the binary and its settings.
    pub(crate) async fn start_by(data: &Path, around: impl FnOnce(&Command) -> Command) -> Self {
        Self::spawn(data, around(&tallymill(data, &[]))).await
    }

    async fn spawn(data: &Path, mut process: Command) -> Self {
        let log = data.with_extension("log");
        let start = std::fs::read_to_string(&log).map_or(0, |log| log.len());
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        let child = process
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a handle"))
            .stderr(output)
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
            logged_url(&service.log()[start..])
        })
        .await;
        service
    }

    /// Returns the log of all processes that were started on this data directory.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Kills the process (SIGKILL).
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("kills");
        self.child.wait().expect("ends");
    }

    /// Asks the process to stop (SIGTERM).
    pub(crate) fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Freezes the process (SIGSTOP).
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Resumes the process (SIGCONT).
    pub(crate) fn wake(&self) {
        self.signal("-CONT");
    }

    /// Hangs up (SIGHUP).
    pub(crate) fn hang_up(&self) {
        self.signal("-HUP");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("the command `kill`").success());
    }

    /// Waits until the process has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        eventually("the end of the server", async || {
            child.try_wait().expect("a status")
        })
        .await
    }
}

/// Returns the URL that a process logs once it is ready: empty for a worker, `None` before.
fn logged_url(log: &str) -> Option<String> {
    if log.contains("tallymill works on jobs") {
        return Some(String::new());
    }
    let (_, rest) = log.split_once("tallymill answers at ")?;
    let (url, _) = rest.split_once(|c: char| c.is_whitespace() || c == '"')?;
    Some(url.to_owned())
}

impl Drop for Service {
    fn drop(&mut self) {
        // The process may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
