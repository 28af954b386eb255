//! The service put together: the only place that knows every part.
//! `App::build` binds and opens, `run` serves until told to stop, and gives everything back in order.

mod limits;
mod shared;

use std::{
    net::{SocketAddr, TcpListener},
    panic::AssertUnwindSafe,
    sync::Arc,
    time::Duration,
};

use actix_web::dev::Server;
use futures_util::FutureExt;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    clock::{Clock, System},
    config::Config,
    http::{self, AdminToken},
    ingest::Ingest,
    job::{
        self, Desk, Runner, Sweep,
        apalis::{self, Queue, Schedule},
    },
    store::{Opened, Place, StoreError},
    transfer::Transfers,
};

/// Which parts a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API and the workers.
    Full,
    /// The API alone.
    NoWorker,
    /// The workers alone.
    Worker,
}

/// Why the service did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A setting that can't be used.
    #[error("{0}")]
    Setting(String),
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; set HOST and PORT to a free address")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The server ended on its own.
    #[error("the server ended early: {0}")]
    Server(#[from] std::io::Error),
}

/// A service that is bound and opened, but does not answer yet.
pub struct App {
    site: Option<Site>,
    store: Opened,
    pool: Option<Pool>,
    shutdown: Duration,
}

/// What answers requests.
struct Site {
    server: Server,
    url: String,
}

/// What works on jobs.
struct Pool {
    queue: Queue,
    runner: Arc<Runner>,
    sweep: Sweep,
    sweep_every: Duration,
    schedule: Schedule,
    desk: Desk,
    clock: Arc<dyn Clock>,
    concurrency: usize,
    stop: CancellationToken,
}

impl App {
    /// Opens the store and binds the socket.
    ///
    /// # Errors
    /// Says which setting, directory or address is in the way.
    pub async fn build(config: Config, role: Role) -> Result<Self, AppError> {
        job::check_cron(&config.reprocess_cron).map_err(|why| {
            AppError::Setting(format!("REPROCESS_CRON `{}`: {why}", config.reprocess_cron))
        })?;
        let clock: Arc<dyn Clock> = Arc::new(System::start());
        let redis = shared::address(&config)?;
        let store = open(&config).await?;
        let redis = redis.map(|address| address.within(store.space()));
        let held = store.store();
        let owner = owner(&store);
        let (dispatch, queue) = shared::queue(redis.as_ref(), &clock)?;
        shared::say_which(&store, &dispatch, redis.as_ref());
        let limits = limits::of_jobs(&config);
        let stop = CancellationToken::new();
        let runner = Runner::new(
            held.clone(),
            clock.clone(),
            dispatch.clone(),
            limits.clone(),
            owner.clone(),
            stop.clone(),
        );
        let desk = Desk::new(held.clone(), clock.clone(), dispatch.clone());
        let pool = Pool {
            queue,
            runner: Arc::new(runner),
            sweep: Sweep::new(
                held.clone(),
                clock.clone(),
                dispatch.clone(),
                limits,
                store.owner_prefix(),
            ),
            sweep_every: config.sweep,
            schedule: Schedule {
                cleanup_every: config.cleanup_interval,
                reprocess_cron: config.reprocess_cron.clone(),
                zone: config.time_zone,
            },
            desk: desk.clone(),
            clock: clock.clone(),
            concurrency: config.worker_concurrency,
            stop,
        };
        let site = if role == Role::Worker {
            None
        } else {
            let way = shared::Way { dispatch, redis };
            Some(Site::open(&config, &store, desk, way, clock, owner)?)
        };
        Ok(Self {
            site,
            store,
            pool: (role != Role::NoWorker).then_some(pool),
            shutdown: config.shutdown,
        })
    }

    /// Where it answers; empty if it is a worker alone.
    #[must_use]
    pub fn url(&self) -> &str {
        self.site.as_ref().map_or("", |site| &site.url)
    }

