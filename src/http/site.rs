//! Refuses requests that a page of another site makes a browser send. A browser reaches services on loopback and in its
//! network, and any page can make it send requests there.
//!
//! | check | against | refused with |
//! |---|---|---|
//! | `Host` is a name of this service | a foreign name that resolves to this address (DNS rebinding) | 421 |
//! | `Origin` is this service's own, or in `CORS_ORIGINS` | requests by scripts and forms | 403 |
//! | `Sec-Fetch-Site` is not another site | elements that load a URL, and whose load or error event tells its status | 403 |
//!
//! Programs send neither `Origin` nor `Sec-Fetch-Site`. Sources: RFC 9110 (section 7.4), RFC 6454, W3C Fetch Metadata.

use std::net::IpAddr;

use actix_cors::Cors;
use actix_web::{
    Error, ResponseError,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, Version,
        header::{self, HeaderMap},
    },
    middleware::Next,
    web::Data,
};

use super::{
    Context,
    problem::{Code, Problem},
};

/// Headers of replies that scripts of `CORS_ORIGINS` may read.
const EXPOSED: [&str; 10] = [
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Retry-After",
    "Tus-Resumable",
    "Upload-Expires",
    "Upload-Length",
    "Upload-Offset",
    "Upload-Result",
    "X-Request-Id",
];
/// Seconds for which a browser remembers the reply to a preflight.
const PREFLIGHT_SECONDS: usize = 600;
/// Characters of a header that a problem shows.
const SHOWN_CHARS: usize = 100;

/// Middleware: answers a request from another site with a problem.
pub(super) async fn check(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let context = request.app_data::<Data<Context>>();
    let sites = &context.expect("the server is built with a context").sites;
    match sites.check(&request) {
        Ok(()) => Ok(next.call(request).await?.map_into_left_body()),
        Err(problem) => {
            tracing::debug!(
                code = problem.code().slug(),
                "request of another site refused"
            );
            let reply = request.into_response(problem.error_response());
            Ok(reply.map_into_right_body())
        }
    }
}

/// Returns the middleware that lets pages of `CORS_ORIGINS` read replies.
pub(super) fn cors(sites: &Sites) -> Cors {
    let cors = Cors::default()
        .allow_any_method()
        .allow_any_header()
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT_SECONDS);
    let origins = sites.cors_origins.iter();
    origins.fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// The names under which browsers may know this service.
#[derive(Debug, Clone)]
pub struct Sites {
    /// The address that the service is bound to.
    pub bound: IpAddr,
    /// Further names of the service, without ports, in lower case; `*` is any.
    pub allowed_hosts: Vec<String>,
    /// Origins whose pages may use the service, such as `https://wiki.example`, in lower case.
    pub cors_origins: Vec<String>,
}

