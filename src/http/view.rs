//! The JSON shapes of documents, in `snake_case`, instants in RFC 3339 with `Z`.

mod receipt;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Map, Value, json};

use super::Limits;
use crate::{
    model::{Batch, BatchStatus, Instant, Job, Profile, Published, Rejection},
    query::{BatchDetail, DeadJob, Event, MetricDay, Metrics, Page},
    store::{Loss, Overlap, TypeFigure},
};

use receipt::receipt_view;
pub(super) use receipt::{dry_run, kept, proposals, receipt, rejection};

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
    let DeadJob {
        job,
        blocked_events,
    } = dead;
    json!({
        "id": job.id.to_string(), "kind": job.id.kind().as_str(),
        "data": { "batchId": job.id.batch().map(|b| b.to_string()) },
        "failedReason": job.last_error, "attempts": job.attempt, "crashes": job.crashes,
        "timestamp": job.changed_at.timestamp_millis(), "holds_events_of_others": blocked_events, "history": job.history,
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
