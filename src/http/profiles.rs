//! Profiles: named sets of upload options.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{
    HttpResponse,
    web::{Data, Path, Payload, Query},
};
use serde_json::{Map, Value};

use super::{
    Context,
    access_log::RequestLog,
    auth::Caller,
    params::{PageQuery, id},
    problem::{Code, Problem},
    reply::{PageReply, ProfileReply},
};
use crate::{
    ingest::check_profile,
    model::{Profile, ProfileName},
    query,
    store::PutProfileOutcome,
};

/// Stored profiles in all.
const MAX_PROFILES: u64 = 1_000;
/// Longest body of a profile.
const MAX_PROFILE_BYTES: usize = 8 * 1024;

/// `GET /profiles`: returns a page of profiles, by name.
pub(super) async fn list(
    context: Data<Context>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let (limit, cursor) = (page.limit()?, page.cursor.as_deref());
    let page = query::profiles(context.store.as_ref(), limit, cursor).await?;
    Ok(HttpResponse::Ok().json(PageReply::new(&page, ProfileReply::from)))
}

/// `GET /profiles/{name}`: returns a profile.
pub(super) async fn show(
    context: Data<Context>,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let name: ProfileName = id(&path)?;
    let profile = context.store.profile(&name).await?;
    let profile = profile.ok_or_else(|| no_profile(&name))?;
    Ok(HttpResponse::Ok().json(ProfileReply::from(&profile)))
}

/// `PUT /profiles/{name}`: creates or replaces a profile, and returns it.
pub(super) async fn put(
    context: Data<Context>,
    caller: Caller,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let name: ProfileName = id(&path)?;
    let log = RequestLog::begin(&context, &caller);
    let reply = store(&context, name.clone(), payload).await;
    log.request("store profile", &name, &reply);
    reply
}

async fn store(
    context: &Context,
    name: ProfileName,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let body = read_body(payload, context.limits.stall).await?;
    let options = parse_options(&body)?;
    check_profile(&options)?;
    let profile = Profile {
        name,
        options,
        changed_at: context.clock.now(),
    };
    let reply = ProfileReply::from(&profile);
    match context.store.put_profile(&profile, MAX_PROFILES).await? {
        PutProfileOutcome::Created => Ok(HttpResponse::Created().json(reply)),
        PutProfileOutcome::Replaced => Ok(HttpResponse::Ok().json(reply)),
        PutProfileOutcome::LimitReached => {
            let why =
                format!("there are {MAX_PROFILES} profiles already: delete one, or replace one");
            Err(Problem::new(Code::TooManyProfiles, why).with("limit", MAX_PROFILES))
        }
    }
}

/// `DELETE /profiles/{name}`: deletes a profile.
pub(super) async fn delete(
    context: Data<Context>,
    caller: Caller,
    path: Path<String>,
) -> Result<HttpResponse, Problem> {
    let name: ProfileName = id(&path)?;
    let log = RequestLog::begin(&context, &caller);
    let reply = match context.store.drop_profile(&name).await {
        Ok(true) => Ok(HttpResponse::NoContent().finish()),
        Ok(false) => Err(no_profile(&name)),
        Err(why) => Err(why.into()),
    };
    log.request("delete profile", &name, &reply);
    reply
}

fn no_profile(name: &ProfileName) -> Problem {
    let why = format!("there is no profile `{name}`: GET /profiles lists those there are");
    Problem::new(Code::ProfileMissing, why)
}

/// Reads a short body, which has to arrive within `timeout`.
async fn read_body(payload: Payload, timeout: Duration) -> Result<Vec<u8>, Problem> {
    let body = payload.to_bytes_limited(MAX_PROFILE_BYTES);
    let body = tokio::time::timeout(timeout, body).await.map_err(|_| {
        let seconds = timeout.as_secs();
        let why = format!("the profile did not arrive within {seconds} seconds");
        Problem::new(Code::BodyTimeout, why)
    })?;
    let body = body.map_err(|_| {
        let why = format!("the profile has more than {MAX_PROFILE_BYTES} bytes");
        Problem::new(Code::TooLarge, why).with("limit", MAX_PROFILE_BYTES)
    })?;
    let body = body.map_err(|why| Problem::new(Code::BodyCut, why.to_string()))?;
    Ok(body.to_vec())
}

/// Parses a JSON object of options. Each value becomes text.
fn parse_options(json: &[u8]) -> Result<BTreeMap<String, String>, Problem> {
    let bad = |why: &str| {
        let why = format!(
            "a profile is a JSON object of upload options, such as {{\"columns\":\"user_id:User ID\",\"delimiter\":\";\"}}: {why}"
        );
        Problem::new(Code::BadProfile, why)
    };
    let object: Map<String, Value> =
        serde_json::from_slice(json).map_err(|why| bad(&why.to_string()))?;
    if object.is_empty() {
        return Err(bad("it has no option"));
    }
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(number) => Ok((name, number.to_string())),
        Value::Bool(flag) => Ok((name, flag.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let shown: String = name.chars().take(80).collect();
            Err(bad(&format!("`{shown}` is neither text nor a number")))
        }
    };
    object.into_iter().map(text).collect()
}
