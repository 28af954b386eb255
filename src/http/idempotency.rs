//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header) and the replies that concern it.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderName, HeaderValue},
};

use super::{
    Context,
    auth::Caller,
    problem::{Code, Problem},
    uploads,
};
use crate::{ingest::KEY_BUSY_SECONDS, model::IdempotencyKey};

const NAME: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Longest key, in characters.
const MAX_KEY_CHARS: usize = 255;

/// Returns the idempotency key of a request to `route`, if it has one, and counts it: keys are stored for a day. Equal
/// headers of two callers are different keys.
pub(super) async fn key(
    context: &Context,
    request: &HttpRequest,
    caller: &Caller,
    route: &str,
) -> Result<Option<IdempotencyKey>, Problem> {
    let key = read_key(request, caller, route)?;
    if key.is_some() {
        let limit = &*context.key_rate_limit;
        uploads::check_limit(limit, caller, "requests with a key", "KEYED_REQUEST_LIMIT").await?;
    }
    Ok(key)
}

fn read_key(
    request: &HttpRequest,
    caller: &Caller,
    route: &str,
) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = request.headers().get_all(NAME);
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let is_single = values.next().is_none();
    let text = is_single.then(|| parse(first)).flatten();
    let text = text.ok_or_else(|| {
        let why = format!(
            "`Idempotency-Key` is sent once, and is 1 to {MAX_KEY_CHARS} visible ASCII characters, with or without double quotes around them"
        );
        Problem::new(Code::BadKey, why)
    })?;
    Ok(Some(IdempotencyKey::new(&caller.id, route, &text)))
}

/// Parses a key, bare or as the string of a structured field (RFC 8941, section 3.3.3).
fn parse(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => unescape(quoted.strip_suffix('"')?)?,
        None => text.to_owned(),
    };
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    ((1..=MAX_KEY_CHARS).contains(&key.len()) && is_visible).then_some(key)
}

/// Decodes the content of a quoted string; `None` if an escape or a quote is invalid.
fn unescape(quoted: &str) -> Option<String> {
    let (mut key, mut rest) = (String::new(), quoted.chars());
    while let Some(next) = rest.next() {
        key.push(match next {
            '\\' => rest.next().filter(|escaped| r#"\""#.contains(*escaped))?,
            '"' => return None,
            plain => plain,
        });
    }
    Some(key)
}

/// Marks a reply as that of an earlier request with the same key.
pub(super) fn replayed(mut reply: HttpResponse) -> HttpResponse {
    let replayed = HeaderValue::from_static("true");
    reply.headers_mut().insert(REPLAYED, replayed);
    reply
}

/// Returns the problem of a request whose key belongs to a request in progress.
pub(super) fn busy() -> Problem {
    let why = format!(
        "a request with this Idempotency-Key is still under way: send it again in {KEY_BUSY_SECONDS} seconds"
    );
    Problem::new(Code::KeyBusy, why).after(KEY_BUSY_SECONDS)
}

/// Returns the problem of a request whose key belongs to another request.
pub(super) fn reused() -> Problem {
    let why = "this Idempotency-Key was used for another request: send each request with a key of its own";
    Problem::new(Code::KeyReused, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_accepted_bare_or_quoted_within_bounds() {
        let key = |sent: &str| parse(&HeaderValue::from_str(sent).expect("a header"));
        for (sent, expected) in [
            ("abc", "abc"),
            ("\"abc\"", "abc"),
            (" 8e03978e-40d5 ", "8e03978e-40d5"),
            (r#""a\"b\\c""#, r#"a"b\c"#),
        ] {
            assert_eq!(key(sent).as_deref(), Some(expected), "{sent}");
        }
        let longest = "k".repeat(MAX_KEY_CHARS);
        let too_long = "k".repeat(MAX_KEY_CHARS + 1);
        assert!(key(&longest).is_some());
        for sent in [
            "", "\"\"", "\"a", "a b", "\"a b\"", r#""a"b""#, r#""a\b""#, &too_long,
        ] {
            assert_eq!(key(sent), None, "{sent}");
        }
        let bytes = HeaderValue::from_bytes(b"k\xC3\xA4").expect("a header");
        assert_eq!(parse(&bytes), None);
    }
}
