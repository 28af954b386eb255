//! The receipt of a file: counts, file, dialect, columns and identity.

use std::collections::BTreeMap;

use serde::Serialize;

use super::instant;
use crate::model::{
    BatchId, BatchStatus, ColumnRole, Columns, Evidence, FaultCode, FileOrigin, IdentityBy,
    Instant, ProfileName, Proposal, ProposalScope, Receipt,
    receipt::{RowCounts, ValueCounts, Warning},
};
use crate::parse::Dialect;

/// The part of a batch that describes its file.
#[derive(Debug, Serialize)]
pub(super) struct ReceiptReply<'a> {
    received_count: u64,
    inserted_count: u64,
    failed_count: u64,
    blank_count: u64,
    errors_by_code: &'a BTreeMap<FaultCode, u64>,
    errors_kept: u64,
    /// None for a batch that is not of a file, like `dialect`.
    file: Option<FileReply<'a>>,
    dialect: Option<DialectReply<'a>>,
    profile: Option<&'a ProfileName>,
    parent: Option<BatchId>,
    options: &'a BTreeMap<String, String>,
    columns: Vec<ColumnReply<'a>>,
    proposals: Vec<ProposalReply<'a>>,
    warnings: Vec<WarningReply<'a>>,
    /// How the values were read; none for a batch of an older version, or of a stream.
    values: Option<&'a ValueCounts>,
    identity: IdentityReply<'a>,
    event_time: EventTimeReply,
    expires_at: Option<Instant>,
}

impl<'a> ReceiptReply<'a> {
    /// Builds the reply from a receipt and the fields of its batch; `stored` is none for a dry run.
    pub(super) fn new(
        stored: Option<BatchId>,
        receipt: &'a Receipt,
        source: &'a str,
        dedupe: bool,
        status: BatchStatus,
    ) -> Self {
        let Receipt {
            rows:
                RowCounts {
                    received,
                    inserted,
                    failed,
                    blank,
                },
            errors_by_code,
            rejections_kept,
            origin,
            proposals,
            warnings,
            values,
            profile,
            parent,
            options,
            columns,
            event_time: (first, last),
            event_types: _,
            days: _,
            identity,
            event_digest: _,
            claims,
            expires_at,
        } = receipt;
        let (file, dialect) = origin.file().map(file_and_dialect).unzip();
        Self {
            received_count: *received,
            inserted_count: *inserted,
            failed_count: *failed,
            blank_count: *blank,
            errors_by_code,
            errors_kept: *rejections_kept,
            file,
            dialect,
            profile: profile.as_ref(),
            parent: *parent,
            options,
            columns: ColumnReply::list(columns),
            proposals: ProposalReply::list(proposals, stored),
            warnings: WarningReply::list(warnings, stored),
            values: values.as_ref(),
            identity: IdentityReply::new(identity, dedupe && *claims, source, columns),
            event_time: EventTimeReply {
                min: instant(*first),
                max: instant(*last),
            },
            // Only an unprocessed batch expires.
            expires_at: expires_at.filter(|_| status == BatchStatus::Uploaded),
        }
    }
}

#[derive(Debug, Serialize)]
struct FileReply<'a> {
    name: Option<&'a str>,
    bytes: u64,
    sha256: &'a str,
    packing: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct DialectReply<'a> {
    encoding: &'a str,
    encoding_known: &'a str,
    bom: bool,
    delimiter: char,
    /// None if no quotes are read.
    quote: Option<char>,
    escape: &'a str,
    line_ending: &'a str,
    preamble_lines: u32,
    repeated_headers: u64,
}

fn file_and_dialect(file: &FileOrigin) -> (FileReply<'_>, DialectReply<'_>) {
    let FileOrigin {
        name,
        bytes,
        sha256,
        bom,
        encoding,
        encoding_source,
        packing,
        line_ending,
        delimiter,
        quote,
        escape,
        preamble_lines,
        repeated_headers,
    } = file;
    let file = FileReply {
        name: name.as_deref(),
        bytes: *bytes,
        sha256,
        packing: packing.as_deref(),
    };
    let dialect = DialectReply {
        encoding,
        encoding_known: encoding_source,
        bom: *bom,
        delimiter: *delimiter,
        quote: Some(*quote).filter(|quote| *quote != char::from(Dialect::NO_QUOTE)),
        escape,
        line_ending,
        preamble_lines: *preamble_lines,
        repeated_headers: *repeated_headers,
    };
    (file, dialect)
}

/// A column of the file, with its name among the stored events.
#[derive(Debug, Serialize)]
struct ColumnReply<'a> {
    name: &'a str,
    role: ColumnRole,
    stored_as: Option<String>,
}

