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
    let app = match App::build(config, role).await {
        Ok(app) => app,
        Err(why) => return refused(&why),
    };
    let stop = CancellationToken::new();
    let serving = app.run(stop.clone());
    let signalled = async {
        signal().await;
        tracing::info!(
            "signal received, waiting for running uploads; a second signal stops at once"
        );
        stop.cancel();
        // A second signal ends the process without waiting.
        signal().await;
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

/// Returns at the next SIGINT or SIGTERM.
async fn signal() {
    let interrupt = async {
        if let Err(why) = tokio::signal::ctrl_c().await {
            tracing::warn!(error = %why, "can't listen for SIGINT");
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signals) => drop(signals.recv().await),
            Err(why) => {
                tracing::warn!(error = %why, "can't listen for SIGTERM");
                std::future::pending::<()>().await;
            }
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
