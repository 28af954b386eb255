//! The binary: parses arguments and settings, starts the log, runs the command.

use std::process::ExitCode;

use tallymill::{
    cli::{self, Command},
    config::Config,
    telemetry,
};

fn main() -> ExitCode {
    let command = match cli::parse() {
        Command::Generate(options) => return cli::generate::run(&options),
        command => command,
    };
    let config = match Config::load() {
        Ok(config) => config,
        Err(faults) => return cli::refused(&faults),
    };
    command.close_new_files();
    telemetry::init(command.log_level(&config), config.log_format);
    match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime.block_on(cli::run(command, config)),
        Err(why) => cli::failed(&format!("can't start the runtime: {why}")),
    }
}
