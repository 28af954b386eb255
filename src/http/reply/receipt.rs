//! The receipt of a file: counts, file, dialect, columns and identity.

use std::collections::BTreeMap;

use serde::Serialize;

use super::instant;
use crate::model::{
    BatchId, BatchStatus, ColumnRole, Columns, FaultCode, FileOrigin, IdentityBy, Instant,
    ProfileName, Receipt,
    receipt::{FormatProposal, RowCounts, Warning},
};

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
    warnings: &'a [Warning],
    identity: IdentityReply<'a>,
    event_time: EventTimeReply,
    expires_at: Option<Instant>,
}

impl<'a> ReceiptReply<'a> {
    /// Builds the reply from a receipt and the fields of its batch.
    pub(super) fn new(
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
            proposal,
            warnings,
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
            proposals: ProposalReply::list(proposal.as_ref()),
            warnings,
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
    quote: char,
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
        quote: *quote,
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

/// An option that would make rejected rows readable, with its evidence.
#[derive(Debug, Serialize)]
pub(in crate::http) struct ProposalReply<'a> {
    option: &'static str,
    value: &'a str,
    rows: u64,
    line: u32,
    evidence: &'a str,
    detail: String,
}

impl<'a> ProposalReply<'a> {
    pub(in crate::http) fn list(format: Option<&'a FormatProposal>) -> Vec<Self> {
        format.map(Self::from).into_iter().collect()
    }
}

impl<'a> From<&'a FormatProposal> for ProposalReply<'a> {
    fn from(proposal: &'a FormatProposal) -> Self {
        let FormatProposal {
            format,
            line,
            value,
            rows,
        } = proposal;
        Self {
            option: "timestamp_format",
            value: format,
            rows: *rows,
            line: *line,
            evidence: value,
            detail: proposal.to_string(),
        }
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
