//! The route of a job.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};

use super::{
    Context,
    params::id,
    problem::{Code, Problem},
    reply::JobReply,
};
use crate::model::JobId;

/// `GET /jobs/{id}`: returns a job with its history.
pub(super) async fn show(
    context: Data<Context>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let id: JobId = id(&path)?;
    let job = context
        .store
        .job(id)
        .await?
        .ok_or_else(|| job_missing(id))?;
    Ok(HttpResponse::Ok().json(JobReply::new(&job, &context.limits)))
}

/// Returns the problem of an id without a job.
pub(super) fn job_missing(id: JobId) -> Problem {
    Problem::new(Code::JobMissing, format!("there is no job {id}"))
}
