//! The MongoDB of the tests: the one named by `tests/support/mongo`, with a database per test. A test fails, and says
//! why, if there is none.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

/// Starts a server in a directory; stops it and removes its data once the test process closes stdin, also by a crash.
const KEEPER: &str = r#"
dir=$1; shift
mkfifo "$dir/stdin" && exec 3<> "$dir/stdin"
start() { "$@" <&3 & server=$!; }
start "$@"
while read -r order; do
  case $order in
    hang)
      kill -STOP $server
      # A thread that is at work may still answer before the signal reaches it.
      while grep -qs '^State:[[:space:]]*[A-SU-Za-su-z]' /proc/$server/task/*/status; do :; done
      ;;
    go) kill -CONT $server ;;
    kill) kill -KILL $server; wait $server 2> /dev/null ;;
    start) start "$@" ;;
  esac
  echo "done: $order"
done
kill -KILL $server 2> /dev/null
wait $server 2> /dev/null
rm -rf "$dir"
"#;

/// Attempts to find a free port for a server that can't choose one.
const PORTS: usize = 20;
/// Connection attempts to a started server, and the wait between two.
const CONNECT_ATTEMPTS: usize = 400;
const CONNECT_WAIT: Duration = Duration::from_millis(25);

enum Kind {
    Url(String),
    Mongod(PathBuf),
    StandIn(PathBuf),
}

fn kind() -> &'static Kind {
    static KIND: OnceLock<Kind> = OnceLock::new();
    KIND.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/mongo");
        let ran = Command::new(script)
            .output()
            .expect("tests/support/mongo runs");
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let why = String::from_utf8_lossy(&ran.stderr);
        match said.trim().split_once(' ') {
            Some(("url", url)) => Kind::Url(url.into()),
            Some(("mongod", path)) => Kind::Mongod(path.into()),
            Some(("ferretdb", path)) => Kind::StandIn(path.into()),
            _ => panic!("no MongoDB to test with: {why}"),
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
    /// Returns the server that most tests share, each with its own database.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Mongo> = OnceLock::new();
        SHARED.get_or_init(|| match kind() {
            Kind::Url(url) => Self {
                url: url.clone(),
                port: 0,
                keeper: None,
            },
            Kind::Mongod(_) | Kind::StandIn(_) => Self::start(),
        })
    }

    /// Starts a server for a test that kills or stops it.
    pub(crate) fn start() -> Self {
        match kind() {
            Kind::StandIn(path) => Self::own(path, |server, port, dir| {
                let listen = format!("127.0.0.1:{port}");
                server.args(["-listen", &listen, "-data"]).arg(dir);
            }),
            Kind::Mongod(path) => Self::own(path, |server, port, dir| {
                let port = port.to_string();
                let options = ["--quiet", "--bind_ip", "127.0.0.1", "--port", &port];
                server.args(options).arg("--dbpath").arg(dir);
            }),
            Kind::Url(_) => {
                panic!("this test stops its server: it needs mongod on the PATH, or the stand-in")
            }
        }
    }

    fn own(path: &Path, arguments: fn(&mut Command, u16, &Path)) -> Self {
        for _ in 0..PORTS {
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
            // Another process may have taken the port in between.
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
        self.order("kill");
    }

    /// Restarts the server with its data on its port.
    pub(crate) fn start_again(&mut self) {
        self.order("start");
        assert!(answers(self.port), "it does not start again");
    }

    /// Stops the process, so that connections stay open without answers.
    pub(crate) fn hang(&mut self) {
        self.order("hang");
    }

    /// Resumes a stopped process.
    pub(crate) fn resume(&mut self) {
        self.order("go");
    }

    fn order(&mut self, order: &str) {
        let (keeper, out) = self.keeper.as_mut().expect("a server of our own");
        let stdin = keeper.stdin.as_mut().expect("piped");
        writeln!(stdin, "{order}").expect("the keeper lives");
        let (done, mut line) = (format!("done: {order}"), String::new());
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

/// Waits until a server accepts connections.
pub(crate) fn answers(port: u16) -> bool {
    (0..CONNECT_ATTEMPTS).any(|_| {
        let connected = TcpStream::connect(("127.0.0.1", port)).is_ok();
        if !connected {
            std::thread::sleep(CONNECT_WAIT);
        }
        connected
    })
}

pub(crate) fn directory() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let root = if memory.is_dir() {
        memory.into()
    } else {
        std::env::temp_dir()
    };
    let dir = tempfile::Builder::new()
        .prefix("tallymill-mongo-")
        .tempdir_in(root);
    // Its keeper removes it.
    dir.expect("a directory").keep()
}

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
