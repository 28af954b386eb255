//! The address of the client: that of the socket, or the one that trusted proxies report in `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use ipnet::IpNet;

/// The header to which each proxy appends the address that it received the request from.
const FORWARDED: &str = "x-forwarded-for";

/// Returns the address of the client; none on a socket without an address.
pub(super) fn of(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let forwarded = request.headers().get_all(FORWARDED);
    let forwarded: Vec<_> = forwarded
        .map(|value| value.to_str().unwrap_or("?"))
        .collect();
    Some(last_untrusted(peer, &forwarded.join(","), trusted))
}

/// Returns the first address, from the socket backwards, that is not a trusted proxy. If all are trusted or an entry is
/// malformed, returns the last valid one. Earlier entries may be forged by the client.
fn last_untrusted(peer: IpAddr, forwarded: &str, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    for entry in forwarded.rsplit(',').map(str::trim) {
        if !is_trusted(client) {
            break;
        }
        match parse(entry) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// Parses an address, to which some proxies append a port.
fn parse(entry: &str) -> Option<IpAddr> {
    let unbracketed = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = unbracketed.unwrap_or(entry).parse().ok();
    address.or_else(|| entry.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn client(peer: &str, headers: &[&str], trusted: &[&str]) -> String {
        let trusted: Vec<IpNet> = trusted
            .iter()
            .map(|net| net.parse().expect("a network"))
            .collect();
        let mut request = TestRequest::default().peer_addr(peer.parse().expect("a socket"));
        for header in headers {
            request = request.append_header((FORWARDED, *header));
        }
        let address = of(&request.to_http_request(), &trusted);
        address.expect("an address").to_string()
    }

    #[test]
    fn headers_of_untrusted_peers_are_ignored() {
        assert_eq!(client("192.0.2.1:1", &["203.0.113.9"], &[]), "192.0.2.1");
        let trusted = ["10.0.0.0/8"];
        assert_eq!(
            client("192.0.2.1:1", &["203.0.113.9"], &trusted),
            "192.0.2.1"
        );
        assert_eq!(client("10.0.0.1:1", &[], &trusted), "10.0.0.1");
    }

    #[test]
    fn last_untrusted_address_is_the_client() {
        let trusted = ["10.0.0.0/8", "2001:db8::1/128"];
        for (headers, expected) in [
            (&["203.0.113.9"][..], "203.0.113.9"),
            (&["198.51.100.1, 203.0.113.9"], "203.0.113.9"),
            (&["198.51.100.1, 203.0.113.9, 10.1.1.1"], "203.0.113.9"),
            (&["198.51.100.1", "203.0.113.9,10.1.1.1"], "203.0.113.9"),
            (&["203.0.113.9, 2001:db8::1"], "203.0.113.9"),
            (&["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&["203.0.113.9:4711"], "203.0.113.9"),
            (&["[2001:db8::9]:4711"], "2001:db8::9"),
            (&["[2001:db8::9]"], "2001:db8::9"),
            (&["::ffff:203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(client("10.0.0.1:1", headers, &trusted), expected);
        }
        let mapped = client("[::ffff:10.0.0.1]:1", &["203.0.113.9"], &trusted);
        assert_eq!(mapped, "203.0.113.9");
    }

    #[test]
    fn malformed_entry_ends_the_search_at_the_last_valid_proxy() {
        for header in ["unknown", "", "198.51.100.1, unknown", "_hidden"] {
            assert_eq!(client("10.0.0.1:1", &[header], &["10.0.0.0/8"]), "10.0.0.1");
        }
        let behind = client("10.0.0.1:1", &["unknown, 10.1.1.1"], &["10.0.0.0/8"]);
        assert_eq!(behind, "10.1.1.1");
    }
}
