//! Assembles the service: the only module that knows every part.
//! `App::build` opens the store and binds the socket; `run` serves until stopped, then shuts down in order.

mod heartbeat;
mod limits;
mod shared;
mod workers;

use std::{
    net::{SocketAddr, TcpListener},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::dev::Server;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::{Clock, System},
    config::Config,
    http::{self, AdminToken},
    ingest::Ingest,
    job::{
        JobQueue, JobService, Reconciler, Runner,
        schedule::{Schedule, cron::Cron},
        timed,
    },
    model::version,
    store::{self, Backend, StoreError, StoreLocation},
    transfer::Transfers,
};
pub use heartbeat::check as check_health;
use heartbeat::{Heartbeat, ObservedBodies};
use workers::Workers;

/// The parts of the service that a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API and workers.
    Full,
    /// The API only.
    NoWorker,
    /// Workers only.
    Worker,
}

/// Why the service did not start, or ended early.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A setting has a value that can't be used.
    #[error("{0}")]
    Setting(String),
    /// The store could not be opened or closed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address could not be bound.
    #[error("can't listen on {address}: {source}; set HOST and PORT to a free address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The HTTP server could not be started, or ended without being stopped.
    #[error("the server ended early: {0}")]
    Server(#[from] std::io::Error),
}

/// A service whose store is open and whose socket is bound. It answers no requests before [`run`](Self::run).
pub struct App {
    api: Option<Api>,
    backend: Arc<dyn Backend>,
    workers: Option<Workers>,
    heartbeat: Arc<Heartbeat>,
    reconcile_every: Duration,
    /// Time between a request to stop and the end of the listener.
    drain: Duration,
    /// Longest time in which requests and jobs end after the service is asked to stop.
    shutdown_timeout: Duration,
}

/// The HTTP server.
struct Api {
    server: Server,
    url: String,
    /// Set while the service drains; `/ready` answers 503 then.
    draining: Arc<AtomicBool>,
}

impl App {
    /// Opens the store and binds the socket.
    ///
    /// # Errors
    /// [`AppError`] names the setting, directory or address at fault.
    pub async fn build(config: Config, role: Role) -> Result<Self, AppError> {
        if role != Role::Worker
            && let Some(why) = config.open_to_others()
        {
            return Err(AppError::Setting(why));
        }
        let schedule = schedule(&config)?;
        let clock: Arc<dyn Clock> = Arc::new(System::start());
        let redis = shared::address(&config)?;
        let backend = open(&config).await?;
        let redis = redis.map(|address| address.with_namespace(backend.installation()));
        let store = backend.clone().store();
        let owner = owner(&*backend);
        let (dispatch, pool) = shared::queue(redis.as_ref(), &clock)?;
        let (dispatch, timers) = timed(dispatch, clock.clone());
        shared::log_backends(&config, &*backend, &dispatch, redis.as_ref());
        let limits = limits::of_jobs(&config);
        let heartbeat = Arc::new(Heartbeat::new(&config, clock.clone()));
        let stop = CancellationToken::new();
        let runner = Runner::new(
            store.clone(),
            clock.clone(),
            dispatch.clone(),
            Arc::new(ObservedBodies(heartbeat.clone())),
            limits.clone(),
            owner.clone(),
            stop.clone(),
        );
        let workers = Workers {
            pool,
            timers,
            runner: Arc::new(runner),
            reconciler: Reconciler::new(
                store.clone(),
                clock.clone(),
                dispatch.clone(),
                limits,
                backend.lease_owner_prefix(),
            ),
            reconcile_every: config.sweep,
            heartbeat: heartbeat.clone(),
            schedule,
            jobs: JobQueue::new(store, clock.clone(), dispatch.clone()),
            clock: clock.clone(),
            concurrency: config.worker_concurrency,
            stop,
        };
        let api = if role == Role::Worker {
            None
        } else {
            let queue = shared::QueueAccess { dispatch, redis };
            Some(Api::bind(&config, &backend, queue, clock, owner)?)
        };
        Ok(Self {
            api,
            backend,
            workers: (role != Role::NoWorker).then_some(workers),
            heartbeat,
            reconcile_every: config.sweep,
            drain: config.drain,
            shutdown_timeout: config.shutdown,
        })
    }