    /// Serves until `stop`; then takes no more connections, finishes uploads under way, lets jobs hand back their
    /// leases, and closes the store, all within the time for stopping.
    ///
    /// # Errors
    /// What ended the server early.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let Self {
            site,
            store,
            pool,
            shutdown,
        } = self;
        let tasks = TaskTracker::new();
        let pool_stop = pool.as_ref().map(|pool| pool.stop.clone());
        if let Some(pool) = pool {
            pool.start(&tasks);
        }
        tasks.close();
        let handle = site.as_ref().map(|site| site.server.handle());
        let mut served = std::pin::pin!(serve(site));
        tokio::select! {
            ended = &mut served => ended?,
            () = stop.cancelled() => {}
        }
        tracing::info!("stopping");
        let all = async {
            if let Some(pool_stop) = pool_stop {
                pool_stop.cancel();
            }
            let stopped = async {
                let Some(handle) = handle else {
                    return Ok(());
                };
                // The server has to be driven to see that it is told to stop.
                tokio::join!(handle.stop(true), served).1
            };
            tokio::join!(stopped, tasks.wait()).0
        };
        match tokio::time::timeout(shutdown, all).await {
            Ok(served) => served?,
            Err(_) => tracing::warn!(
                "not everything ended within SHUTDOWN_SECONDS; what is left is taken up at the next start"
            ),
        }
        store.close().await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Opens the store that the settings name.
///
/// # Errors
/// As [`Opened::open`].
pub async fn open(config: &Config) -> Result<Opened, StoreError> {
    let place = match &config.mongo_uri {
        Some(uri) => {
            // Sorts spill there, whoever keeps the data.
            let scratch = limits::scratch(config);
            std::fs::create_dir_all(&scratch).map_err(|why| {
                let dir = scratch.display();
                StoreError::Setup(format!(
                    "can't make {dir}: {why}; set DATA_DIR to a directory that can be written"
                ))
            })?;
            Place::Mongo(uri.expose())
        }
        None => Place::Embedded(&config.data_dir),
    };
    Opened::open(place, config.time_zone).await
}

/// A name for the leases of this start that no other start of any process has.
fn owner(store: &Opened) -> String {
    let pid = std::process::id();
    match store.owner_prefix() {
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

/// Answers requests until the server is told to stop; without one, for ever.
async fn serve(site: Option<Site>) -> std::io::Result<()> {
    match site {
        Some(Site { server, url }) => {
            tracing::info!(url, pid = std::process::id(), "tallymill answers at {url}");
            server.await
        }
        None => {
            tracing::info!(pid = std::process::id(), "tallymill works on jobs");
            std::future::pending().await
        }
    }
}

impl Site {
    fn open(
        config: &Config,
        store: &Opened,
        desk: Desk,
        way: shared::Way,
        clock: Arc<dyn Clock>,
        owner: String,
    ) -> Result<Self, AppError> {
        let held = store.store();
        let upload_limit = shared::upload_limit(config, way.redis, &clock)?;
        let ingest = Ingest::new(
            held.clone(),
            clock.clone(),
            limits::of_uploads(config),
            owner,
        );
        let longest = config.limits.body_bytes;
        let transfers = Transfers::new(held.clone(), clock.clone(), ingest.clone(), longest);
        let context = http::Context {
            store: held,
            store_kind: store.kind(),
            queue: way.dispatch,
            ingest,
            transfers,
            desk,
            uploads: http::Context::places(),
            events: http::EventPlaces::default(),
            upload_limit,
            trusted_proxies: config.trusted_proxies.clone(),
            admin_token: config
                .admin_token
                .as_ref()
                .map(|token| AdminToken::new(token.expose())),
            clock,
            limits: limits::of_requests(config),
        };
        let address = config.address();
        let listener =
            TcpListener::bind(address).map_err(|source| AppError::Listen { address, source })?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = http::serve(context, listener)?;
        store.announce(&url)?;
        Ok(Self { server, url })
    }
}

impl Pool {
    fn start(self, tasks: &TaskTracker) {
        let Self {
            queue,
            runner,
            sweep,
            sweep_every,
            schedule,
            desk,
            clock,
            concurrency,
            stop,
        } = self;
        tasks.spawn(queue.run(runner, concurrency, stop.clone()));
        tasks.spawn(apalis::schedule(
            schedule,
            desk,
            clock.clone(),
            stop.clone(),
        ));
        tasks.spawn(keep_sweeping(sweep, sweep_every, clock, stop));
    }
}

/// Sweeps at once, and then again and again.
async fn keep_sweeping(
    mut sweep: Sweep,
    every: Duration,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        match AssertUnwindSafe(sweep.pass()).catch_unwind().await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                tracing::warn!(error = %why, "a sweep was cut short; the next does the rest")
            }
            Err(_) => tracing::error!("a sweep panicked; the next begins anew"),
        }
        tokio::select! {
            () = clock.sleep(every) => {}
            () = stop.cancelled() => return,
        }
    }
}