impl<'a> ColumnReply<'a> {
    fn list(columns: &'a Columns) -> Vec<Self> {
        let mut attributes = columns.stored_attributes().into_iter();
        let mut column = |(name, role): (&'a String, &ColumnRole)| Self {
            name,
            role: *role,
            stored_as: match role {
                ColumnRole::Attribute => attributes.next(),
                fixed_or_ignored => fixed_or_ignored.canonical().map(str::to_owned),
            },
        };
        let columns = columns.labels.iter().zip(&columns.roles);
        columns.map(&mut column).collect()
    }
}

/// An option that would let rows be read, or settle a question, with its evidence.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ProposalReply<'a> {
    option: &'a str,
    value: &'a str,
    scope: ProposalScope,
    /// Whether the values of the file prove it; otherwise it is one answer to a question.
    proven: bool,
    rows: u64,
    evidence: Option<&'a Evidence>,
    detail: String,
}

impl<'a> ProposalReply<'a> {
    /// `stored` is the batch that holds the other rows of the file.
    pub(in crate::http) fn list(proposals: &'a [Proposal], stored: Option<BatchId>) -> Vec<Self> {
        let reply = |proposal: &'a Proposal| {
            let Proposal {
                option,
                value,
                scope,
                proven,
                rows,
                evidence,
                reason,
            } = proposal;
            Self {
                option,
                value,
                scope: *scope,
                proven: *proven,
                rows: *rows,
                evidence: evidence.as_ref(),
                detail: match (stored, scope) {
                    (None, _) => format!("{reason}: send the file with `{option}={value}`"),
                    (Some(id), ProposalScope::RejectedRows) => format!(
                        "{reason}: send the rejected rows again, which are in /batches/{id}/errors.csv, with \
                         `parent={id}` and `{option}={value}`"
                    ),
                    (Some(id), ProposalScope::File) => format!(
                        "{reason}: delete batch {id} and send the file again with `{option}={value}`"
                    ),
                },
            }
        };
        proposals.iter().map(reply).collect()
    }
}

/// A warning, with the options that would settle it.
#[derive(Debug, Serialize)]
struct WarningReply<'a> {
    code: &'a str,
    column: Option<&'a str>,
    rows: u64,
    line: u32,
    value: &'a str,
    message: &'a str,
    examples: &'a [Evidence],
    proposals: Vec<ProposalReply<'a>>,
}

impl<'a> WarningReply<'a> {
    fn list(warnings: &'a [Warning], stored: Option<BatchId>) -> Vec<Self> {
        let reply = |warning: &'a Warning| {
            let Warning {
                code,
                column,
                rows,
                line,
                value,
                message,
                examples,
                proposals,
            } = warning;
            Self {
                code,
                column: Some(column.as_str()).filter(|column| !column.is_empty()),
                rows: *rows,
                line: *line,
                value,
                message,
                examples,
                proposals: ProposalReply::list(proposals, stored),
            }
        };
        warnings.iter().map(reply).collect()
    }
}

/// The columns by which events are recognised as the same.
#[derive(Debug, Serialize)]
struct IdentityReply<'a> {
    kind: &'static str,
    source: &'a str,
    columns: Vec<&'a str>,
    hint: Option<&'a str>,
}

impl<'a> IdentityReply<'a> {
    /// `claims` is false for batches without deduplication, which have no identity.
    fn new(by: &'a IdentityBy, claims: bool, source: &'a str, columns: &'a Columns) -> Self {
        let Columns {
            labels,
            roles,
            hint,
        } = columns;
        let all = || labels.iter().map(String::as_str).zip(roles.iter().copied());
        // Columns are listed by their canonical names, attributes by their labels.
        let name = |label: &'a str| {
            let role = all().find(|(other, _)| *other == label);
            role.and_then(|(_, role)| role.canonical()).unwrap_or(label)
        };
        let columns = match by {
            _ if !claims => Vec::new(),
            IdentityBy::EventId => vec!["event_id"],
            IdentityBy::Key(labels) => labels.iter().map(|label| name(label)).collect(),
            IdentityBy::Row => all()
                .filter(|(_, role)| *role != ColumnRole::Ignored)
                .map(|(label, _)| name(label))
                .collect(),
        };
        Self {
            kind: if claims { by.kind() } else { "none" },
            source,
            columns,
            hint: hint.as_deref(),
        }
    }
}

/// The instants of the first and the last event.
#[derive(Debug, Serialize)]
struct EventTimeReply {
    min: Option<Instant>,
    max: Option<Instant>,
}
