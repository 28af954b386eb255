//! Whether the process lives, and whether it can do its work.

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use chrono::TimeDelta;

use super::{
    Context,
    reply::{HealthReply, QueueReply, ReadyReply, StoreReply},
};
use crate::model::JobId;

/// A due job that nobody has claimed for this long means that no worker is at work.
const UNCLAIMED: TimeDelta = TimeDelta::seconds(60);
/// A store that takes longer to answer is away.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) async fn health(at: Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(HealthReply {
        status: "ok",
        uptime: at.clock.elapsed().as_secs_f64(),
    })
}

pub(super) async fn ready(at: Data<Context>) -> HttpResponse {
    let (store, queue) = tokio::join!(store(&at), at.queue.answers());
    let waiting = store.as_ref().and_then(|due| due.first());
    let ready = store.is_some() && queue && waiting.is_none();
    let body = ReadyReply {
        status: if ready { "ready" } else { "degraded" },
        store: StoreReply {
            kind: at.backend.kind(),
            ok: store.is_some(),
        },
        queue: QueueReply {
            kind: at.queue.kind(),
            ok: queue && waiting.is_none(),
            unclaimed_job: waiting.copied(),
        },
    };
    if ready {
        HttpResponse::Ok().json(body)
    } else {
        HttpResponse::ServiceUnavailable().json(body)
    }
}

/// What is due and unclaimed for too long, if the store answers in time.
async fn store(at: &Context) -> Option<Vec<JobId>> {
    let late = async {
        at.backend.ping().await?;
        at.store.due_jobs(at.clock.now() - UNCLAIMED, 1).await
    };
    tokio::select! {
        found = late => found
            .inspect_err(|why| tracing::warn!(error = %why, "not ready"))
            .ok(),
        () = at.clock.sleep(PATIENCE) => None,
    }
}
