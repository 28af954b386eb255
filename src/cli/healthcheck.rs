//! The command `healthcheck`: reports whether the process beside it does its work, from the file that it writes.

use std::process::ExitCode;

use super::failed;
use crate::{app, config::Config};

/// Options of `healthcheck`.
#[derive(Debug, Clone, Copy, clap::Args)]
#[command(after_help = "\
Reads health-HOST.json in DATA_DIR, which `serve` and `worker` replace after each pass of the reconciler; asks nothing over
the network. Exit codes: 0 the last pass is younger than 3 times SWEEP_SECONDS, 1 it is older or there is none.")]
pub struct Healthcheck;

/// Prints the state of the process on this host that has the same `DATA_DIR`.
pub fn run(config: &Config) -> ExitCode {
    match app::check_health(config) {
        Ok(state) => {
            println!("{state}");
            ExitCode::SUCCESS
        }
        Err(why) => failed(&why),
    }
}
