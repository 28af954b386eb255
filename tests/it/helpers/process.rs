//! The real binary in a process of its own, which can be killed.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;

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
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let seen = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::time::timeout(PATIENCE, seen)
        .await
        .unwrap_or_else(|_| panic!("never saw {what}"))
}

/// A server in a process of its own; killed when dropped.
pub(crate) struct Service {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

impl Service {
    /// Starts it and waits until it answers.
    pub(crate) async fn start(data: &Path, settings: &[(&str, &str)]) -> Self {
        let log = data.with_extension("log");
        let out = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log");
        let child = tallymill(data, settings)
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
        let lock = data.join("tallymill.lock");
        service.url = eventually("the address of the server", async || {
            if let Some(ended) = service.child.try_wait().expect("a status") {
                panic!("the server ended with {ended}: {}", service.log());
            }
            let holder: Value = serde_json::from_str(&std::fs::read_to_string(&lock).ok()?).ok()?;
            // The lock file may still name the process before.
            (holder["pid"] == service.child.id())
                .then(|| holder["url"].as_str().map(str::to_owned))?
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
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
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

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
