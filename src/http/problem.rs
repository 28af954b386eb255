//! Error replies: RFC 9457 `application/problem+json`. Converts the errors of all modules to a code of one table.

use std::fmt;

use actix_web::{HttpRequest, HttpResponse, ResponseError, http::StatusCode, http::header};
use serde::Serialize;
use serde_json::{Map, Value};

pub(super) use super::code::Code;
use super::reply::{ProposalReply, RejectionReply};
use crate::{
    ingest::{BadRows, BodyError, IngestError, KEY_BUSY_SECONDS, OptionFault},
    parse::ParseError,
    query::{EventFault, MetricFault, QueryError},
    receive::ReceiveError,
    store::StoreError,
    transfer::{MAX_CHECKED_BYTES, TransferError},
};

/// Seconds after which a client may retry while the store is unavailable.
const RETRY_AFTER: u64 = 5;

/// An error reply.
#[derive(Debug)]
pub struct Problem {
    code: Code,
    detail: String,
    retry_after: Option<u64>,
    extra: Map<String, Value>,
}

impl Problem {
    pub(super) fn new(code: Code, detail: impl Into<String>) -> Self {
        let retry_after =
            matches!(code, Code::Unavailable | Code::OutcomeUnknown).then_some(RETRY_AFTER);
        Self {
            code,
            detail: detail.into(),
            retry_after,
            extra: Map::new(),
        }
    }

    pub(super) fn code(&self) -> Code {
        self.code
    }

    /// A fault of the service. Its cause is in the log, since the reply must not reveal internals.
    fn internal() -> Self {
        Self::new(
            Code::Internal,
            "something went wrong inside; the log has it under this request's id",
        )
    }

    /// Adds a field to the body.
    pub(super) fn with(mut self, name: &str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("field names are text");
        self.extra.insert(name.into(), value);
        self
    }

    /// Adds the first rejected rows.
    fn with_errors(self, rows: &BadRows) -> Self {
        let BadRows {
            failed,
            first,
            columns,
            proposals,
        } = rows;
        let errors = RejectionReply::list(first, &columns.labels);
        let truncated = *failed > errors.len() as u64;
        self.with("failed_count", *failed)
            .with("errors", errors)
            .with("errors_truncated", truncated)
            .with("proposals", ProposalReply::list(proposals, None))
    }

    /// Makes the problem retryable after a number of seconds.
    pub(super) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// Adds the limit that was exceeded, and the setting that changes it.
    pub(super) fn limit(self, limit: impl Serialize, setting: &str) -> Self {
        self.with("limit", limit).with("setting", setting)
    }
}

impl Problem {
    fn body(&self) -> String {
        let Self {
            code,
            detail,
            retry_after,
            extra,
        } = self;
        let body = ProblemBody {
            extra,
            kind: format!("urn:tallymill:problem:{}", code.slug()),
            title: code.title(),
            status: code.status(),
            detail,
            error: detail,
            code: code.slug(),
            retryable: retry_after.is_some(),
        };
        serde_json::to_string(&body).expect("field names are text")
    }

    /// Returns the body of the reply. If it is longer than `max_bytes`, the rejected rows are left out.
    pub(super) fn text(mut self, max_bytes: usize) -> String {
        let body = self.body();
        if body.len() <= max_bytes {
            return body;
        }
        self.extra.remove("errors");
        self.with("errors_truncated", true).body()
    }
}

/// The fields of RFC 9457, after those of the single problem.
#[derive(Serialize)]
struct ProblemBody<'a> {
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// The detail again, under the name that clients of the former service read.
    error: &'a str,
    code: &'a str,
    retryable: bool,
}

/// A required column that a file lacks.
#[derive(Serialize)]
struct MissingColumn<'a> {
    column: &'a str,
    accepted: &'a [&'a str],
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.slug(), self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut reply = HttpResponse::build(self.status_code());
        reply.content_type("application/problem+json");
        if let Some(seconds) = self.retry_after {
            reply.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if self.code == Code::Unauthorized {
            reply.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        reply.body(self.body())
    }
}

