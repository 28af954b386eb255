//! The rim: routes to thin handlers, errors to problems, documents to JSON. Decides nothing itself.

mod admin;
mod batches;
mod body;
mod client;
mod code;
mod errors;
mod events;
mod health;
mod jobs;
mod key;
mod metrics;
mod page;
mod params;
mod problem;
mod profiles;
mod reply;
mod request_id;
mod tus;
mod uploads;

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer, Route,
    dev::Server,
    guard,
    middleware::{DefaultHeaders, from_fn},
    web::{self, Data, ServiceConfig},
};

use chrono_tz::Tz;
use ipnet::IpNet;
use tokio::sync::Semaphore;

use crate::{
    clock::Clock,
    ingest::Ingest,
    job::{Dispatch, JobService},
    limit::RateLimit,
    store::{Backend, Store},
    transfer::Transfers,
};

pub use admin::AdminToken;
pub use code::Code;
pub use events::EventPlaces;
pub use problem::Problem;

/// Everything a handler may use.
pub struct Context {
    /// Where everything is.
    pub store: Arc<dyn Store>,
    /// The backend of the store, for `/ready`.
    pub backend: Arc<dyn Backend>,
    /// The way to the workers.
    pub queue: Arc<dyn Dispatch>,
    /// Takes uploads.
    pub ingest: Ingest,
    /// Takes files in parts.
    pub transfers: Transfers,
    /// Accepts requests about jobs.
    pub jobs: JobService,
    /// Places for uploads under way.
    pub uploads: Semaphore,
    /// Places for those who ask for events.
    pub events: EventPlaces,
    /// How often one client may upload.
    pub upload_limit: Arc<dyn RateLimit>,
    /// Whose word is taken for where a request came from.
    pub trusted_proxies: Vec<IpNet>,
    /// The key to the admin routes, if they are open at all.
    pub admin_token: Option<AdminToken>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is told and bounded.
    pub limits: Limits,
}

impl Context {
    /// Places for as many uploads as are received at once.
    #[must_use]
    pub fn places() -> Semaphore {
        Semaphore::new(uploads::UPLOADS)
    }
}

/// What bounds requests, and what views tell of jobs.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest body.
    pub body: u64,
    /// Longest silence within a body.
    pub body_idle: Duration,
    /// Attempts of a job in all.
    pub attempts: u32,
    /// Crashes of a job in all.
    pub crashes: u32,
    /// Where days begin.
    pub time_zone: Tz,
    /// Time for requests under way when the service stops.
    pub shutdown: Duration,
}

/// Requests that one thread holds open; further connections wait in the kernel.
const CONNECTIONS: usize = 1_000;
/// A client has this long to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Every route there is.
fn routes(config: &mut ServiceConfig) {
    config
        .service(tus::routes())
        .route("/uploads", web::post().to(uploads::create))
        .route("/batches", get().to(batches::list))
        .route("/batches/{id}", get().to(batches::show))
        .route("/batches/{id}", web::delete().to(batches::undo))
        .route("/batches/{id}/process", web::post().to(batches::process))
        .route("/batches/{id}/errors", get().to(errors::show))
        .route("/batches/{id}/errors.csv", get().to(errors::csv))
        .route("/batches/{id}/events", get().to(events::of_batch))
        .route("/batches/{id}/events.parquet", get().to(events::file))
        .route("/events", get().to(events::list))
        .route("/profiles", get().to(profiles::list))
        .route("/profiles/{name}", web::put().to(profiles::put))
        .route("/profiles/{name}", get().to(profiles::show))
        .route("/profiles/{name}", web::delete().to(profiles::remove))
        .route("/metrics", get().to(metrics::show))
        .route("/jobs/{id}", get().to(jobs::show))
        .route("/admin/queues/{queue}/dlq", get().to(admin::list))
        .route(
            "/admin/queues/{queue}/dlq/retry",
            web::post().to(admin::retry_all),
        )
        .route(
            "/admin/queues/{queue}/dlq/{id}/retry",
            web::post().to(admin::retry),
        )
        .route(
            "/admin/queues/{queue}/dlq/{id}/discard",
            web::post().to(admin::discard),
        )
        .route("/health", get().to(health::health))
        .route("/ready", get().to(health::ready))
        .route("/", get().to(page::index))
        .route("/assets/{name}", get().to(page::asset))
        .default_service(web::to(problem::no_route));
}

/// A route of GET, and of HEAD: the server leaves the body away.
fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// A server on a bound socket; it answers once it is awaited.
///
/// # Errors
/// What the system says to the socket.
pub fn serve(context: Context, listener: TcpListener) -> std::io::Result<Server> {
    let shutdown = context.limits.shutdown.as_secs();
    let context = Data::new(context);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(Data::clone(&context))
            .app_data(params::query_config())
            .app_data(params::path_config())
            .wrap(from_fn(request_id::mark))
            .wrap(DefaultHeaders::new().add(("X-Content-Type-Options", "nosniff")))
            .configure(routes)
    });
    let server = server
        .max_connections(CONNECTIONS)
        .client_request_timeout(HEAD_TIMEOUT)
        .shutdown_timeout(shutdown)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}