    /// Returns the URL of the API; empty if the process runs workers only.
    #[must_use]
    pub fn url(&self) -> &str {
        self.api.as_ref().map_or("", |api| &api.url)
    }

    /// Serves until `stop`, and for `DRAIN_SECONDS` more. Then accepts no more connections, finishes running uploads and
    /// lets jobs release their leases, within `SHUTDOWN_SECONDS`, and closes the store.
    ///
    /// # Errors
    /// [`AppError`] if the server ended early or the store could not be closed.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let Self {
            api,
            backend,
            workers,
            heartbeat,
            reconcile_every,
            drain,
            shutdown_timeout,
        } = self;
        let tasks = TaskTracker::new();
        let stop_workers = workers.as_ref().map(|workers| workers.stop.clone());
        let beating = CancellationToken::new();
        match workers {
            Some(workers) => workers.start(&tasks),
            None => drop(tasks.spawn(heartbeat.clone().beat(reconcile_every, beating.clone()))),
        }
        let checked = Arc::clone(&backend);
        let until = stop.clone();
        tasks.spawn(async move {
            tokio::select! {
                logged = checked.log_orphans() => if let Err(error) = logged {
                    tracing::warn!(%error, "orphaned and missing files could not be searched");
                },
                () = until.cancelled() => {}
            }
        });
        tasks.close();
        let handle = api.as_ref().map(|api| api.server.handle());
        let draining = api.as_ref().map(|api| api.draining.clone());
        let mut served = std::pin::pin!(serve(api));
        serve_until_drained(served.as_mut(), &stop, draining, drain).await?;
        tracing::info!("stopping");
        beating.cancel();
        let shutdown = async {
            if let Some(stop_workers) = stop_workers {
                stop_workers.cancel();
            }
            let stopped = async {
                let Some(handle) = handle else {
                    return Ok(());
                };
                // The server stops only while it is polled.
                tokio::join!(handle.stop(true), served).1
            };
            tokio::join!(stopped, tasks.wait()).0
        };
        match tokio::time::timeout(shutdown_timeout, shutdown).await {
            Ok(served) => served?,
            Err(_) => tracing::warn!(
                "shutdown took longer than SHUTDOWN_SECONDS and was cut short: uploads in progress are lost and must be sent again, interrupted jobs run again"
            ),
        }
        heartbeat.remove();
        backend.close().await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Opens the store that the settings select.
///
/// # Errors
/// As [`store::open`].
pub async fn open(config: &Config) -> Result<Arc<dyn Backend>, StoreError> {
    store::claim_directory(&config.data_dir)?;
    // Sorts spill to a local directory, whichever store has the data.
    let scratch = limits::scratch(config);
    std::fs::create_dir_all(&scratch).map_err(|why| StoreError::unusable_path(&scratch, &why))?;
    let location = match &config.mongo_uri {
        Some(uri) => StoreLocation::Mongo(uri.expose()),
        None => StoreLocation::Embedded(&config.data_dir),
    };
    store::open(location, config.time_zone).await
}

/// Returns the name under which this process acquires leases. No other process, earlier or later, has the same.
fn owner(backend: &dyn Backend) -> String {
    let pid = std::process::id();
    match backend.lease_owner_prefix() {
        Some(prefix) => format!("{prefix}pid-{pid}"),
        None => format!("{}/pid-{pid}/{}", host_name(), uuid::Uuid::now_v7()),
    }
}

fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "host".into(),
        name => name.into(),
    }
}

