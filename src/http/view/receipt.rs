//! Receipts, looks at files and rejected rows.

use serde_json::{Map, Value, json};

use super::{batch, instant, micros};
use crate::{
    ingest::DryRun,
    model::{
        Batch, BatchStatus, ColumnRole, Columns, EventBlock, FileOrigin, IdentityBy, Receipt,
        Rejection, receipt::FormatProposal,
    },
};

/// One rejected row: the original cells by column, and every fault.
pub(in crate::http) fn rejection(rejection: &Rejection, labels: &[String]) -> Value {
    let Rejection {
        row,
        line,
        last_line,
        byte_offset,
        cells,
        clipped,
        faults,
    } = rejection;
    let mut fields = Map::new();
    for (label, cell) in labels.iter().zip(cells) {
        fields.insert(label.clone(), cell.as_str().into());
    }
    if let Some(extra) = cells.get(labels.len()..).filter(|extra| !extra.is_empty()) {
        fields.insert("_extra".into(), extra.into());
    }
    json!({
        "row": row, "line": line, "last_line": last_line, "byte_offset": byte_offset, "fields": fields, "fields_clipped": clipped,
        "error_reason": rejection.reason(), "faults": faults,
    })
}

/// How many rows were rejected, and how many of them were kept.
pub(in crate::http) fn kept(receipt: &Receipt) -> Map<String, Value> {
    let (failed, kept) = (receipt.rows.failed, receipt.rejections_kept);
    [
        ("failed_count", Value::from(failed)),
        ("errors_kept", kept.into()),
        ("errors_capped", (kept < failed).into()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// What an upload turned out to be.
pub(super) fn receipt_view(
    receipt: &Receipt,
    source: &str,
    dedupe: bool,
    status: BatchStatus,
) -> Map<String, Value> {
    let Receipt {
        rows,
        errors_by_code,
        rejections_kept,
        origin,
        proposal,
        warnings,
        profile,
        parent,
        options,
        columns,
        event_time,
        event_types: _,
        days: _,
        identity,
        claims,
        expires_at,
    } = receipt;
    let mut stored = columns.stored_attributes().into_iter();
    let columns_view: Vec<Value> = columns
        .labels
        .iter()
        .zip(&columns.roles)
        .map(|(name, role)| {
            let stored_as = match role {
                ColumnRole::Attribute => stored.next().into(),
                ColumnRole::Ignored => Value::Null,
                fixed => json!(fixed),
            };
            json!({ "name": name, "role": role, "stored_as": stored_as })
        })
        .collect();
    let by_code: Map<String, Value> = errors_by_code
        .iter()
        .map(|(code, n)| (code.as_str().to_owned(), (*n).into()))
        .collect();
    // Only an unprocessed batch expires.
    let expires_at = expires_at
        .filter(|_| status == BatchStatus::Uploaded)
        .map(instant);
    let (file, dialect) = origin.file().map_or((Value::Null, Value::Null), file_view);
    let view = json!({
        "received_count": rows.received, "inserted_count": rows.inserted, "failed_count": rows.failed, "blank_count": rows.blank,
        "errors_by_code": by_code, "errors_kept": rejections_kept,
        "file": file, "dialect": dialect,
        "profile": profile, "parent": parent.map(|id| id.to_string()), "options": options, "columns": columns_view, "proposals": proposals(proposal.as_ref()), "warnings": warnings,
        "identity": identity_view(identity, dedupe && *claims, source, columns),
        "event_time": { "min": micros(event_time.0), "max": micros(event_time.1) },
        "expires_at": expires_at,
    });
    match view {
        Value::Object(view) => view,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

/// Returns the file, and how it was read.
fn file_view(file: &FileOrigin) -> (Value, Value) {
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
    let dialect = json!({
        "encoding": encoding, "encoding_known": encoding_source, "bom": bom, "delimiter": delimiter, "quote": quote,
        "escape": escape, "line_ending": line_ending, "preamble_lines": preamble_lines, "repeated_headers": repeated_headers,
    });
    let file = json!({ "name": name, "bytes": bytes, "sha256": sha256, "packing": packing });
    (file, dialect)
}

/// What tells the events of a batch apart: the columns by their canonical names, else by their labels.
fn identity_view(by: &IdentityBy, claims: bool, source: &str, columns: &Columns) -> Value {
    let name_of = |label: &str| {
        let mut all = columns.labels.iter().zip(&columns.roles);
        let role = all.find(|(l, _)| *l == label).map(|(_, role)| *role);
        role.and_then(ColumnRole::canonical)
            .unwrap_or(label)
            .to_owned()
    };
    let names: Vec<String> = match by {
        _ if !claims => Vec::new(),
        IdentityBy::EventId => vec!["event_id".into()],
        IdentityBy::Key(labels) => labels.iter().map(|label| name_of(label)).collect(),
        IdentityBy::Row => {
            let all = columns.labels.iter().zip(&columns.roles);
            let used = all.filter(|(_, role)| **role != ColumnRole::Ignored);
            used.map(|(label, _)| name_of(label)).collect()
        }
    };
    let kind = if claims { by.kind() } else { "none" };
    json!({ "kind": kind, "source": source, "columns": names, "hint": columns.hint })
}

/// What a file would come to: its receipt, without a batch, and its first rows as they would be stored.
pub(in crate::http) fn dry_run(run: &DryRun) -> Value {
    let DryRun {
        source,
        dedupe,
        receipt,
        sample,
        first_rejections: first,
    } = run;
    let mut view = receipt_view(receipt, source, *dedupe, BatchStatus::Receiving);
    let names = receipt.columns.stored_attributes();
    let rows: Value = (0..sample.len())
        .map(|at| sampled(sample, at, &names))
        .collect();
    let labels = &receipt.columns.labels;
    let errors: Value = first.iter().map(|r| rejection(r, labels)).collect();
    for (name, value) in [
        ("dry_run", true.into()),
        ("sample", rows),
        ("errors", errors),
        (
            "errors_truncated",
            (receipt.rows.failed > first.len() as u64).into(),
        ),
    ] {
        view.insert(name.into(), value);
    }
    view.into()
}

/// One event of a block that has all its columns.
fn sampled(block: &EventBlock, at: usize, names: &[String]) -> Value {
    let text = |cell: &[u8]| String::from_utf8_lossy(cell).into_owned();
    let cells = block.attributes.iter().map(|column| column.get(at));
    let attributes: Map<String, Value> = names
        .iter()
        .zip(cells)
        .filter(|(_, cell)| !cell.is_empty())
        .map(|(name, cell)| (name.clone(), text(cell).into()))
        .collect();
    let id = Some(text(block.event_id.get(at))).filter(|id| !id.is_empty());
    json!({
        "row": block.rows[at], "line": block.lines[at], "event_id": id,
        "event_type": text(block.event_type.get(at)), "user_id": text(block.user_id.get(at)),
        "timestamp": micros(block.timestamp[at]), "attributes": attributes,
    })
}

/// Options that would settle what could not be read, with what speaks for them.
pub(in crate::http) fn proposals(format: Option<&FormatProposal>) -> Value {
    let one = |proposal: &FormatProposal| {
        json!({
            "option": "timestamp_format", "value": proposal.format, "rows": proposal.rows,
            "line": proposal.line, "evidence": proposal.value, "detail": proposal.to_string(),
        })
    };
    format.map(one).into_iter().collect()
}

/// A receipt with its first errors.
pub(in crate::http) fn receipt(of: &Batch, errors: &[Rejection]) -> Map<String, Value> {
    let mut view = batch(of);
    if let Some(receipt) = &of.receipt {
        let shown: Vec<Value> = errors
            .iter()
            .map(|r| rejection(r, &receipt.columns.labels))
            .collect();
        view.insert(
            "errors_truncated".into(),
            (receipt.rows.failed > shown.len() as u64).into(),
        );
        view.insert("errors".into(), shown.into());
    }
    view
}
