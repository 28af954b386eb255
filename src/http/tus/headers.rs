//! The headers of a tus request: version, offset, length, options and checksum.

use actix_web::{HttpRequest, http::header};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    http::problem::{Code, Problem},
    model::Instant,
    transfer::{AppendRequest, Checksum},
};

/// The supported version of the protocol.
pub(super) const VERSION: &str = "1.0.0";
/// The media type of a body with bytes of the file.
pub(super) const CHUNK_TYPE: &str = "application/offset+octet-stream";
/// Pairs in `Upload-Metadata`.
const MAX_PAIRS: usize = 32;
/// Metadata that client libraries send unasked.
const IGNORED: [&str; 3] = ["filetype", "type", "relativePath"];

/// The headers of a request in the supported version.
pub(super) struct TusHeaders<'a>(&'a HttpRequest);

impl<'a> TusHeaders<'a> {
    pub(super) fn of(request: &'a HttpRequest) -> Result<Self, Problem> {
        let headers = Self(request);
        if headers.text("Tus-Resumable") == Some(VERSION) {
            return Ok(headers);
        }
        let why = format!("this is tus {VERSION}: send `Tus-Resumable: {VERSION}`");
        Err(Problem::new(Code::TusVersion, why))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.headers().get(name)?.to_str().ok().map(str::trim)
    }

    fn number(&self, name: &str) -> Result<u64, Problem> {
        let text = self.text(name).unwrap_or_default();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = is_number.then(|| text.parse().ok()).flatten();
        number.ok_or_else(|| bad(format!("`{name}` is needed, a whole number of bytes")))
    }

    pub(super) fn length(&self) -> Result<u64, Problem> {
        if self.0.headers().contains_key("Upload-Defer-Length") {
            let why = "`Upload-Defer-Length` is not supported: send `Upload-Length`";
            return Err(bad(why.into()));
        }
        self.number("Upload-Length")
    }

    pub(super) fn offset(&self) -> Result<u64, Problem> {
        self.number("Upload-Offset")
    }

    /// Whether the body has bytes of the file.
    pub(super) fn has_chunk(&self) -> bool {
        let kind = self.0.headers().get(header::CONTENT_TYPE);
        kind.is_some_and(|kind| kind.as_bytes() == CHUNK_TYPE.as_bytes())
    }

    /// Describes the body, which begins at `offset` within the file.
    pub(super) fn append_request(&self, offset: u64) -> Result<AppendRequest, Problem> {
        Ok(AppendRequest {
            offset,
            length: self.number("Content-Length").ok(),
            checksum: self.checksum()?,
        })
    }

    fn checksum(&self) -> Result<Option<Checksum>, Problem> {
        let Some(text) = self.text("Upload-Checksum") else {
            return Ok(None);
        };
        let checksum = text.parse::<Checksum>();
        checksum
            .map(Some)
            .map_err(|why| bad(format!("`Upload-Checksum`: {why}")))
    }

    /// Returns the upload options in the metadata. `filename` stands for the option `name`, unless that is sent too.
    pub(super) fn options(&self) -> Result<Vec<(String, String)>, Problem> {
        let text = self.text("Upload-Metadata").unwrap_or_default();
        let mut pairs = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            if pairs.len() == MAX_PAIRS {
                return Err(bad(format!(
                    "`Upload-Metadata` has more than {MAX_PAIRS} pairs"
                )));
            }
            pairs.push(parse_pair(pair)?);
        }
        let has_name = pairs.iter().any(|(name, _)| name == "name");
        let is_overridden = |name: &str| has_name && name == "filename";
        pairs.retain(|(name, _)| !(IGNORED.contains(&name.as_str()) || is_overridden(name)));
        for (name, _) in &mut pairs {
            if name == "filename" {
                "name".clone_into(name);
            }
        }
        Ok(pairs)
    }
}

fn parse_pair(pair: &str) -> Result<(String, String), Problem> {
    let (name, value) = pair.trim().split_once(' ').unwrap_or((pair.trim(), ""));
    let value = STANDARD.decode(value.trim()).ok();
    let value = value.and_then(|value| String::from_utf8(value).ok());
    let value = value.ok_or_else(|| {
        let name: String = name.chars().take(80).collect();
        bad(format!(
            "`{name}` in `Upload-Metadata` is not UTF-8 text in Base64"
        ))
    })?;
    Ok((name.to_owned(), value))
}

fn bad(why: String) -> Problem {
    Problem::new(Code::BadUpload, why)
}

/// Formats an instant for a header (RFC 9110, section 5.6.7).
pub(super) fn http_date(at: Instant) -> String {
    httpdate::fmt_http_date(at.into())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn options(metadata: &str) -> Result<Vec<(String, String)>, Problem> {
        let request = TestRequest::default()
            .insert_header(("Tus-Resumable", VERSION))
            .insert_header(("Upload-Metadata", metadata))
            .to_http_request();
        TusHeaders::of(&request).expect("the version").options()
    }

    #[test]
    fn metadata_holds_options_and_the_file_name() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        for (metadata, expected) in [
            ("", vec![]),
            (
                "filename w6QuY3N2,source Y3Jt, filetype dGV4dC9jc3Y=",
                vec![pair("name", "ä.csv"), pair("source", "crm")],
            ),
            (
                "name YS5jc3Y=,filename Yi5jc3Y=",
                vec![pair("name", "a.csv")],
            ),
            ("source", vec![pair("source", "")]),
        ] {
            assert_eq!(options(metadata).expect("is read"), expected, "{metadata}");
        }
        let many = "a YQ==,".repeat(MAX_PAIRS + 1);
        for metadata in ["source ?", "source /w==", "a b c", &many] {
            assert!(options(metadata).is_err(), "{metadata}");
        }
    }
}
