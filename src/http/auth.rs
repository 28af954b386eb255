//! Who sends a request, and what they may do. [`Caller`] is the only reader of addresses and credentials.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    net::IpAddr,
    time::Duration,
};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web::Data};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{
    Context, access_log, client_address,
    problem::{Code, Problem},
};
use crate::limit::RetryAfter;

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Everything but the admin routes.
    Public,
    /// Everything. The request carries `ADMIN_TOKEN`.
    Admin,
}

/// The sender of a request. An extractor that never fails.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Identifies the caller among those that use idempotency keys: the address and the credentials.
    pub(super) id: Vec<u8>,
    /// The address of the client, behind trusted proxies. The rate limit counts by it, and the log and the audit log
    /// record it. None on a Unix socket.
    pub(super) address: Option<IpAddr>,
    /// Whether the request has credentials, right or wrong.
    pub(super) sent_credentials: bool,
    /// What the caller may do.
    pub(super) role: Role,
}

impl Caller {
    fn of(request: &HttpRequest, context: &Context) -> Self {
        let address = client_address::of(request, &context.trusted_proxies);
        let credentials = request.headers().get(header::AUTHORIZATION);
        let credentials = credentials.map(|value| value.as_bytes());
        let is_admin = match (&context.admin_token, credentials.and_then(bearer_token)) {
            (Some(token), Some(sent)) => token.matches(sent),
            (None, _) | (_, None) => false,
        };
        Self {
            id: caller_id(address, credentials),
            address,
            sent_credentials: credentials.is_some(),
            role: if is_admin { Role::Admin } else { Role::Public },
        }
    }
}

impl FromRequest for Caller {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request, context(request))))
    }
}

/// A caller in [`Role::Admin`]. The extractor refuses all others.
#[derive(Debug, Clone)]
pub(super) struct Admin(pub(super) Caller);

impl Admin {
    fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let context = context(request);
        if context.admin_token.is_none() {
            return Err(Problem::new(
                Code::AdminDisabled,
                "the admin routes are off since no token is set: set ADMIN_TOKEN and start again",
            ));
        }
        let address = client_address::of(request, &context.trusted_proxies);
        let now = context.clock.elapsed();
        if let Some(wait) = context.token_failures.wait(address, now) {
            return Err(too_many_attempts(wait));
        }
        let caller = Caller::of(request, context);
        match caller.role {
            Role::Admin => {
                context.token_failures.clear(address);
                Ok(Self(caller))
            }
            Role::Public => {
                access_log::token_refused(&caller);
                if caller.sent_credentials {
                    context.token_failures.add(address, now);
                }
                let why = "send `Authorization: Bearer <ADMIN_TOKEN>`";
                Err(Problem::new(Code::Unauthorized, why))
            }
        }
    }

    /// The name of the caller in the audit log.
    pub(super) fn actor(&self) -> String {
        access_log::client(self.0.address)
    }
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

fn too_many_attempts(wait: Duration) -> Problem {
    let seconds = RetryAfter(wait).seconds();
    let why =
        format!("too many wrong tokens from this address: the next one is compared in {seconds} s");
    Problem::new(Code::TooManyAttempts, why).after(seconds)
}

fn context(request: &HttpRequest) -> &Context {
    let context = request.app_data::<Data<Context>>();
    context.expect("the server is built with a context")
}

/// Part of the digest of stored idempotency keys: the form never changes.
fn caller_id(address: Option<IpAddr>, credentials: Option<&[u8]>) -> Vec<u8> {
    let address = address.map_or_else(String::new, |address| address.to_string());
    let mut id = address.into_bytes();
    if let Some(credentials) = credentials {
        id.push(0);
        id.extend_from_slice(credentials);
    }
    id
}

/// Returns the token of an `Authorization` header. The scheme is case-insensitive (RFC 9110, section 11.1).
fn bearer_token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

/// The SHA-256 of the admin token. Comparing hashes takes the same time whatever was sent.
#[derive(Clone)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Hashes a token in clear text.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    fn matches(&self, token: &[u8]) -> bool {
        let sent: [u8; 32] = Sha256::digest(token).into();
        self.0.ct_eq(&sent).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_complete_token_matches() {
        let token = AdminToken::new("s3cret");
        assert!(token.matches(b"s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "S3cret", "s3crets"] {
            assert!(!token.matches(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn bearer_scheme_is_case_insensitive() {
        for header in ["Bearer s3cret", "bearer s3cret", "BEARER s3cret"] {
            assert_eq!(bearer_token(header.as_bytes()), Some(&b"s3cret"[..]));
        }
        for header in ["", "Bearer", "Basic s3cret", "s3cret"] {
            assert_eq!(bearer_token(header.as_bytes()), None, "{header}");
        }
    }

    #[test]
    fn caller_ids_separate_addresses_and_credentials() {
        let address = Some("192.0.2.1".parse().expect("an address"));
        assert_eq!(caller_id(address, None), b"192.0.2.1");
        assert_eq!(
            caller_id(address, Some(b"Bearer a")),
            b"192.0.2.1\0Bearer a"
        );
        assert_eq!(caller_id(None, Some(b"Bearer a")), b"\0Bearer a");
    }
}
