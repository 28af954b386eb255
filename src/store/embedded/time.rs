//! The certain time: a row of the table `meta`.

use std::sync::PoisonError;

use async_trait::async_trait;
use rusqlite::OptionalExtension;

use super::{EmbeddedStore, from_json, to_json};
use crate::{
    model::Instant,
    store::{CertainTime, ClockReading, Result, TimeStore},
};

#[async_trait]
impl TimeStore for EmbeddedStore {
    async fn certain_time(&self, reading: ClockReading) -> Result<Instant> {
        let ClockReading { wall, running } = reading;
        let passed = {
            let mut last = self
                .last_running
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let passed = running.saturating_sub(*last);
            *last = running;
            passed
        };
        self.db
            .write(move |db| {
                let sql = "SELECT value FROM meta WHERE name = 'certain_time'";
                let stored: Option<String> = db.query_row(sql, [], |row| row.get(0)).optional()?;
                let time = match stored {
                    None => CertainTime::first(wall),
                    Some(stored) => {
                        from_json::<CertainTime>("the certain time", &stored)?.after(passed, wall)
                    }
                };
                db.execute(
                    "INSERT INTO meta (name, value) VALUES ('certain_time', ?1)
                     ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                    [to_json(&time)?],
                )?;
                Ok(time.time.min(wall))
            })
            .await
    }
}
