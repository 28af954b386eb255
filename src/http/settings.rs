//! What a client has to know of the settings: the time zone of days, and the limits.

use std::collections::BTreeMap;

use actix_web::{HttpResponse, web::Data};

use super::{Context, reply::SettingsReply};
use crate::model::version;

/// The limits by the names of their settings, in the units of `docs/configuration.md`.
pub type PublicLimits = BTreeMap<&'static str, u64>;

/// `GET /settings`: returns the version, the time zone of days, the store, the queue, and the limits.
pub(super) async fn show(context: Data<Context>) -> HttpResponse {
    HttpResponse::Ok().json(SettingsReply {
        version: version(),
        time_zone: context.limits.time_zone.name(),
        store: context.backend.kind(),
        queue: context.queue.kind(),
        limits: &context.public_limits,
    })
}
