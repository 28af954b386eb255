//! Liveness and readiness. Ready means that an upload would be stored: a write to the store and one to the scratch
//! directory succeed. A backlog, or a Redis that is away, only delays jobs: it is reported, and the service stays ready.

use std::{sync::atomic::Ordering, time::Duration};

use actix_web::{HttpResponse, web::Data};
use chrono::TimeDelta;
use tokio::sync::Mutex;

use super::{
    Context,
    reply::{DrainingReply, HealthReply, QueueReply, ReadyReply, ScratchReply, StoreReply},
};
use crate::{
    model::{JobId, version},
    store::{self, StoreError, check_directory},
};

/// A due job that stays queued for this long means a backlog, or that no worker runs.
const MAX_QUEUED: TimeDelta = TimeDelta::seconds(60);
/// Time in which a check has to succeed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// Time for which a result is served again: checks write to the disk, and anybody may ask.
const RESULT_AGE: Duration = Duration::from_secs(1);

/// The last result of the checks. Requests during a check wait for it.
#[derive(Default)]
pub struct Readiness(Mutex<Option<(Duration, Checks)>>);

/// The results of all checks.
#[derive(Clone)]
struct Checks {
    /// Why a write to the store failed.
    store: Result<(), &'static str>,
    /// Why a write to the scratch directory failed.
    scratch: Result<(), &'static str>,
    queue_answers: bool,
    unclaimed_job: Option<JobId>,
}

/// `GET /health` and `GET /live`: returns 200 as long as the process runs.
pub(super) async fn health(context: Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(HealthReply {
        status: "ok",
        version: version(),
        uptime: context.clock.elapsed().as_secs_f64(),
    })
}

/// `GET /ready`: returns 200 if uploads can be stored, else 503; the body has the state of each part.
pub(super) async fn ready(context: Data<Context>) -> HttpResponse {
    if context.draining.load(Ordering::Relaxed) {
        return HttpResponse::ServiceUnavailable().json(DrainingReply { status: "draining" });
    }
    let Checks {
        store,
        scratch,
        queue_answers,
        unclaimed_job,
    } = checks(&context).await;
    let can_store = store.is_ok() && scratch.is_ok();
    let queue_ok = queue_answers && unclaimed_job.is_none();
    let reply = ReadyReply {
        status: match (can_store, queue_ok) {
            (false, _) => "unavailable",
            (true, false) => "degraded",
            (true, true) => "ready",
        },
        store: StoreReply {
            kind: context.backend.kind(),
            ok: store.is_ok(),
            error: store.err(),
        },
        scratch: ScratchReply {
            ok: scratch.is_ok(),
            error: scratch.err(),
        },
        queue: QueueReply {
            kind: context.queue.kind(),
            ok: queue_ok,
            unclaimed_job,
        },
    };
    if can_store {
        HttpResponse::Ok().json(reply)
    } else {
        HttpResponse::ServiceUnavailable().json(reply)
    }
}

/// Returns results that are at most [`RESULT_AGE`] old.
async fn checks(context: &Context) -> Checks {
    let mut last = context.readiness.0.lock().await;
    let now = context.clock.elapsed();
    if let Some((at, checks)) = &*last
        && now.saturating_sub(*at) < RESULT_AGE
    {
        return checks.clone();
    }
    let was_ok = last.as_ref().map_or((true, true), |(_, last)| {
        (last.store.is_ok(), last.scratch.is_ok())
    });
    let (store, scratch, queue_answers, unclaimed_job) = tokio::join!(
        within_timeout(context, "store", was_ok.0, context.backend.check()),
        within_timeout(
            context,
            "scratch directory",
            was_ok.1,
            check_scratch(context)
        ),
        context.queue.answers(),
        unclaimed_job(context),
    );
    let checks = Checks {
        store,
        scratch,
        queue_answers,
        unclaimed_job,
    };
    // The time at the end: a check that took long must not be repeated at once.
    *last = Some((context.clock.elapsed(), checks.clone()));
    checks
}

/// Runs a check. The log has the first failure in a row with its causes, and the end; the reply has only the kind of a
/// failure, since anybody may ask.
async fn within_timeout(
    context: &Context,
    part: &str,
    was_ok: bool,
    check: impl Future<Output = store::Result<()>>,
) -> Result<(), &'static str> {
    let result = tokio::select! {
        result = check => result,
        () = context.clock.sleep(CHECK_TIMEOUT) => Err(StoreError::Unavailable {
            what: "a check",
            source: format!("no answer within {CHECK_TIMEOUT:?}").into(),
        }),
    };
    let error = match result {
        Ok(()) => {
            if !was_ok {
                tracing::info!(part, "the {part} accepts writes again");
            }
            return Ok(());
        }
        Err(error) => error,
    };
    if was_ok && !error.is_known_outage() {
        tracing::warn!(part, %error, "the {part} does not accept writes, /ready replies 503");
    }
    Err(match error {
        StoreError::Unavailable { .. } => "it does not answer",
        StoreError::Blocked { .. } => "the disk refuses writes",
        StoreError::Corrupt { .. } => "it is damaged",
        StoreError::Failed { .. } | StoreError::Missing { .. } | StoreError::Setup(_) => {
            "it failed"
        }
    })
}

async fn check_scratch(context: &Context) -> store::Result<()> {
    let dir = context.scratch.clone();
    store::run_blocking(move || check_directory(&dir)).await
}

/// Returns a job that has been due for [`MAX_QUEUED`], if there is one.
async fn unclaimed_job(context: &Context) -> Option<JobId> {
    let due_before = context.clock.now() - MAX_QUEUED;
    let jobs = tokio::select! {
        jobs = context.store.due_jobs(due_before, 1) => jobs.ok()?,
        () = context.clock.sleep(CHECK_TIMEOUT) => return None,
    };
    jobs.first().copied()
}
