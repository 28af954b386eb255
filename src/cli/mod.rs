//! The commands. Each prints its result to stdout and its error to stderr. Exit codes: 0 success, 1 failure, 2 refusal
//! of arguments, settings or file.

pub mod backup;
pub mod generate;
pub mod healthcheck;
pub mod import;
pub mod migrate;
pub mod serve;
pub mod worker;

use std::{fmt::Display, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::{config::Config, model::version};

const EXAMPLES: &str = "\
Examples:
  tallymill                                  serve on http://127.0.0.1:3000, data in ./data
  PORT=8080 DATA_DIR=/srv/events tallymill   the same elsewhere
  tallymill import events.csv                upload, process, print the daily table
  tallymill generate --rows 1000 --seed 1 | tallymill import -

Settings come from the environment and from .env in the working directory; .env.example lists all of them.
Exit codes: 0 success, 1 failure, 2 refused (wrong arguments, settings or file).";

/// Event CSVs in, every row accounted for, daily metrics out.
#[derive(Debug, Parser)]
#[command(version = version(), about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

/// The command to run; `serve` by default.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Serve the API and the web page, and run jobs
    Serve(serve::Serve),
    /// Run jobs only, beside other processes (needs `MONGO_URI`)
    Worker,
    /// Upload CSV files, process them, and print the daily figures
    Import(Box<import::Import>),
    /// Write sample events as CSV, the same for the same seed
    Generate(generate::Generate),
    /// Copy the store in `DATA_DIR` to a new directory, while the service runs or not
    Backup(backup::Backup),
    /// Copy a backup into `DATA_DIR`, which must not have a store
    Restore(backup::Restore),
    /// Check the database and all event files in `DATA_DIR`
    Check,
    /// Bring the store in `DATA_DIR`, or at `MONGO_URI`, to this version's schema, and stop
    Migrate,
    /// Report whether the process on this host with the same `DATA_DIR` does its work
    Healthcheck(healthcheck::Healthcheck),
}

impl Command {
    /// Returns the log level of the command. All but the servers print their own progress, so they log warnings only.
    #[must_use]
    pub fn log_level<'a>(&self, config: &'a Config) -> &'a str {
        match self {
            Self::Import(_) | Self::Backup(_) | Self::Restore(_) | Self::Check | Self::Migrate
                if config.log_level == "info" =>
            {
                "warn"
            }
            _ => &config.log_level,
        }
    }
}

impl Command {
    /// From now on lets only this user read the files that the process creates, whatever the umask, if they hold data of the
    /// store.
    pub fn close_new_files(&self) {
        match self {
            Self::Serve(_) | Self::Worker | Self::Backup(_) | Self::Restore(_) | Self::Migrate => {
                #[cfg(unix)]
                rustix::process::umask(rustix::fs::Mode::RWXG | rustix::fs::Mode::RWXO);
            }
            Self::Import(_) | Self::Generate(_) | Self::Check | Self::Healthcheck(_) => {}
        }
    }
}

/// Parses the arguments. Wrong arguments and `--help` end the process.
#[must_use]
pub fn parse() -> Command {
    Cli::parse()
        .command
        .unwrap_or(Command::Serve(serve::Serve { no_worker: false }))
}

/// Runs a command to its end.
pub async fn run(command: Command, config: Config) -> ExitCode {
    match command {
        Command::Serve(options) => serve::run(config, options.role()).await,
        Command::Worker => worker::run(config).await,
        Command::Import(options) => import::run(&options, config).await,
        Command::Generate(options) => generate::run(&options),
        Command::Backup(options) => backup::backup(&options, &config),
        Command::Restore(options) => backup::restore(&options, &config),
        Command::Check => backup::check(&config),
        Command::Migrate => migrate::run(&config).await,
        Command::Healthcheck(_) => healthcheck::run(&config),
    }
}

/// Prints why a request of the user was refused.
pub fn refused(why: &dyn Display) -> ExitCode {
    print_error(why);
    ExitCode::from(2)
}

/// Prints why a command failed.
pub fn failed(why: &dyn Display) -> ExitCode {
    print_error(why);
    ExitCode::FAILURE
}

/// Prints an error to stderr. It may have text of a file or a server, which must not control the terminal.
fn print_error(why: &dyn Display) {
    let is_safe = |c: char| !c.is_control() || c == '\n' || c == '\t';
    let shown = why.to_string().replace(|c| !is_safe(c), "\u{fffd}");
    eprintln!("tallymill: {shown}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn serve_is_the_default_command() {
        Cli::command().debug_assert();
        assert!(Cli::parse_from(["tallymill"]).command.is_none());
        let cli = Cli::parse_from(["tallymill", "serve", "--no-worker"]);
        assert!(matches!(cli.command, Some(Command::Serve(s)) if s.no_worker));
        assert!(Cli::try_parse_from(["tallymill", "import"]).is_err());
    }
}
