//! No client harms another: each attack from one address, with a good client at another.

mod connections;
mod lists;
mod places;
mod slow;
mod unread;

use std::{net::SocketAddr, time::Duration};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::helpers::app::TestApp;

/// Longest wait for what happens within seconds.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The address of the attacker. All of 127.0.0.0/8 is this machine; other clients have 127.0.0.1.
const ATTACKER: &str = "127.0.0.2:0";

/// A connection of the attacker, in plain bytes.
struct Attacker(TcpStream);

impl Attacker {
    async fn connect(app: &TestApp) -> Self {
        Self::with_buffer(app, None).await
    }

    /// Connects with a receive buffer of this many bytes.
    async fn with_buffer(app: &TestApp, buffer: Option<usize>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
        let socket = socket.expect("a socket");
        let from: SocketAddr = ATTACKER.parse().expect("an address");
        socket.bind(&SockAddr::from(from)).expect("binds");
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes).expect("is set");
        }
        let to = app.url.strip_prefix("http://").expect("a URL");
        let to: SocketAddr = to.parse().expect("an address");
        socket.connect(&SockAddr::from(to)).expect("connects");
        socket.set_nonblocking(true).expect("is set");
        Self(TcpStream::from_std(socket.into()).expect("a stream"))
    }

    async fn send(&mut self, bytes: &str) {
        self.0.write_all(bytes.as_bytes()).await.expect("sends");
    }

    /// Begins an upload of a raw body, of which `bytes` arrive.
    async fn begin_upload(app: &TestApp, bytes: &str) -> Self {
        let mut connection = Self::connect(app).await;
        let head = "POST /uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000000\r\n\r\n";
        connection.send(&format!("{head}{bytes}")).await;
        connection
    }

    /// Reads until the service closes the connection.
    async fn read_to_end(&mut self) -> String {
        let mut reply = Vec::new();
        let read = tokio::time::timeout(TIMEOUT, self.0.read_to_end(&mut reply)).await;
        // A reset after the reply is an end too.
        let _ = read.expect("ends in time");
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// Reads a reply as far as its body has `text`.
    async fn read_until(&mut self, text: &str) -> String {
        let mut reply = Vec::new();
        let read = async {
            while !String::from_utf8_lossy(&reply).contains(text) {
                if self.0.read_buf(&mut reply).await.unwrap_or(0) == 0 {
                    break;
                }
            }
        };
        tokio::time::timeout(TIMEOUT, read).await.expect("replies");
        String::from_utf8_lossy(&reply).into_owned()
    }
}

/// Tries until there is a result.
async fn eventually<T>(attempt: impl AsyncFn() -> Option<T>) -> T {
    let tries = async {
        loop {
            if let Some(done) = attempt().await {
                return done;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let done = tokio::time::timeout(TIMEOUT, tries).await;
    done.expect("happens in time")
}

/// A file of one row.
fn one_row(name: &str) -> String {
    format!("user_id,event_type,timestamp\n{name},click,2025-11-10\n")
}
