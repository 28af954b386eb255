//! Whether the process lives, and whether it can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use chrono::TimeDelta;
use serde_json::json;

use super::Context;

/// A due job that nobody has claimed for this long means that no worker is at work.
const UNCLAIMED: TimeDelta = TimeDelta::seconds(60);
/// A store that takes longer to answer is away.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn health(at: Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "ok", "uptime": at.clock.elapsed().as_secs_f64() }))
}

pub(super) async fn ready(at: Data<Context>) -> HttpResponse {
    let late = async {
        // Marking no day changes nothing, but goes the way of every write.
        at.store.mark_days(&[]).await?;
        at.store.due_jobs(at.clock.now() - UNCLAIMED, 1).await
    };
    let (store, waiting) = tokio::select! {
        found = late => match found {
            Ok(jobs) => (true, jobs.into_iter().next()),
            Err(why) => {
                tracing::warn!(error = %why, "not ready");
                (false, None)
            }
        },
        () = at.clock.sleep(PATIENCE) => (false, None),
    };
    let ready = store && waiting.is_none();
    let body = json!({
        "status": if ready { "ready" } else { "degraded" },
        "store": { "kind": "embedded", "ok": store },
        "queue": { "kind": "in-process", "ok": waiting.is_none(), "unclaimed_job": waiting.map(|id| id.to_string()) },
    });
    if ready {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}
