//! A real `redis-server` for a test, which can be stopped, restarted on its port, and stalled.

use std::{
    fs::File,
    net::TcpListener,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use super::mongo;
use redis::{AsyncCommands, aio::MultiplexedConnection};
use tempfile::TempDir;

/// Attempts to find a free port: another process may bind it before the server does.
const TRIES: usize = 20;
/// Longest wait for a server to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// An empty Redis without persistence; killed when dropped.
pub(crate) struct Redis {
    port: u16,
    dir: TempDir,
    child: Option<Child>,
}

/// Returns the URL of the server that all tests of this process share.
pub(crate) fn shared_redis() -> &'static str {
    static SHARED: OnceLock<(String, Child)> = OnceLock::new();
    let start = || {
        for _ in 0..TRIES {
            let (port, dir) = (free_port(), mongo::directory());
            let mut server = Command::new("redis-server");
            server.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
            server.args(["--save", "", "--appendonly", "no", "--logfile", "/dev/null"]);
            let mut keeper = mongo::keep(&dir, server.arg("--dir").arg(&dir));
            if mongo::answers(port) {
                return (format!("redis://127.0.0.1:{port}"), keeper);
            }
            // Another process took the port: its keeper goes with its stdin.
            drop(keeper.stdin.take());
            keeper.wait().expect("ends");
        }
        panic!("no redis-server came up: is it installed? tests/run installs it");
    };
    &SHARED.get_or_init(start).0
}

impl Redis {
    /// Starts a server and waits until it answers.
    pub(crate) async fn start() -> Self {
        let mut server = Self::down();
        for _ in 0..TRIES {
            if server.up().await {
                return server;
            }
            server.port = free_port();
        }
        panic!("no redis-server came up: {}", server.log());
    }

    /// Reserves a port without starting the server.
    pub(crate) fn down() -> Self {
        Self {
            port: free_port(),
            dir: tempfile::tempdir().expect("a directory"),
            child: None,
        }
    }

    /// Restarts the server, empty, on its port.
    pub(crate) async fn restart(&mut self) {
        assert!(self.up().await, "redis-server: {}", self.log());
    }

    /// Starts the server; returns false if it ended, as with a port in use.
    async fn up(&mut self) -> bool {
        let log = File::create(self.dir.path().join("log")).expect("a log");
        let port = self.port.to_string();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port])
            .args(["--save", "", "--appendonly", "no"])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a handle"))
            .stderr(log)
            .spawn()
            .unwrap_or_else(|why| {
                panic!("redis-server does not start ({why}): install it (Debian: apt-get install redis-server; macOS: brew install redis)")
            });
        let pid = child.id();
        self.child = Some(child);
        let answers = async {
            loop {
                let child = self.child.as_mut().expect("just started");
                if child.try_wait().expect("a status").is_some() {
                    return false;
                }
                // Another server may have the port: ours is the one with this process.
                if let Ok(mut redis) = self.client().get_multiplexed_async_connection().await {
                    let info: String = redis::cmd("INFO")
                        .arg("server")
                        .query_async(&mut redis)
                        .await
                        .unwrap_or_default();
                    if info.contains(&format!("process_id:{pid}\r\n")) {
                        return true;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, answers)
            .await
            .unwrap_or_default()
    }

    /// Kills the server.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended already.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Stops the process, so that connections stay open without answers.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// Resumes a stopped process.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("it runs").id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.expect("the command `kill`").success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    fn client(&self) -> redis::Client {
        redis::Client::open(self.url()).expect("an address")
    }

    /// Returns a plain connection for inspection.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        let connection = self.client().get_multiplexed_async_connection().await;
        connection.expect("it answers")
    }

    /// Returns all keys, sorted.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.connection().await.keys("*").await.expect("keys");
        keys.sort();
        keys
    }

    pub(crate) async fn flush(&self) {
        let mut redis = self.connection().await;
        let flushed = redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await;
        flushed.expect("flushed");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}
