//! The certain time: that of the server, unless the machine's own clock is behind it.

use async_trait::async_trait;
use mongodb::bson::doc;

use super::{
    MongoStore,
    document::{corrupt, instant},
};
use crate::{
    model::Instant,
    store::{ClockReading, Result, TimeStore},
};

#[async_trait]
impl TimeStore for MongoStore {
    async fn certain_time(&self, reading: ClockReading) -> Result<Instant> {
        let hello = async { self.db.database.run_command(doc! { "hello": 1 }).await };
        let answer = self.db.run("hello", hello).await?;
        let server = answer.get_datetime("localTime");
        let server = server.map_err(|why| corrupt("the time of the server", &why))?;
        Ok(instant(*server).min(reading.wall))
    }
}
