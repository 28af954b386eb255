//! What every connection gets when it is accepted: a share of the connections of its address, and a bound on the time
//! for which the client may leave a reply unread.

use std::{any::Any, io, net::Shutdown, time::Duration};

use actix_web::{dev::Extensions, rt::net::TcpStream};
use ipnet::IpNet;
use socket2::SockRef;

use super::problem::{Code, Problem};
use crate::limit::Places;

/// Admits connections.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    places: Places,
    per_client: usize,
    /// Proxies: their connections are of many clients.
    trusted: Vec<IpNet>,
    stall: Duration,
}

impl Connections {
    /// Admits `per_client` connections of each address at once; a reply may be unread for `stall`.
    pub(super) fn new(per_client: usize, trusted: Vec<IpNet>, stall: Duration) -> Self {
        Self {
            places: Places::new(usize::MAX, per_client),
            per_client,
            trusted,
            stall,
        }
    }

    /// Admits a connection, or closes it. Its place is in `data`, which lives as long as the connection.
    pub(super) fn admit(&self, connection: &dyn Any, data: &mut Extensions) {
        let Some(stream) = connection.downcast_ref::<TcpStream>() else {
            return;
        };
        let Ok(peer) = stream.peer_addr() else {
            return;
        };
        let peer = peer.ip().to_canonical();
        let socket = SockRef::from(stream);
        if let Err(error) = bound_unread(&socket, self.stall) {
            tracing::debug!(%error, "a connection has no write timeout");
        }
        if self.trusted.iter().any(|net| net.contains(&peer)) {
            return;
        }
        match self.places.try_take(Some(peer)) {
            Ok(place) => drop(data.insert(place)),
            Err(_) => {
                // A client that reads learns why. Nothing waits for one that does not.
                let _ = socket.send(&self.refusal());
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    fn refusal(&self) -> Vec<u8> {
        let limit = self.per_client;
        let why = format!(
            "this address has {limit} connections already: close some, or reuse them (setting CONNECTIONS_PER_CLIENT)"
        );
        let body = Problem::new(Code::RateLimited, why)
            .after(1)
            .limit(limit, "CONNECTIONS_PER_CLIENT")
            .text(usize::MAX);
        let length = body.len();
        format!(
            "HTTP/1.1 429 Too Many Requests\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// Lets the system end a connection whose peer takes nothing of what is sent for `stall`. The server itself never ends
/// one: it waits until the socket can be written.
#[cfg(target_os = "linux")]
fn bound_unread(socket: &SockRef<'_>, stall: Duration) -> io::Result<()> {
    socket.set_tcp_user_timeout(Some(stall))
}

#[cfg(not(target_os = "linux"))]
fn bound_unread(_: &SockRef<'_>, _: Duration) -> io::Result<()> {
    Ok(())
}
