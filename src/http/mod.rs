//! The HTTP interface: a table of routes, thin handlers, typed replies, and problems for errors. It makes no decisions
//! of its own: handlers parse a request, call `ingest`, `transfer`, `job` or `query`, and serialize the result.

mod access_log;
mod admin;
mod auth;
mod batches;
mod body;
mod client_address;
mod code;
mod connections;
mod endpoint;
mod errors;
mod events;
mod health;
mod held;
mod idempotency;
mod jobs;
mod metrics;
mod pace;
mod page;
mod params;
mod places;
mod problem;
mod profiles;
mod range;
mod reply;
mod request_id;
mod settings;
mod site;
mod token_failures;
mod tus;
mod uploads;

use std::{
    net::TcpListener,
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::Server,
    http::Method,
    middleware::{Condition, DefaultHeaders, from_fn},
    web::{self, Data, ServiceConfig},
};
use chrono_tz::Tz;
use ipnet::IpNet;

use crate::{
    clock::Clock,
    ingest::Ingest,
    job::{Dispatch, JobService},
    limit::RateLimit,
    store::{Backend, Store},
    transfer::Transfers,
};
use connections::Connections;
use endpoint::Endpoint;

pub use auth::AdminToken;
pub use code::Code;
pub use health::Readiness;
pub use places::RequestPlaces;
pub use problem::Problem;
pub use settings::PublicLimits;
pub use site::Sites;
pub use token_failures::TokenFailures;

/// What handlers share.
pub struct Context {
    /// Whether the service is about to stop, so that `/ready` answers 503.
    pub draining: Arc<AtomicBool>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// The backend of the store, which `/ready` checks.
    pub backend: Arc<dyn Backend>,
    /// The directory for files that are in progress, which `/ready` checks.
    pub scratch: PathBuf,
    /// The last result of `/ready`.
    pub readiness: Readiness,
    /// The queue of the workers, which `/ready` checks.
    pub queue: Arc<dyn Dispatch>,
    /// Accepts uploads.
    pub ingest: Ingest,
    /// Accepts resumable uploads.
    pub transfers: Transfers,
    /// Accepts requests about jobs.
    pub jobs: JobService,
    /// The places of requests that take memory, threads or time.
    pub places: RequestPlaces,
    /// Limits the uploads of each client.
    pub upload_rate_limit: Arc<dyn RateLimit>,
    /// The names of this service, and the sites whose pages may use it.
    pub sites: Sites,
    /// Limits the appends of each client to resumable uploads.
    pub append_rate_limit: Arc<dyn RateLimit>,
    /// Limits the requests of each client with an idempotency key.
    pub key_rate_limit: Arc<dyn RateLimit>,
    /// Proxies whose `X-Forwarded-For` header is trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// The token of the admin routes; none if they are disabled.
    pub admin_token: Option<AdminToken>,
    /// The wrong admin tokens of each address.
    pub token_failures: TokenFailures,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Limits of requests.
    pub limits: Limits,
    /// The limits that `GET /settings` lists.
    pub public_limits: PublicLimits,
}

/// Limits of requests, and the limits of jobs that replies report.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest body, in bytes.
    pub body: u64,
    /// Longest time for which a client may neither send bytes of a body nor read bytes of a reply.
    pub stall: Duration,
    /// Longest time of one request with a body.
    pub body_time: Duration,
    /// Connections of one address at once.
    pub connections_per_client: usize,
    /// Attempts of a job in all.
    pub attempts: u32,
    /// Crashes of a job in all.
    pub crashes: u32,
    /// The time zone in which days begin.
    pub time_zone: Tz,
    /// Time for requests in progress when the service stops.
    pub shutdown: Duration,
}

/// Connections per worker thread; further ones wait in the kernel.
const MAX_CONNECTIONS: usize = 1_000;
/// Time in which a client has to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The table of routes. Handlers that take [`auth::Admin`] need the admin token.
fn routes(config: &mut ServiceConfig) {
    let at = Endpoint::new;
    let dlq = "/admin/queues/{queue}/dlq";
    config
        .service(tus::routes())
        .service(at("/uploads").on(Method::POST, uploads::create))
        .service(at("/batches").get(batches::list))
        .service(
            at("/batches/{id}")
                .get(batches::show)
                .on(Method::DELETE, batches::delete),
        )
        .service(at("/batches/{id}/process").on(Method::POST, batches::process))
        .service(at("/batches/{id}/errors").get(errors::list))
        .service(at("/batches/{id}/errors.csv").get(errors::download))
        .service(at("/batches/{id}/events").get(events::list_of_batch))
        .service(at("/batches/{id}/events.parquet").get(events::download))
        .service(at("/events").get(events::list))
        .service(at("/profiles").get(profiles::list))
        .service(
            at("/profiles/{name}")
                .get(profiles::show)
                .on(Method::PUT, profiles::put)
                .on(Method::DELETE, profiles::delete),
        )
        .service(at("/metrics").get(metrics::show))
        .service(at("/jobs/{id}").get(jobs::show))
        .service(at(dlq).get(admin::list))
        .service(at(&format!("{dlq}/retry")).on(Method::POST, admin::retry_all))
        .service(at(&format!("{dlq}/{{id}}/retry")).on(Method::POST, admin::retry))
        .service(at(&format!("{dlq}/{{id}}/discard")).on(Method::POST, admin::discard))
        .service(at("/health").get(health::health))
        .service(at("/settings").get(settings::show))
        .service(at("/live").get(health::health))
        .service(at("/ready").get(health::ready))
        .service(at("/").get(page::index))
        .service(at("/assets/{name}").get(page::asset))
        .default_service(web::to(problem::no_route));
}

/// The headers of every reply that keep a browser from guessing its type, framing it, letting another site load it, and
/// telling other sites its address.
fn security_headers() -> DefaultHeaders {
    DefaultHeaders::new()
        .add(("X-Content-Type-Options", "nosniff"))
        .add(("X-Frame-Options", "DENY"))
        .add((
            "Content-Security-Policy",
            "default-src 'none'; frame-ancestors 'none'",
        ))
        .add(("Cross-Origin-Resource-Policy", "same-origin"))
        .add(("Cross-Origin-Opener-Policy", "same-origin"))
        .add(("Referrer-Policy", "no-referrer"))
}

/// Returns a server on a bound socket. It accepts connections once it is awaited.
///
/// # Errors
/// Fails if the system refuses to listen on the socket.
pub fn serve(context: Context, listener: TcpListener) -> std::io::Result<Server> {
    let shutdown = context.limits.shutdown.as_secs();
    let connections = Connections::new(
        context.limits.connections_per_client,
        context.trusted_proxies.clone(),
        context.limits.stall,
    );
    let context = Data::new(context);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&context))
            .app_data(params::query_config())
            .app_data(params::path_config())
            .wrap(Condition::new(
                !context.sites.cors_origins.is_empty(),
                site::cors(&context.sites),
            ))
            .wrap(from_fn(site::check))
            .wrap(from_fn(request_id::assign))
            .wrap(security_headers())
            .configure(routes)
    });
    let server = server
        // A client that closes its side has left: its request is dropped, and what works for it ends.
        .h1_allow_half_closed(false)
        .on_connect(move |connection, data| connections.admit(connection, data))
        .max_connections(MAX_CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(shutdown)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}
