//! `migrate`: brings the store in `DATA_DIR` to this version's schema and stops. Opening it does the work.

use std::process::ExitCode;

use super::{failed, refused};
use crate::{
    config::Config,
    store::{
        StoreError,
        embedded::{EmbeddedStore, Mode},
    },
};

/// Migrates.
pub async fn run(config: &Config) -> ExitCode {
    let (dir, zone) = (&config.data_dir, config.time_zone);
    let was_there = dir.join("tallymill.db").exists();
    match EmbeddedStore::open(dir, zone, Mode::Durable).await {
        Ok(_) => {
            let done = if was_there {
                "is at the schema of this version"
            } else {
                "was made"
            };
            println!(
                "the store in {} {done}; its days are counted in {}",
                dir.display(),
                zone.name()
            );
            ExitCode::SUCCESS
        }
        Err(why @ StoreError::Setup(_)) => refused(&why),
        Err(why) => failed(&why),
    }
}
