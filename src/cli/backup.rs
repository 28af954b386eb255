//! The commands `backup`, `restore` and `check`, for the embedded store.

use std::{path::PathBuf, process::ExitCode};

use super::{failed, refused};
use crate::{
    config::Config,
    model::with_causes,
    store::{StoreError, embedded},
};

/// Faults that are printed one by one.
const SHOWN: usize = 100;

/// Options of `backup`.
#[derive(Debug, Clone, clap::Args)]
pub struct Backup {
    /// The new directory for the backup
    pub to: PathBuf,
}

/// Options of `restore`.
#[derive(Debug, Clone, clap::Args)]
pub struct Restore {
    /// The directory of the backup
    pub from: PathBuf,
}

/// Copies the store in `DATA_DIR`.
pub fn backup(options: &Backup, config: &Config) -> ExitCode {
    run(config, || {
        let done = embedded::backup(&config.data_dir, &options.to)?;
        let (batches, bytes, to) = (done.batches, done.bytes, options.to.display());
        println!("{batches} batches, {bytes} bytes of events, and the database are in {to}");
        Ok(ExitCode::SUCCESS)
    })
}

/// Copies a backup into `DATA_DIR`.
pub fn restore(options: &Restore, config: &Config) -> ExitCode {
    run(config, || {
        let done = embedded::restore(&options.from, &config.data_dir)?;
        let (batches, dir) = (done.batches, config.data_dir.display());
        println!("{batches} batches are restored to {dir}; `tallymill` serves them");
        Ok(ExitCode::SUCCESS)
    })
}

/// Checks the store in `DATA_DIR`.
pub fn check(config: &Config) -> ExitCode {
    run(config, || {
        let report = embedded::check(&config.data_dir)?;
        for fault in report.faults.iter().take(SHOWN) {
            println!("{fault}");
        }
        for file in report.orphans.iter().take(SHOWN) {
            println!("orphaned event file, no batch needs it: {}", file.display());
        }
        let (batches, faults) = (report.batches, report.faults.len());
        println!(
            "{batches} batches checked, {faults} faults, {} orphaned files",
            report.orphans.len()
        );
        Ok(if faults == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    })
}

fn run(config: &Config, work: impl FnOnce() -> Result<ExitCode, StoreError>) -> ExitCode {
    if config.has_shared_store() {
        return refused(
            &"MONGO_URI is set: a MongoDB is backed up by its own tools (mongodump, snapshots); this command is for DATA_DIR",
        );
    }
    match work() {
        Ok(code) => code,
        Err(why @ StoreError::Setup(_)) => refused(&why),
        Err(why) => failed(&with_causes(&why)),
    }
}
