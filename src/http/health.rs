//! Liveness and readiness.

use std::{sync::atomic::Ordering, time::Duration};

use actix_web::{HttpResponse, web::Data};
use chrono::TimeDelta;

use super::{
    Context,
    reply::{HealthReply, QueueReply, ReadyReply, StoreReply},
};
use crate::model::{JobId, version};

/// A due job that stays queued for this long means that no worker runs.
const MAX_QUEUED: TimeDelta = TimeDelta::seconds(60);
/// Time in which the store has to answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// `GET /health`: returns 200 as long as the process runs.
pub(super) async fn health(context: Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(HealthReply {
        status: "ok",
        version: version(),
        uptime: context.clock.elapsed().as_secs_f64(),
    })
}

/// `GET /ready`: returns 200 if store and queue answer and no due job waits for a worker, else 503.
pub(super) async fn ready(context: Data<Context>) -> HttpResponse {
    if context.draining.load(Ordering::Relaxed) {
        let draining = serde_json::json!({ "status": "draining" });
        return HttpResponse::ServiceUnavailable().json(draining);
    }
    let (stalled, queue_answers) = tokio::join!(stalled_jobs(&context), context.queue.answers());
    let unclaimed_job = stalled.as_ref().and_then(|jobs| jobs.first()).copied();
    let store_ok = stalled.is_some();
    let queue_ok = queue_answers && unclaimed_job.is_none();
    let ready = store_ok && queue_ok;
    let reply = ReadyReply {
        status: if ready { "ready" } else { "degraded" },
        store: StoreReply {
            kind: context.backend.kind(),
            ok: store_ok,
        },
        queue: QueueReply {
            kind: context.queue.kind(),
            ok: queue_ok,
            unclaimed_job,
        },
    };
    if ready {
        HttpResponse::Ok().json(reply)
    } else {
        HttpResponse::ServiceUnavailable().json(reply)
    }
}

/// Returns at most one job that has been due for [`MAX_QUEUED`]; none if the store does not answer in time.
async fn stalled_jobs(context: &Context) -> Option<Vec<JobId>> {
    let query = async {
        context.backend.ping().await?;
        let due_before = context.clock.now() - MAX_QUEUED;
        context.store.due_jobs(due_before, 1).await
    };
    tokio::select! {
        jobs = query => jobs
            .inspect_err(|why| tracing::warn!(error = %why, "the store is not ready, /ready replies 503"))
            .ok(),
        () = context.clock.sleep(STORE_TIMEOUT) => None,
    }
}