/// Replies to paths without a route.
pub(super) async fn no_route(request: HttpRequest) -> Result<HttpResponse, Problem> {
    let path: String = request.path().chars().take(200).collect();
    let why = format!("there is no route `{} {path}`", request.method());
    Err(Problem::new(Code::NotFound, why))
}

impl From<StoreError> for Problem {
    fn from(why: StoreError) -> Self {
        // Logged here, since the reply must not reveal internals.
        match why {
            StoreError::Unavailable { .. } => {
                if why.is_known_outage() {
                    tracing::debug!(error = %why, "request refused with 503");
                } else {
                    tracing::warn!(error = %why, "request refused with 503");
                }
                Self::new(
                    Code::Unavailable,
                    "the store is not available at the moment: try again in a few seconds",
                )
            }
            StoreError::Blocked { .. } => {
                tracing::warn!(error = %why, "request refused with 503");
                Self::new(
                    Code::Unavailable,
                    "the disk of the service is full or does not accept writes: its operator has to act before a retry helps",
                )
            }
            StoreError::Failed { .. }
            | StoreError::Missing { .. }
            | StoreError::Corrupt { .. }
            | StoreError::Setup(_) => {
                tracing::error!(error = %why, "request failed with 500");
                Self::internal()
            }
        }
    }
}

impl From<QueryError> for Problem {
    fn from(why: QueryError) -> Self {
        match why {
            QueryError::Cursor(why) => Self::new(Code::BadCursor, why.to_string()),
            QueryError::Metrics(why @ MetricFault::TooLong) => {
                Self::new(Code::RangeTooLong, why.to_string())
            }
            QueryError::Events(why @ EventFault::TooManyBatches) => {
                Self::new(Code::RangeTooLong, why.to_string())
            }
            QueryError::Events(why) => Self::new(Code::BadQuery, why.to_string()),
            QueryError::Metrics(why) => Self::new(Code::BadQuery, why.to_string()),
            QueryError::Store(why) => why.into(),
        }
    }
}

impl From<OptionFault> for Problem {
    fn from(why: OptionFault) -> Self {
        Self::new(Code::BadOption, why.to_string())
    }
}

