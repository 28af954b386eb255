//! The `Idempotency-Key` of a request (draft-ietf-httpapi-idempotency-key-header): who sent it for what, as one digest.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{self, HeaderName, HeaderValue},
};

use super::{
    Context, client,
    problem::{Code, Problem},
};
use crate::{ingest::KEY_BUSY_SECONDS, model::IdempotencyKey};

const NAME: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key.
const LONGEST: usize = 255;

/// The key of a request to a route, if it has one.
pub(super) fn of(
    at: &Context,
    request: &HttpRequest,
    route: &str,
) -> Result<Option<IdempotencyKey>, Problem> {
    let mut sent = request.headers().get_all(NAME);
    let Some(first) = sent.next() else {
        return Ok(None);
    };
    let chosen = sent.next().is_none().then(|| read(first)).flatten();
    let chosen = chosen.ok_or_else(|| {
        let why = format!(
            "`Idempotency-Key` is sent once, and is 1 to {LONGEST} visible ASCII characters, with or without double quotes around them"
        );
        Problem::new(Code::BadKey, why)
    })?;
    let address = client::address(request, &at.trusted_proxies);
    let address = address.map_or_else(String::new, |address| address.to_string());
    let mut caller = address.into_bytes();
    if let Some(credentials) = request.headers().get(header::AUTHORIZATION) {
        caller.push(0);
        caller.extend_from_slice(credentials.as_bytes());
    }
    Ok(Some(IdempotencyKey::new(&caller, route, &chosen)))
}

/// A key as it stands, or as the string of a structured field (RFC 8941, 3.3.3).
fn read(sent: &HeaderValue) -> Option<String> {
    let text = sent.to_str().ok()?.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted.strip_suffix('"')?)?,
        None => text.to_owned(),
    };
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    ((1..=LONGEST).contains(&key.len()) && visible).then_some(key)
}

fn unquote(inner: &str) -> Option<String> {
    let (mut key, mut rest) = (String::new(), inner.chars());
    while let Some(next) = rest.next() {
        key.push(match next {
            '\\' => rest.next().filter(|escaped| r#"\""#.contains(*escaped))?,
            '"' => return None,
            plain => plain,
        });
    }
    Some(key)
}

/// Says of a reply that it is that of an earlier request.
pub(super) fn replayed(mut reply: HttpResponse) -> HttpResponse {
    let yes = HeaderValue::from_static("true");
    reply.headers_mut().insert(REPLAYED, yes);
    reply
}

pub(super) fn busy() -> Problem {
    let why = format!(
        "a request with this Idempotency-Key is still under way: send it again in {KEY_BUSY_SECONDS} seconds"
    );
    Problem::new(Code::KeyBusy, why).after(KEY_BUSY_SECONDS)
}

pub(super) fn reused() -> Problem {
    let why = "this Idempotency-Key was used for another request: send each request with a key of its own";
    Problem::new(Code::KeyReused, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_bare_and_quoted_and_bounded() {
        let of = |sent: &str| read(&HeaderValue::from_str(sent).expect("a header"));
        for (sent, key) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            (" 8e03978e-40d5 ", "8e03978e-40d5"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
        ] {
            assert_eq!(of(sent).as_deref(), Some(key), "{sent}");
        }
        let (longest, longer) = ("k".repeat(LONGEST), "k".repeat(LONGEST + 1));
        assert!(of(&longest).is_some());
        for sent in [
            "", "\"\"", "\"a", "a b", "\"a b\"", r#""a"b""#, r#""a\b""#, &longer,
        ] {
            assert_eq!(of(sent), None, "{sent}");
        }
        let bytes = HeaderValue::from_bytes(b"k\xC3\xA4").expect("a header");
        assert_eq!(read(&bytes), None);
    }
}
