//! Whose request this is: the address of the socket, unless a proxy that is trusted names another.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use ipnet::IpNet;

/// The header in which proxies write down, one behind the other, from whom they had the request.
const FORWARDED: &str = "x-forwarded-for";

/// The address of the client; none on a socket without one.
pub(super) fn address(request: &HttpRequest, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip();
    let named = request.headers().get_all(FORWARDED);
    let named: Vec<_> = named.map(|value| value.to_str().unwrap_or("?")).collect();
    Some(nearest(peer, &named.join(","), trusted))
}

/// From the socket backwards, the first address that is not a trusted proxy. What stands before that was written by
/// whoever sent the request, and says nothing.
fn nearest(peer: IpAddr, named: &str, trusted: &[IpNet]) -> IpAddr {
    let mut client = peer.to_canonical();
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
    for name in named.rsplit(',').map(str::trim) {
        if !is_trusted(client) {
            break;
        }
        match read(name) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// An address, as some proxies with its port.
fn read(name: &str) -> Option<IpAddr> {
    let bare = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(name)
        .parse()
        .ok()
        .or_else(|| name.parse::<SocketAddr>().ok().map(|at| at.ip()))
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
        let found = address(&request.to_http_request(), &trusted);
        found.expect("an address").to_string()
    }

    #[test]
    fn nobody_is_believed_unless_told_so() {
        assert_eq!(client("192.0.2.1:1", &["203.0.113.9"], &[]), "192.0.2.1");
        let trusted = ["10.0.0.0/8"];
        assert_eq!(
            client("192.0.2.1:1", &["203.0.113.9"], &trusted),
            "192.0.2.1"
        );
        assert_eq!(client("10.0.0.1:1", &[], &trusted), "10.0.0.1");
    }

    #[test]
    fn behind_trusted_proxies_the_right_most_stranger_is_the_client() {
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
    fn what_is_no_address_ends_the_search_at_the_last_proxy_known() {
        for header in ["unknown", "", "198.51.100.1, unknown", "_hidden"] {
            assert_eq!(client("10.0.0.1:1", &[header], &["10.0.0.0/8"]), "10.0.0.1");
        }
        let behind = client("10.0.0.1:1", &["unknown, 10.1.1.1"], &["10.0.0.0/8"]);
        assert_eq!(behind, "10.1.1.1");
    }
}
