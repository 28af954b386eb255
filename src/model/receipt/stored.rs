//! The stored form of a receipt. The properties of a file are fields of the receipt itself, as in the first version;
//! a stream has a field of its own in their place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    EventDigest, FileOrigin, Origin, Receipt, RowCounts, StreamOrigin, ValueCounts, Warning,
};
use crate::model::{
    BatchId, Columns, Evidence, FaultCode, IdentityBy, Instant, ProfileName, Proposal,
    ProposalScope,
};

/// A stored receipt. The order of its fields is that of the stored documents.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredReceipt {
    rows: RowCounts,
    errors_by_code: BTreeMap<FaultCode, u64>,
    rejections_kept: u64,
    // A file without a name has the value null, a stream does not have the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file_name: Option<Option<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    profile: Option<ProfileName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bom: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_known: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packing: Option<Option<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_ending: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delimiter: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quote: Option<char>,
    #[serde(skip_serializing_if = "Option::is_none")]
    escape: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    preamble_lines: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repeated_headers: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<StreamOrigin>,
    columns: Columns,
    event_time: (i64, i64),
    event_types: u32,
    days: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proposal: Option<FormatProposal>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    proposals: Vec<Proposal>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    values: Option<ValueCounts>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<Warning>,
    #[serde(default)]
    identity: IdentityBy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<BatchId>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    event_digest: Option<EventDigest>,
    claims: bool,
    expires_at: Option<Instant>,
}

/// The only kind of proposal of earlier versions: a format that unreadable timestamps prove.
#[derive(Serialize, Deserialize)]
struct FormatProposal {
    format: String,
    line: u32,
    value: String,
    rows: u64,
}

impl From<FormatProposal> for Proposal {
    fn from(stored: FormatProposal) -> Self {
        let FormatProposal {
            format,
            line,
            value,
            rows,
        } = stored;
        Self {
            option: "timestamp_format".to_owned(),
            value: format,
            scope: ProposalScope::RejectedRows,
            proven: true,
            rows,
            reason: format!("line {line} has `{value}`"),
            evidence: Some(Evidence {
                row: 0,
                line,
                value,
            }),
        }
    }
}

/// The document has neither a stream nor a field that every file has.
#[derive(Debug, thiserror::Error)]
#[error("missing field `{0}`")]
pub(super) struct MissingField(&'static str);

impl StoredReceipt {
    /// Removes and returns the properties of the file. Fields that the first version did not store have its only value.
    fn take_file(&mut self) -> Result<FileOrigin, MissingField> {
        let or_default = |text: &mut Option<String>, default: &str| {
            text.take().unwrap_or_else(|| default.to_owned())
        };
        Ok(FileOrigin {
            name: self.file_name.take().flatten(),
            bytes: self.bytes.ok_or(MissingField("bytes"))?,
            sha256: self.sha256.take().ok_or(MissingField("sha256"))?,
            bom: self.bom.ok_or(MissingField("bom"))?,
            encoding: or_default(&mut self.encoding, "utf-8"),
            encoding_source: or_default(&mut self.encoding_known, "detected"),
            packing: self.packing.take().flatten(),
            line_ending: self.line_ending.take().ok_or(MissingField("line_ending"))?,
            delimiter: self.delimiter.unwrap_or(','),
            quote: self.quote.unwrap_or('"'),
            escape: or_default(&mut self.escape, "doubled"),
            preamble_lines: self.preamble_lines.unwrap_or_default(),
            repeated_headers: self.repeated_headers.unwrap_or_default(),
        })
    }

    fn set_file(&mut self, file: FileOrigin) {
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
        self.file_name = Some(name);
        self.bytes = Some(bytes);
        self.sha256 = Some(sha256);
        self.bom = Some(bom);
        self.encoding = Some(encoding);
        self.encoding_known = Some(encoding_source);
        self.packing = Some(packing);
        self.line_ending = Some(line_ending);
        self.delimiter = Some(delimiter);
        self.quote = Some(quote);
        self.escape = Some(escape);
        self.preamble_lines = Some(preamble_lines);
        self.repeated_headers = Some(repeated_headers);
    }
}

impl TryFrom<StoredReceipt> for Receipt {
    type Error = MissingField;

    fn try_from(mut stored: StoredReceipt) -> Result<Self, MissingField> {
        let origin = match stored.stream.take() {
            Some(stream) => Origin::Stream(stream),
            None => Origin::File(stored.take_file()?),
        };
        Ok(Self {
            rows: stored.rows,
            errors_by_code: stored.errors_by_code,
            rejections_kept: stored.rejections_kept,
            origin,
            profile: stored.profile,
            columns: stored.columns,
            event_time: stored.event_time,
            event_types: stored.event_types,
            days: stored.days,
            proposals: match stored.proposal.take() {
                Some(proposal) => vec![proposal.into()],
                None => stored.proposals,
            },
            values: stored.values,
            warnings: stored.warnings,
            identity: stored.identity,
            parent: stored.parent,
            options: stored.options,
            event_digest: stored.event_digest,
            claims: stored.claims,
            expires_at: stored.expires_at,
        })
    }
}

impl From<Receipt> for StoredReceipt {
    fn from(receipt: Receipt) -> Self {
        let mut stored = Self {
            rows: receipt.rows,
            errors_by_code: receipt.errors_by_code,
            rejections_kept: receipt.rejections_kept,
            file_name: None,
            profile: receipt.profile,
            bytes: None,
            sha256: None,
            bom: None,
            encoding: None,
            encoding_known: None,
            packing: None,
            line_ending: None,
            delimiter: None,
            quote: None,
            escape: None,
            preamble_lines: None,
            repeated_headers: None,
            stream: None,
            columns: receipt.columns,
            event_time: receipt.event_time,
            event_types: receipt.event_types,
            days: receipt.days,
            proposal: None,
            proposals: receipt.proposals,
            values: receipt.values,
            warnings: receipt.warnings,
            identity: receipt.identity,
            parent: receipt.parent,
            options: receipt.options,
            event_digest: receipt.event_digest,
            claims: receipt.claims,
            expires_at: receipt.expires_at,
        };
        match receipt.origin {
            Origin::File(file) => stored.set_file(file),
            Origin::Stream(stream) => stored.stream = Some(stream),
        }
        stored
    }
}