impl From<IngestError> for Problem {
    fn from(why: IngestError) -> Self {
        let detail = why.to_string();
        match why {
            IngestError::Options(why) => why.into(),
            IngestError::Receive(ReceiveError::TooLarge { limit, .. }) => {
                Self::new(Code::TooLarge, detail).limit(limit, "BODY_LIMIT_BYTES")
            }
            IngestError::Receive(ReceiveError::NotCsv { found, .. }) => {
                Self::new(Code::NotCsv, detail).with("found", found)
            }
            IngestError::Receive(ReceiveError::UnpacksTooFar { packing, ratio }) => {
                Self::new(Code::BadArchive, detail)
                    .with("packing", packing.as_str())
                    .with("limit", ratio)
            }
            IngestError::Receive(ReceiveError::Archive(_)) => Self::new(Code::BadArchive, detail),
            IngestError::Receive(ReceiveError::Damaged { packing, .. }) => {
                Self::new(Code::BadArchive, detail).with("packing", packing.as_str())
            }
            IngestError::Receive(ReceiveError::Aborted(_)) => Self::new(Code::BodyCut, detail),
            IngestError::Parse(why) => of_file(&why, detail),
            IngestError::NoValidRows(rows) => {
                Self::new(Code::NoValidRows, detail).with_errors(&rows)
            }
            IngestError::TooManyErrors { rows, .. } => {
                Self::new(Code::TooManyErrors, detail).with_errors(&rows)
            }
            IngestError::TooManyEventTypes { limit, line, .. } => {
                Self::new(Code::TooManyEventTypes, detail)
                    .limit(limit, "EVENT_TYPES_LIMIT")
                    .with("line", line)
            }
            IngestError::TooManyDays { limit, line, .. } => Self::new(Code::TooManyDays, detail)
                .limit(limit, "DAYS_LIMIT")
                .with("line", line),
            IngestError::Body(why) => why.into(),
            IngestError::Store(why) => why.into(),
            IngestError::OutcomeUnknown { id, source } => {
                tracing::error!(batch.id = %id, error = %source, "whether batch {id} is stored is not known, the client may read it");
                Self::new(Code::OutcomeUnknown, detail).with("batch_id", id.to_string())
            }
            IngestError::Abandoned => Self::new(Code::BodyTimeout, detail),
            IngestError::ParserPanicked => {
                tracing::error!("the parser panicked, the upload gets 500");
                Self::internal()
            }
            IngestError::KeyBusy => Self::new(Code::KeyBusy, detail).after(KEY_BUSY_SECONDS),
            IngestError::KeyReused => Self::new(Code::KeyReused, detail),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(why: BodyError) -> Self {
        let detail = why.to_string();
        match why {
            BodyError::Broken { .. } | BodyError::EndedEarly => Self::new(Code::BodyCut, detail),
            BodyError::Idle { seconds } => {
                Self::new(Code::BodyTimeout, detail).limit(seconds, "STALL_SECONDS")
            }
            BodyError::TooLong { seconds } => {
                Self::new(Code::BodyTimeout, detail).limit(seconds, "UPLOAD_SECONDS")
            }
            BodyError::TooSlow { bytes_per_second } => {
                Self::new(Code::BodyTimeout, detail).with("limit", bytes_per_second)
            }
            BodyError::FormNotEnded { .. } => Self::new(Code::BodyTimeout, detail),
            BodyError::SeveralFiles => Self::new(Code::SeveralFiles, detail),
            BodyError::LateOption { .. } => Self::new(Code::LateOption, detail),
            BodyError::Store(why) => why.into(),
        }
    }
}

impl From<TransferError> for Problem {
    fn from(why: TransferError) -> Self {
        let detail = why.to_string();
        match why {
            TransferError::Missing(_) => Self::new(Code::UploadMissing, detail),
            TransferError::OffsetMismatch { end, .. } => {
                Self::new(Code::OffsetMismatch, detail).with("offset", end)
            }
            TransferError::Busy => Self::new(Code::UploadBusy, detail).after(RETRY_AFTER),
            TransferError::TooLong { .. } => Self::new(Code::BadUpload, detail),
            TransferError::Interrupted(_) => Self::new(Code::BodyCut, detail),
            TransferError::DryRun => Self::new(Code::BadOption, detail),
            TransferError::CheckedTooLong => {
                Self::new(Code::TooLarge, detail).with("limit", MAX_CHECKED_BYTES)
            }
            TransferError::ChecksumMismatch => Self::new(Code::ChecksumMismatch, detail),
            TransferError::TooManyParts { limit } => {
                Self::new(Code::TooLarge, detail).with("limit", limit)
            }
            TransferError::Complete => Self::new(Code::UploadComplete, detail),
            TransferError::Full { seconds } => Self::new(Code::Unavailable, detail).after(seconds),
            TransferError::SenderFull { seconds } => {
                Self::new(Code::RateLimited, detail).after(seconds)
            }
            TransferError::Ingest(IngestError::KeyBusy) => Self::new(
                Code::Unavailable,
                "the upload is being stored at this moment: ask again in a few seconds",
            ),
            TransferError::Ingest(why) => why.into(),
            TransferError::Store(why) => why.into(),
        }
    }
}

fn of_file(why: &ParseError, detail: String) -> Problem {
    match why {
        ParseError::Empty => Problem::new(Code::EmptyFile, detail),
        ParseError::HeaderOnly => Problem::new(Code::HeaderOnly, detail),
        ParseError::MissingColumns {
            missing,
            found,
            nearest,
            proposed,
            proposals,
            ..
        } => {
            let nearest: Map<String, Value> = nearest
                .iter()
                .map(|(to, label)| (to.name().to_owned(), label.as_str().into()))
                .collect();
            let missing: Vec<_> = missing
                .iter()
                .map(|column| MissingColumn {
                    column: column.name(),
                    accepted: column.aliases(),
                })
                .collect();
            let names: Vec<_> = found.iter().map(String::as_str).collect();
            Problem::new(Code::MissingColumns, detail)
                .with("missing", missing)
                .with("found", names)
                .with("nearest", nearest)
                .with("proposed", proposed.as_deref())
                .with("proposals", ProposalReply::list(proposals, None))
        }
        ParseError::AmbiguousColumns {
            field,
            labels,
            proposals,
        } => Problem::new(Code::AmbiguousColumns, detail)
            .with("column", field.name())
            .with("found", labels)
            .with("proposals", ProposalReply::list(proposals, None)),
        ParseError::NoHeader { proposals } => Problem::new(Code::BadHeader, detail)
            .with("line", 1)
            .with("proposals", ProposalReply::list(proposals, None)),
        ParseError::LabelMissing { .. } => {
            let choice = |value: &str| serde_json::json!({ "option": "header", "value": value });
            Problem::new(Code::BadHeader, detail).with(
                "proposals",
                [choice("unnamed-first"), choice("unnamed-last")],
            )
        }
        ParseError::UnknownMappedColumn { found, .. }
        | ParseError::UnknownKeyColumn { found, .. } => {
            let names: Vec<_> = found.iter().map(String::as_str).collect();
            Problem::new(Code::MissingColumns, detail).with("found", names)
        }
        ParseError::DuplicateColumn { label } => {
            Problem::new(Code::DuplicateColumn, detail).with("column", label.as_str())
        }
        ParseError::TooManyColumns { limit, .. } => {
            Problem::new(Code::TooManyColumns, detail).limit(*limit, "COLUMN_LIMIT")
        }
        ParseError::TooManyLines { limit } => {
            Problem::new(Code::TooLarge, detail).with("limit", *limit)
        }
        ParseError::TooManyBlankLines { limit } => {
            Problem::new(Code::TooLarge, detail).with("limit", *limit)
        }
        ParseError::HeaderTooLong { limit, .. } => {
            Problem::new(Code::BadHeader, detail).limit(*limit, "RECORD_LIMIT_BYTES")
        }
        ParseError::LabelTooLong { limit, .. } => {
            Problem::new(Code::BadHeader, detail).with("limit", *limit)
        }
        ParseError::RowAboveHeader { line, .. }
        | ParseError::AnotherHeader { line }
        | ParseError::HeaderNotText { line }
        | ParseError::HeaderUnclosedQuote { line }
        | ParseError::CarriageReturnOnly { line }
        | ParseError::FramingMismatch { line } => {
            Problem::new(Code::BadHeader, detail).with("line", *line)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_unique_kebab_case_names() {
        let names: std::collections::BTreeSet<_> = Code::ALL.iter().map(|c| c.slug()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(
            names
                .iter()
                .all(|n| n.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
        );
    }

    #[test]
    fn files_with_too_many_lines_are_too_large() {
        let limit = u32::MAX;
        let problem = Problem::from(IngestError::Parse(ParseError::TooManyLines { limit }));
        assert_eq!(problem.error_response().status(), 413);
        let body: Value = serde_json::from_str(&problem.body()).expect("JSON");
        assert_eq!(
            (&body["code"], &body["limit"]),
            (&"too-large".into(), &limit.into())
        );
        assert!(problem.detail.contains("4294967295 lines"), "{problem}");
    }

    #[test]
    fn internal_errors_are_hidden_from_clients() {
        let inner = StoreError::Failed {
            what: "SQLite",
            source: "near \"SELEC\": syntax error".into(),
        };
        let problem = Problem::from(inner);
        assert!(!problem.detail.contains("SELEC"), "{problem}");
        assert_eq!(problem.error_response().status(), 500);
    }
}
