//! The MongoDB of the tests: the server that `tests/support/mongo` selects, with a database per test. Without one, a
//! test fails and reports why.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

/// The keeper: a shell that runs a server in a directory and executes commands from stdin. Once the test process closes
/// stdin, even by a crash, the keeper kills the server and removes its data.
const KEEPER: &str = r#"
dir=$1; shift
mkfifo "$dir/stdin" && exec 3<> "$dir/stdin"
start() { "$@" <&3 & server=$!; }
start "$@"
while read -r command; do
  case $command in
    hang)
      kill -STOP $server
      # A running thread may still answer until the signal reaches it: wait until none runs.
      while grep -qs '^State:[[:space:]]*[A-SU-Za-su-z]' /proc/$server/task/*/status; do :; done
      ;;
    go) kill -CONT $server ;;
    kill) kill -KILL $server; wait $server 2> /dev/null ;;
    start) start "$@" ;;
  esac
  echo "done: $command"
done
kill -KILL $server 2> /dev/null
wait $server 2> /dev/null
rm -rf "$dir"
"#;

/// Attempts to find a free port for a server that can't choose one.
const PORT_ATTEMPTS: usize = 20;
/// Connection attempts to a started server.
const CONNECT_ATTEMPTS: usize = 400;
/// Time between two connection attempts.
const CONNECT_WAIT: Duration = Duration::from_millis(25);

/// The MongoDB that `tests/support/mongo` selects.
enum Source {
    /// A server that runs already.
    Url(String),
    /// The program `mongod`.
    Mongod(PathBuf),
    /// The program of the stand-in, `FerretDB`.
    StandIn(PathBuf),
}

fn source() -> &'static Source {
    static SOURCE: OnceLock<Source> = OnceLock::new();
    SOURCE.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/mongo");
        let output = Command::new(script)
            .output()
            .expect("tests/support/mongo runs");
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        match stdout.trim().split_once(' ') {
            Some(("url", url)) => Source::Url(url.into()),
            Some(("mongod", path)) => Source::Mongod(path.into()),
            Some(("ferretdb", path)) => Source::StandIn(path.into()),
            _ => panic!("no MongoDB to test with: {stderr}"),
        }
    })
}

/// A running server.
pub(crate) struct Mongo {
    url: String,
    port: u16,
    keeper: Option<(Child, BufReader<ChildStdout>)>,
}

impl Mongo {
    /// Returns the server that most tests share, each with a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Mongo> = OnceLock::new();
        SHARED.get_or_init(|| match source() {
            Source::Url(url) => Self {
                url: url.clone(),
                port: 0,
                keeper: None,
            },
            Source::Mongod(_) | Source::StandIn(_) => Self::start(),
        })
    }

    /// Starts a server for a test that kills or freezes it.
    pub(crate) fn start() -> Self {
        match source() {
            Source::StandIn(path) => Self::start_program(path, |server, port, dir| {
                let listen = format!("127.0.0.1:{port}");
                server.args(["-listen", &listen, "-data"]).arg(dir);
            }),
            Source::Mongod(path) => Self::start_program(path, |server, port, dir| {
                let port = port.to_string();
                let options = ["--quiet", "--bind_ip", "127.0.0.1", "--port", &port];
                server.args(options).arg("--dbpath").arg(dir);
            }),
            Source::Url(_) => {
                panic!(
                    "this test kills or freezes its server: it needs mongod on the PATH, or the stand-in"
                )
            }
        }
    }

    fn start_program(path: &Path, arguments: fn(&mut Command, u16, &Path)) -> Self {
        for _ in 0..PORT_ATTEMPTS {
            let free = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr());
            let port = free.expect("a free port").port();
            let dir = directory();
            let mut server = Command::new(path);
            arguments(&mut server, port, &dir);
            let mut keeper = keep(&dir, &server);
            let out = BufReader::new(keeper.stdout.take().expect("piped"));
            let server = Self {
                url: format!("mongodb://127.0.0.1:{port}/"),
                port,
                keeper: Some((keeper, out)),
            };
            // Another process may have bound the port before the server did.
            if answers(port) {
                return server;
            }
        }
        panic!("{} does not start", path.display());
    }

    /// Returns the connection string of an unused database.
    pub(crate) fn database(&self) -> String {
        let name = format!("t_{}", uuid::Uuid::now_v7().simple());
        self.named(&name)
    }

    /// Returns the connection string of a named database.
    pub(crate) fn named(&self, name: &str) -> String {
        let (base, query) = self.url.split_once('?').unwrap_or((&self.url, ""));
        let base = match base
            .strip_prefix("mongodb://")
            .and_then(|rest| rest.split_once('/'))
        {
            Some((hosts, _)) => format!("mongodb://{hosts}"),
            None => base.to_owned(),
        };
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{query}")
        };
        format!("{base}/{name}{query}")
    }

    /// Kills the server.
    pub(crate) fn kill(&mut self) {
        self.send_command("kill");
    }

    /// Restarts the server with its data on its port.
    pub(crate) fn start_again(&mut self) {
        self.send_command("start");
        assert!(answers(self.port), "the server does not restart");
    }

    /// Freezes the server (SIGSTOP), so that connections stay open without answers.
    pub(crate) fn hang(&mut self) {
        self.send_command("hang");
    }

    /// Resumes a frozen server (SIGCONT).
    pub(crate) fn resume(&mut self) {
        self.send_command("go");
    }

    /// Sends a command to the keeper, and waits until it is done.
    fn send_command(&mut self, command: &str) {
        let (keeper, out) = self
            .keeper
            .as_mut()
            .expect("a server that this test started");
        let stdin = keeper.stdin.as_mut().expect("piped");
        writeln!(stdin, "{command}").expect("the keeper lives");
        let (done, mut line) = (format!("done: {command}"), String::new());
        while line.trim() != done {
            line.clear();
            let read = out.read_line(&mut line).expect("the keeper lives");
            assert!(read > 0, "the keeper ended");
        }
    }
}

impl Drop for Mongo {
    fn drop(&mut self) {
        if let Some((keeper, _)) = &mut self.keeper {
            drop(keeper.stdin.take());
            let _ = keeper.wait();
        }
    }
}

/// Waits until a server accepts connections; returns whether it did in time.
pub(crate) fn answers(port: u16) -> bool {
    (0..CONNECT_ATTEMPTS).any(|_| {
        let connected = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !connected {
            std::thread::sleep(CONNECT_WAIT);
        }
        connected
    })
}

/// Creates the directory of a server, in memory where possible.
pub(crate) fn directory() -> PathBuf {
    let shared_memory = Path::new("/dev/shm");
    let root = if shared_memory.is_dir() {
        shared_memory.into()
    } else {
        std::env::temp_dir()
    };
    let dir = tempfile::Builder::new()
        .prefix("tallymill-mongo-")
        .tempdir_in(root);
    // The keeper of the server removes the directory.
    dir.expect("a directory").keep()
}

/// Starts a keeper, which runs `server`.
pub(crate) fn keep(dir: &Path, server: &Command) -> Child {
    Command::new("sh")
        .args(["-c", KEEPER, "keeper"])
        .arg(dir)
        .arg(server.get_program())
        .args(server.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("sh starts")
}
