//! Profiles: upload options under a name.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{
    HttpResponse,
    web::{Data, Path, Payload, Query},
};
use serde_json::{Map, Value};

use super::{
    Context,
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

/// Profiles there may be.
const PROFILES: u64 = 1_000;
/// Longest profile, as it is sent.
const PROFILE_BYTES: usize = 8 * 1024;

pub(super) async fn list(
    at: Data<Context>,
    page: Query<PageQuery>,
) -> Result<HttpResponse, Problem> {
    let found = query::profiles(at.store.as_ref(), page.limit()?, page.cursor.as_deref()).await?;
    Ok(HttpResponse::Ok().json(PageReply::new(&found, ProfileReply::from)))
}

pub(super) async fn show(at: Data<Context>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let name: ProfileName = id(&path)?;
    let found = at.store.profile(&name).await?;
    let found = found.ok_or_else(|| no_profile(&name))?;
    Ok(HttpResponse::Ok().json(ProfileReply::from(&found)))
}

pub(super) async fn put(
    at: Data<Context>,
    path: Path<String>,
    payload: Payload,
) -> Result<HttpResponse, Problem> {
    let name: ProfileName = id(&path)?;
    let options = options(&body(payload, at.limits.body_idle).await?)?;
    check_profile(&options)?;
    let profile = Profile {
        name,
        options,
        changed_at: at.clock.now(),
    };
    match at.store.put_profile(&profile, PROFILES).await? {
        PutProfileOutcome::Created => {
            Ok(HttpResponse::Created().json(ProfileReply::from(&profile)))
        }
        PutProfileOutcome::Replaced => Ok(HttpResponse::Ok().json(ProfileReply::from(&profile))),
        PutProfileOutcome::LimitReached => {
            let why = format!("there are {PROFILES} profiles already: delete one, or replace one");
            Err(Problem::new(Code::TooManyProfiles, why).with("limit", PROFILES))
        }
    }
}

pub(super) async fn remove(at: Data<Context>, path: Path<String>) -> Result<HttpResponse, Problem> {
    let name: ProfileName = id(&path)?;
    if at.store.drop_profile(&name).await? {
        Ok(HttpResponse::NoContent().finish())
    } else {
        Err(no_profile(&name))
    }
}

fn no_profile(name: &ProfileName) -> Problem {
    let why = format!("there is no profile `{name}`: GET /profiles lists those there are");
    Problem::new(Code::ProfileMissing, why)
}

/// A short body, which has to be there before long.
async fn body(payload: Payload, patience: Duration) -> Result<Vec<u8>, Problem> {
    let read = tokio::time::timeout(patience, payload.to_bytes_limited(PROFILE_BYTES)).await;
    let read = read.map_err(|_| {
        let seconds = patience.as_secs();
        let why = format!("the profile did not arrive within {seconds} seconds");
        Problem::new(Code::BodyTimeout, why)
    })?;
    let whole = read.map_err(|_| {
        let why = format!("the profile has more than {PROFILE_BYTES} bytes");
        Problem::new(Code::TooLarge, why).with("limit", PROFILE_BYTES)
    })?;
    let whole = whole.map_err(|why| Problem::new(Code::BodyCut, why.to_string()))?;
    Ok(whole.to_vec())
}

/// The options of a JSON object, each value as text.
fn options(json: &[u8]) -> Result<BTreeMap<String, String>, Problem> {
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
