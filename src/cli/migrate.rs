//! The command `migrate`: opens the store, which migrates it to the schema of this version, and exits.

use std::process::ExitCode;

use super::{failed, refused};
use crate::{app, config::Config, store::StoreError};

/// Migrates the store that the settings select.
pub async fn run(config: &Config) -> ExitCode {
    match app::open(config).await {
        Ok(backend) => {
            println!(
                "the {} store is at the schema of this version; its days are counted in {}",
                backend.kind(),
                config.time_zone.name()
            );
            match backend.close().await {
                Ok(()) => ExitCode::SUCCESS,
                Err(why) => failed(&why),
            }
        }
        Err(why @ StoreError::Setup(_)) => refused(&why),
        Err(why) => failed(&why),
    }
}