/// Serves until `stop`, and for `drain` more if the process has an API: a load balancer that polls `/ready` sends its
/// requests elsewhere before the listener closes.
async fn serve_until_drained(
    mut served: Pin<&mut impl Future<Output = std::io::Result<()>>>,
    stop: &CancellationToken,
    draining: Option<Arc<AtomicBool>>,
    drain: Duration,
) -> std::io::Result<()> {
    tokio::select! {
        ended = &mut served => return ended,
        () = stop.cancelled() => {}
    }
    let Some(draining) = draining.filter(|_| !drain.is_zero()) else {
        return Ok(());
    };
    draining.store(true, Ordering::Relaxed);
    tracing::info!("draining: /ready answers 503, requests are served for {drain:?} more");
    tokio::select! {
        ended = served => ended,
        () = tokio::time::sleep(drain) => Ok(()),
    }
}

/// Answers requests until the server is stopped; without a server, waits for ever.
async fn serve(api: Option<Api>) -> std::io::Result<()> {
    match api {
        Some(Api { server, url, .. }) => {
            tracing::info!(
                url,
                version = version(),
                pid = std::process::id(),
                "tallymill answers at {url}"
            );
            server.await
        }
        None => {
            tracing::info!(
                version = version(),
                pid = std::process::id(),
                "tallymill works on jobs"
            );
            std::future::pending().await
        }
    }
}

/// Returns the schedule set by `REPROCESS_CRON`, `CLEANUP_INTERVAL_SECONDS` and `TIME_ZONE`.
fn schedule(config: &Config) -> Result<Schedule, AppError> {
    let text = &config.reprocess_cron;
    let reprocess = Cron::parse(text)
        .map_err(|why| AppError::Setting(format!("REPROCESS_CRON `{text}`: {why}")))?;
    Ok(Schedule {
        cleanup_every: config.cleanup_interval,
        reprocess,
        zone: config.time_zone,
    })
}

impl Api {
    fn bind(
        config: &Config,
        backend: &Arc<dyn Backend>,
        queue: shared::QueueAccess,
        clock: Arc<dyn Clock>,
        owner: String,
    ) -> Result<Self, AppError> {
        let store = backend.clone().store();
        let upload_rate_limit = shared::upload_limit(config, queue.redis, &clock)?;
        let ingest = Ingest::new(
            store.clone(),
            clock.clone(),
            limits::of_uploads(config),
            owner,
        );
        let body_bytes = config.limits.body_bytes;
        let transfers = Transfers::new(store.clone(), clock.clone(), ingest.clone(), body_bytes);
        let jobs = JobService::new(store.clone(), clock.clone(), queue.dispatch.clone());
        let draining = Arc::new(AtomicBool::new(false));
        let context = http::Context {
            draining: draining.clone(),
            store,
            backend: backend.clone(),
            scratch: limits::scratch(config),
            readiness: http::Readiness::default(),
            queue: queue.dispatch,
            ingest,
            transfers,
            jobs,
            places: http::RequestPlaces::new(
                config.uploads_at_once,
                config.uploads_at_once_per_client,
            ),
            upload_rate_limit,
            sites: http::Sites {
                bound: config.host,
                allowed_hosts: config.allowed_hosts.clone(),
                cors_origins: config.cors_origins.clone(),
            },
            append_rate_limit: shared::limit_in_process(config.upload_append_limit, config),
            key_rate_limit: shared::limit_in_process(config.keyed_request_limit, config),
            trusted_proxies: config.trusted_proxies.clone(),
            admin_token: config
                .admin_token
                .as_ref()
                .map(|token| AdminToken::new(token.expose())),
            token_failures: http::TokenFailures::default(),
            clock,
            limits: limits::of_requests(config),
            public_limits: limits::public(config),
        };
        let address = config.address();
        let listener =
            TcpListener::bind(address).map_err(|source| AppError::Listen { address, source })?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = http::serve(context, listener)?;
        backend.announce(&url)?;
        Ok(Self {
            server,
            url,
            draining,
        })
    }
}
