//! `serve`: runs the API, the page and the workers until a signal.

use std::{convert::Infallible, process::ExitCode};

use tokio_util::sync::CancellationToken;

use super::{failed, refused};
use crate::{
    app::{App, Role},
    config::Config,
};

/// Options of `serve`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  tallymill serve
  HOST=0.0.0.0 PORT=8080 ADMIN_TOKEN=... tallymill serve

Stops on SIGINT or SIGTERM: serves for DRAIN_SECONDS more with /ready at 503, then running uploads finish and jobs are
released, within SHUTDOWN_SECONDS. A second signal stops at once. SIGHUP is ignored: settings are read at the start only.")]
pub struct Serve {
    /// Accept uploads and answer queries, but run no jobs
    #[arg(long)]
    pub no_worker: bool,
}

impl Serve {
    /// Returns the parts of the service to run.
    #[must_use]
    pub fn role(&self) -> Role {
        if self.no_worker {
            Role::NoWorker
        } else {
            Role::Full
        }
    }
}

/// Runs the service until a signal.
pub async fn run(config: Config, role: Role) -> ExitCode {
    let hangups = ignore_hangups();
    // From now on: a signal that arrives before the service listens for it would kill the process.
    let mut signals = Signals::listen();
    let built = tokio::select! {
        built = App::build(config, role) => built,
        () = signals.next() => return failed(&"stopped by a signal during the start"),
    };
    let app = match built {
        Ok(app) => app,
        Err(why) => return refused(&why),
    };
    let stop = CancellationToken::new();
    let serving = app.run(stop.clone());
    let signalled = async {
        signals.next().await;
        tracing::info!(
            "signal received, waiting for running uploads; a second signal stops at once"
        );
        stop.cancel();
        // A second signal ends the process without waiting.
        signals.next().await;
    };
    tokio::select! {
        ended = serving => match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => failed(&why),
        },
        () = signalled => failed(&"stopped at once by a second signal"),
        never = hangups => match never {},
    }
}

/// From now on ignores SIGHUP, which the end of a terminal and some log tools send. The future never ends.
fn ignore_hangups() -> impl Future<Output = Infallible> {
    #[cfg(unix)]
    let hangups = {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::hangup())
    };
    async move {
        #[cfg(unix)]
        match hangups {
            Ok(mut hangups) => {
                while hangups.recv().await.is_some() {
                    tracing::info!(
                        "SIGHUP received and ignored, settings are read at the start only"
                    );
                }
            }
            Err(why) => tracing::warn!(error = %why, "can't listen for SIGHUP"),
        }
        std::future::pending().await
    }
}

/// SIGINT and SIGTERM from the moment of `listen`.
struct Signals(Vec<Listener>);

#[cfg(unix)]
type Listener = tokio::signal::unix::Signal;
#[cfg(not(unix))]
type Listener = ();

impl Signals {
    #[cfg(unix)]
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        let listeners = kinds.map(|kind| {
            signal(kind)
                .inspect_err(|why| tracing::warn!(error = %why, "can't listen for signals"))
                .ok()
        });
        Self(listeners.into_iter().flatten().collect())
    }

    #[cfg(not(unix))]
    fn listen() -> Self {
        Self(Vec::new())
    }

    /// Returns at the next signal.
    #[cfg(unix)]
    async fn next(&mut self) {
        if self.0.is_empty() {
            return std::future::pending().await;
        }
        let received = self.0.iter_mut().map(|signal| Box::pin(signal.recv()));
        futures_util::future::select_all(received).await;
    }

    /// Returns at the next Ctrl-C.
    #[cfg(not(unix))]
    async fn next(&mut self) {
        if let Err(why) = tokio::signal::ctrl_c().await {
            tracing::warn!(error = %why, "can't listen for Ctrl-C");
            std::future::pending::<()>().await;
        }
    }
}
