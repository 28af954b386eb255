//! The service put together: the only place that knows every part.
//! `App::build` binds and opens, `run` serves until told to stop, and gives everything back in order.

use std::{
    net::{SocketAddr, TcpListener},
    panic::AssertUnwindSafe,
    path::PathBuf,
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
    ingest::{self, Ingest},
    job::{
        self, Desk, Runner, Sweep,
        apalis::{self, Queue, Schedule},
    },
    limit, parse, receive,
    store::{
        Store, StoreError,
        embedded::{EmbeddedStore, Mode},
    },
};

/// Bytes that one sort holds before it spills.
const SORT_MEMORY: usize = 32 << 20;
/// Partials that one fold holds: at most 4 KiB of sketch each.
const FOLD_GROUPS: usize = 8_192;
/// Identities claimed in one transaction: under 100 ms on an ordinary disk.
const CLAIMS_AT_ONCE: usize = 25_000;
/// Longest silence within a body.
const BODY_IDLE: Duration = Duration::from_secs(30);

/// Which parts a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The API and the workers.
    Full,
    /// The API alone.
    NoWorker,
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
    server: Server,
    url: String,
    store: Arc<EmbeddedStore>,
    pool: Option<Pool>,
    shutdown: Duration,
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
        let store =
            Arc::new(EmbeddedStore::open(&config.data_dir, config.time_zone, Mode::Durable).await?);
        let held: Arc<dyn Store> = store.clone();
        let owner = format!("{}pid-{}", store.owner_prefix(), std::process::id());
        let (dispatch, queue) = apalis::in_process();
        let limits = job_limits(&config);
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
                dispatch,
                limits,
                Some(store.owner_prefix()),
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
        let context = http::Context {
            store: held.clone(),
            ingest: Ingest::new(held, clock.clone(), ingest_limits(&config), owner),
            desk,
            uploads: http::Context::places(),
            upload_limit: limit::in_process(config.upload_limit, config.upload_window).into(),
            admin_token: config
                .admin_token
                .as_ref()
                .map(|token| AdminToken::new(token.expose())),
            clock,
            limits: http_limits(&config),
        };
        let address = config.address();
        let listener =
            TcpListener::bind(address).map_err(|source| AppError::Listen { address, source })?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = http::serve(context, listener)?;
        store.announce(Some(&url))?;
        Ok(Self {
            server,
            url,
            store,
            pool: (role == Role::Full).then_some(pool),
            shutdown: config.shutdown,
        })
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Serves until `stop`; then takes no more connections, finishes uploads under way, lets jobs hand back their
    /// leases, and closes the store, all within the time for stopping.
    ///
    /// # Errors
    /// What ended the server early.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let Self {
            server,
            url,
            store,
            pool,
            shutdown,
        } = self;
        tracing::info!(url, pid = std::process::id(), "tallymill answers at {url}");
        let handle = server.handle();
        let tasks = TaskTracker::new();
        let pool_stop = pool.as_ref().map(|pool| pool.stop.clone());
        if let Some(pool) = pool {
            pool.start(&tasks);
        }
        tasks.close();
        let mut server = std::pin::pin!(server);
        tokio::select! {
            ended = &mut server => ended?,
            () = stop.cancelled() => {}
        }
        tracing::info!("stopping");
        let all = async {
            if let Some(pool_stop) = pool_stop {
                pool_stop.cancel();
            }
            let (_, served, ()) = tokio::join!(handle.stop(true), server, tasks.wait());
            served
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

fn scratch(config: &Config) -> PathBuf {
    config.data_dir.join("tmp")
}

fn job_limits(config: &Config) -> job::Limits {
    job::Limits {
        attempts: config.job_max_attempts,
        crashes: config.job_max_crashes,
        backoff: config.job_backoff,
        lease: config.job_lease,
        sweep: config.sweep,
        batch_ttl: config.cleanup_ttl,
        reprocess_budget: config.reprocess_budget,
        time_zone: config.time_zone,
        scratch: scratch(config),
        sort_memory: SORT_MEMORY,
        fold_groups: FOLD_GROUPS,
        claims_at_once: CLAIMS_AT_ONCE,
    }
}

fn ingest_limits(config: &Config) -> ingest::Limits {
    let limits = &config.limits;
    ingest::Limits {
        receive: receive::Limits {
            body: limits.body_bytes,
        },
        parse: parse::Limits {
            record_bytes: limits.record_bytes,
            cell_bytes: limits.cell_bytes,
            columns: limits.columns,
            event_type_bytes: limits.event_type_bytes,
            user_id_bytes: limits.user_id_bytes,
            event_id_bytes: limits.event_id_bytes,
            record_lines: limits.record_lines,
        },
        rejections: limits.rejections,
        event_types: limits.event_types,
        days: limits.days,
        batch_ttl: config.cleanup_ttl,
        lease: config.job_lease,
    }
}

fn http_limits(config: &Config) -> http::Limits {
    http::Limits {
        body: config.limits.body_bytes,
        body_idle: BODY_IDLE,
        attempts: config.job_max_attempts,
        crashes: config.job_max_crashes,
        shutdown: config.shutdown,
    }
}