impl Sites {
    fn check(&self, request: &ServiceRequest) -> Result<(), Problem> {
        let host = host(request)?;
        if let Some(host) = host
            && !self.is_own_name(name_of(host))
        {
            return Err(Problem::new(
                Code::HostNotAllowed,
                format!(
                    "`{}` is not a name of this service: set ALLOWED_HOSTS to the names by which it is called, or call it by its address",
                    shown(host)
                ),
            ));
        }
        let headers = request.headers();
        if self.is_listed_origin(headers) {
            return Ok(());
        }
        match text(headers, header::ORIGIN.as_str()) {
            Some(origin) if !host.is_some_and(|host| is_origin_of(origin, host)) => {
                return Err(cross_site(&format!("a page of `{}`", shown(origin))));
            }
            Some(_) | None => {}
        }
        match text(headers, "sec-fetch-site") {
            Some("cross-site" | "same-site") if !is_visit(request) => {
                Err(cross_site("a page of another site"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a host name, without its port, is one of this service. An address is a name only where the service is bound
    /// to it; a page can't have an address of this service as its own host, so all are, if it is bound to all.
    fn is_own_name(&self, name: &str) -> bool {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let listed = |allowed: &String| *allowed == "*" || *allowed == name;
        if name == "localhost" || self.allowed_hosts.iter().any(listed) {
            return true;
        }
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok_and(|address| {
            let (address, bound) = (address.to_canonical(), self.bound.to_canonical());
            address.is_loopback() || bound.is_unspecified() || address == bound
        })
    }

    fn is_listed_origin(&self, headers: &HeaderMap) -> bool {
        let origin = text(headers, header::ORIGIN.as_str());
        origin.is_some_and(|origin| {
            let origin = origin.to_ascii_lowercase();
            self.cors_origins.contains(&origin)
        })
    }
}

fn cross_site(by: &str) -> Problem {
    Problem::new(
        Code::CrossSite,
        format!(
            "the request was sent by {by}, which is not allowed: if the page is yours, add its origin to CORS_ORIGINS"
        ),
    )
}

/// Returns the `Host` of a request: none only in HTTP/1.0, which no browser speaks.
fn host(request: &ServiceRequest) -> Result<Option<&str>, Problem> {
    // An absolute URI replaces the header (RFC 9112, section 3.2.2).
    if let Some(authority) = request.uri().authority() {
        return Ok(Some(authority.as_str()));
    }
    let mut hosts = request.headers().get_all(header::HOST);
    match (hosts.next().map(|host| host.to_str()), hosts.next()) {
        (Some(Ok(host)), None) if !host.is_empty() => Ok(Some(host)),
        (None, _) if request.version() < Version::HTTP_11 => Ok(None),
        _ => Err(Problem::new(
            Code::HostNotAllowed,
            "the request needs exactly one `Host` header",
        )),
    }
}

/// Whether a person follows a link to the page, and no element of a page loads something.
fn is_visit(request: &ServiceRequest) -> bool {
    let is = |name, value| text(request.headers(), name) == Some(value);
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    reads
        && request.path() == "/"
        && is("sec-fetch-mode", "navigate")
        && is("sec-fetch-dest", "document")
}

/// Whether an origin such as `https://host:8443` is that of the service at `host`. Behind a proxy that ends TLS, the
/// scheme is not that of the connection, so it only gives the port that is left out.
fn is_origin_of(origin: &str, host: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let port = |authority: &str| {
        let name = name_of(authority);
        let port = authority[name.len()..].trim_start_matches(':');
        (if port.is_empty() { default } else { port }).to_owned()
    };
    name_of(authority).eq_ignore_ascii_case(name_of(host)) && port(authority) == port(host)
}

/// Returns the host of `host:port`, with the brackets of an IPv6 address.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => name,
        _ => authority,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    // A header that is no text is none that a browser sends; it is compared with nothing that is allowed.
    headers
        .get(name)
        .map(|value| value.to_str().unwrap_or("not text"))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn sites(bound: &str, hosts: &[&str], origins: &[&str]) -> Sites {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Sites {
            bound: bound.parse().expect("an address"),
            allowed_hosts: texts(hosts),
            cors_origins: texts(origins),
        }
    }

    fn result(
        sites: &Sites,
        method: Method,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<(), Code> {
        let mut request = TestRequest::default().method(method).uri(path);
        for header in headers {
            request = request.append_header(*header);
        }
        sites
            .check(&request.to_srv_request())
            .map_err(|problem| problem.code())
    }

    fn has_host(sites: &Sites, host: &str) -> bool {
        result(sites, Method::GET, "/metrics", &[("host", host)]).is_ok()
    }

    #[test]
    fn only_own_names_are_hosts() {
        let local = sites("127.0.0.1", &["tally.example", "10.9.8.7"], &[]);
        for host in [
            "localhost",
            "LOCALHOST:3000",
            "localhost.",
            "127.0.0.1:3000",
            "127.8.8.8",
            "[::1]:3000",
            "[::ffff:127.0.0.1]:1",
            "tally.example",
            "Tally.Example:80",
            "10.9.8.7:3000",
        ] {
            assert!(has_host(&local, host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "tally.example.evil.example",
            "xtally.example",
            "127.0.0.1.evil.example",
            "192.0.2.1",
            "0.0.0.0",
            "",
            "a b",
            "[::2]",
        ] {
            assert!(!has_host(&local, host), "{host}");
        }
        assert!(has_host(&sites("192.0.2.1", &[], &[]), "192.0.2.1:3000"));
        assert!(!has_host(&sites("192.0.2.1", &[], &[]), "192.0.2.2:3000"));
        assert!(has_host(&sites("0.0.0.0", &[], &[]), "192.0.2.2:3000"));
        assert!(!has_host(&sites("0.0.0.0", &[], &[]), "evil.example"));
        assert!(has_host(&sites("0.0.0.0", &["*"], &[]), "any.example"));
    }

    #[test]
    fn several_hosts_or_none_are_refused() {
        let local = sites("127.0.0.1", &[], &[]);
        let twice = [("host", "localhost"), ("host", "localhost")];
        for headers in [&twice[..], &[]] {
            let refused = result(&local, Method::GET, "/metrics", headers);
            assert_eq!(refused, Err(Code::HostNotAllowed));
        }
        let absolute = "http://evil.example/metrics";
        let refused = result(&local, Method::GET, absolute, &[("host", "localhost")]);
        assert_eq!(refused, Err(Code::HostNotAllowed));
    }

    #[test]
    fn only_own_and_listed_origins_are_accepted() {
        let local = sites("127.0.0.1", &["tally.example"], &["https://wiki.example"]);
        let from = |host, origin| {
            let headers = [("host", host), ("origin", origin)];
            let methods = [Method::POST, Method::GET, Method::DELETE];
            let results = methods.map(|method| result(&local, method, "/uploads", &headers));
            assert!(results.iter().all(|other| *other == results[0]));
            results[0]
        };
        for (host, origin) in [
            ("localhost:3000", "http://localhost:3000"),
            ("[::1]:3000", "http://[::1]:3000"),
            ("tally.example", "https://tally.example"),
            ("tally.example", "http://tally.example:80"),
            ("tally.example:443", "https://tally.example"),
            ("localhost:3000", "https://wiki.example"),
        ] {
            assert_eq!(from(host, origin), Ok(()), "{origin} at {host}");
        }
        for (host, origin) in [
            ("localhost:3000", "http://localhost:3001"),
            ("localhost:3000", "http://localhost"),
            ("localhost:3000", "http://127.0.0.1:3000"),
            ("localhost:3000", "null"),
            ("localhost:3000", "file://localhost:3000"),
            ("localhost:3000", "https://evil.example"),
            ("localhost:3000", "https://wiki.example.evil.example"),
            ("localhost:3000", "https://wiki.example:444"),
        ] {
            assert_eq!(from(host, origin), Err(Code::CrossSite), "{origin}");
        }
    }

    #[test]
    fn elements_of_other_sites_load_nothing() {
        let local = sites("127.0.0.1", &[], &["https://wiki.example"]);
        let sent = |method, path, mode, dest, site| {
            let headers = [
                ("host", "localhost"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", mode),
                ("sec-fetch-dest", dest),
            ];
            result(&local, method, path, &headers)
        };
        for site in ["cross-site", "same-site"] {
            for (mode, dest) in [
                ("no-cors", "image"),
                ("navigate", "iframe"),
                ("navigate", "document"),
                ("navigate", "object"),
            ] {
                let refused = sent(Method::GET, "/batches/1", mode, dest, site);
                assert_eq!(refused, Err(Code::CrossSite), "{site} {mode} {dest}");
                let refused = sent(Method::POST, "/uploads", mode, dest, site);
                assert_eq!(refused, Err(Code::CrossSite), "{site} {mode} {dest}");
            }
            let visit = sent(Method::GET, "/", "navigate", "document", site);
            assert_eq!(visit, Ok(()));
            let framed = sent(Method::GET, "/", "navigate", "iframe", site);
            assert_eq!(framed, Err(Code::CrossSite));
        }
        for site in ["same-origin", "none"] {
            let own = sent(Method::POST, "/uploads", "cors", "empty", site);
            assert_eq!(own, Ok(()));
        }
        let listed = [
            ("host", "localhost"),
            ("origin", "https://wiki.example"),
            ("sec-fetch-site", "cross-site"),
        ];
        assert_eq!(result(&local, Method::POST, "/uploads", &listed), Ok(()));
    }
}
