//! The JSON shapes of documents, in `snake_case`, instants in RFC 3339 with `Z`.

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use super::Limits;
use crate::{
    ingest::DryRun,
    model::{
        Batch, BatchStatus, ColumnRole, Columns, EventBlock, IdentityBy, Instant, Job, Profile,
        Published, Receipt, Rejection, receipt::FormatProposal,
    },
    query::{BatchDetail, DeadJob, Event, MetricDay, Metrics, Page},
    store::{Loss, Overlap, TypeFigure},
};

/// Rejections shown with a receipt.
pub(super) const ERRORS: usize = 100;

pub(super) fn instant(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn micros(at: i64) -> Option<String> {
    DateTime::from_timestamp_micros(at).map(instant)
}

/// One page of a list.
pub(super) fn page<T>(page: Page<T>, shape: impl Fn(&T) -> Value) -> Value {
    let data: Vec<Value> = page.data.iter().map(shape).collect();
    json!({ "data": data, "next_cursor": page.next.map(|c| c.to_string()) })
}

/// One rejected row: the original cells by column, and every fault.
pub(super) fn rejection(rejection: &Rejection, labels: &[String]) -> Value {
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
pub(super) fn kept(receipt: &Receipt) -> Map<String, Value> {
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

/// One event.
pub(super) fn event(event: &Event) -> Value {
    let attributes: Map<String, Value> = event
        .attributes()
        .map(|(name, cell)| (name.to_owned(), cell.into()))
        .collect();
    let id = Some(event.event_id.as_str()).filter(|id| !id.is_empty());
    json!({
        "batch_id": event.batch.to_string(), "row": event.row, "line": event.line, "event_id": id,
        "event_type": event.event_type, "user_id": event.user_id, "timestamp": micros(event.timestamp),
        "attributes": attributes,
    })
}

/// A batch as its receipt, with what has become of it since.
pub(super) fn batch(batch: &Batch) -> Map<String, Value> {
    let Batch {
        id,
        status,
        wanted: _,
        fence: _,
        published,
        source,
        dedupe,
        created_at,
        upload_lease: _,
        receipt,
        undo_days: _,
        checked_at,
        failure,
        deleted_at,
        purges: _,
    } = batch;
    let mut view = Map::new();
    let mut put = |name: &str, value: Value| drop(view.insert(name.into(), value));
    put("batch_id", id.to_string().into());
    put("status", status.as_str().into());
    put("source", source.as_str().into());
    put("created_at", instant(*created_at).into());
    put("checked_at", checked_at.map(instant).into());
    put("failure", failure.as_deref().into());
    put("deleted_at", deleted_at.map(instant).into());
    put("published", published.as_ref().map_or(Value::Null, counts));
    put(
        "links",
        json!({ "self": format!("/batches/{id}"), "errors": format!("/batches/{id}/errors"), "errors_csv": format!("/batches/{id}/errors.csv"), "events": format!("/batches/{id}/events"), "process": format!("/batches/{id}/process") }),
    );
    if let Some(receipt) = receipt {
        view.extend(receipt_view(receipt, source, *dedupe, *status));
    }
    view
}

fn counts(published: &Published) -> Value {
    let Published {
        computed: _,
        token: _,
        counts,
        days: _,
        prev_days: _,
        at,
    } = published;
    json!({
        "inserted": counts.inserted, "counted": counts.counted, "duplicate": counts.duplicate,
        "conflict": counts.conflict, "computed_at": instant(*at),
    })
}

fn receipt_view(
    receipt: &Receipt,
    source: &str,
    dedupe: bool,
    status: BatchStatus,
) -> Map<String, Value> {
    let Receipt {
        rows,
        errors_by_code,
        rejections_kept,
        file_name,
        bytes,
        sha256,
        bom,
        encoding,
        encoding_known,
        packing,
        line_ending,
        delimiter,
        quote,
        escape,
        preamble_lines,
        repeated_headers,
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
    let view = json!({
        "received_count": rows.received, "inserted_count": rows.inserted, "failed_count": rows.failed, "blank_count": rows.blank,
        "errors_by_code": by_code, "errors_kept": rejections_kept,
        "file": { "name": file_name, "bytes": bytes, "sha256": sha256, "packing": packing },
        "dialect": { "encoding": encoding, "encoding_known": encoding_known, "bom": bom, "delimiter": delimiter, "quote": quote, "escape": escape,
            "line_ending": line_ending, "preamble_lines": preamble_lines, "repeated_headers": repeated_headers },
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

/// What a file would come to: its receipt, without a batch, and its first rows as they would be stored.
pub(super) fn dry_run(run: &DryRun) -> Value {
    let DryRun {
        source,
        dedupe,
        receipt,
        sample,
        first,
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
pub(super) fn proposals(format: Option<&FormatProposal>) -> Value {
    let one = |proposal: &FormatProposal| {
        json!({
            "option": "timestamp_format", "value": proposal.format, "rows": proposal.rows,
            "line": proposal.line, "evidence": proposal.value, "detail": proposal.to_string(),
        })
    };
    format.map(one).into_iter().collect()
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

/// A receipt with its first errors.
pub(super) fn receipt(of: &Batch, errors: &[Rejection]) -> Map<String, Value> {
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

/// A batch with its errors, job, days and overlaps.
pub(super) fn detail(detail: &BatchDetail, errors: &[Rejection], limits: &Limits) -> Value {
    let BatchDetail {
        batch: of,
        job: job_of,
        overlaps,
    } = detail;
    let mut view = receipt(of, errors);
    let days: Vec<String> = of
        .published
        .iter()
        .flat_map(|p| &p.days)
        .map(ToString::to_string)
        .collect();
    view.insert("days".into(), days.into());
    view.insert(
        "job".into(),
        job_of.as_ref().map_or(Value::Null, |j| job(j, limits)),
    );
    view.insert(
        "overlaps".into(),
        overlaps
            .iter()
            .map(|(o, status)| overlap(o, *status))
            .collect(),
    );
    view.into()
}

fn overlap(overlap: &Overlap, status: BatchStatus) -> Value {
    let Overlap {
        loser,
        owner,
        duplicates,
        conflicts,
        samples,
    } = overlap;
    let samples: Vec<Value> = samples
        .iter()
        .map(|Loss { row, original_row, conflict }| {
            json!({ "row": row, "original_row": original_row, "kind": if *conflict { "id-conflict" } else { "duplicate" } })
        })
        .collect();
    json!({
        "batch_id": owner.to_string(), "same_batch": owner == loser, "status": status.as_str(),
        "duplicates": duplicates, "conflicts": conflicts, "samples": samples,
    })
}

/// A named set of upload options.
pub(super) fn profile(profile: &Profile) -> Value {
    let Profile {
        name,
        options,
        changed_at,
    } = profile;
    json!({ "name": name, "options": options, "changed_at": instant(*changed_at) })
}

/// A job of the ledger.
pub(super) fn job(job: &Job, limits: &Limits) -> Value {
    let Job {
        id,
        state,
        attempt,
        crashes,
        farthest: _,
        run_at,
        lease,
        token: _,
        progress,
        last_error,
        died_of_error: _,
        nights: _,
        created_at,
        changed_at,
        history,
    } = job;
    json!({
        "id": id.to_string(), "kind": id.kind().as_str(), "batch_id": id.batch().map(|b| b.to_string()), "state": state.as_str(),
        "attempt": (attempt + u32::from(!state.is_idle())).min(limits.attempts), "max_attempts": limits.attempts,
        "crashes": crashes, "max_crashes": limits.crashes, "run_at": instant(*run_at), "progress": progress.filter(|_| !state.is_idle()),
        "worker": lease.as_ref().map(|l| l.owner.as_str()), "last_error": last_error,
        "created_at": instant(*created_at), "changed_at": instant(*changed_at), "history": history,
    })
}

/// A dead letter, in the shape that clients of the service before know.
pub(super) fn dead_job(dead: &DeadJob) -> Value {
    let DeadJob { job, holds } = dead;
    json!({
        "id": job.id.to_string(), "kind": job.id.kind().as_str(),
        "data": { "batchId": job.id.batch().map(|b| b.to_string()) },
        "failedReason": job.last_error, "attempts": job.attempt, "crashes": job.crashes,
        "timestamp": job.changed_at.timestamp_millis(), "holds_events_of_others": holds, "history": job.history,
    })
}

/// Daily figures.
pub(super) fn metrics(found: &Metrics) -> Value {
    let Metrics { days, totals } = found;
    let data: Vec<Value> = days
        .iter()
        .map(|MetricDay { day, types, total, unique_users, computed_at, stale }| {
            let metrics: Vec<Value> = types
                .iter()
                .map(|TypeFigure { event_type, count, unique_users }| {
                    json!({ "event_type": event_type, "count": count, "unique_users": unique_users })
                })
                .collect();
            json!({
                "date": day.to_string(), "metrics": metrics, "total": total, "unique_users": unique_users,
                "computed_at": instant(*computed_at), "stale": stale,
            })
        })
        .collect();
    json!({
        "count": data.len(), "data": data,
        "totals": {
            "processed_events": totals.events, "unique_users": totals.users.estimate(),
            "most_recent_event": totals.last.and_then(micros),
        },
    })
}
