//! The store that many processes share: MongoDB, from one server to a sharded cluster.
//! Every method is a compare-and-set of one document, or a sequence of writes that may be interrupted anywhere and
//! repeated: no multi-document transaction, no server-side code. `docs/deploy/mongodb.md` has the shard keys.

mod audit;
mod backend;
mod batch;
mod bulk;
mod claim;
mod day;
mod day_sum;
mod db;
mod document;
mod event;
mod event_fields;
mod event_query;
mod idempotency;
mod job;
mod metric;
mod migrate;
mod outage;
mod profile;
mod rejection;
mod server_error;
mod stored_document;
mod time;
mod transfer;

use std::{sync::Arc, time::Duration};

use chrono_tz::Tz;
use mongodb::{
    Client,
    options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria},
};

use crate::store::{Result, StoreError, Undecodable};
use db::Db;
pub use db::{CommandHook, MongoOptions};
use outage::OutageLog;

/// Longest wait for a server that accepts commands. Short, so that a start without one fails within ten seconds.
const SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// Interval of server checks: a server that hangs is detected after this and [`CONNECT_TIMEOUT`].
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Most connections of one process, unless the connection string sets it: a few per upload and job.
const CONNECTIONS: u32 = 100;
/// The name of the database, unless the connection string has one.
const DATABASE: &str = "tallymill";

/// A MongoDB database.
#[derive(Clone)]
pub struct MongoStore {
    db: Db,
}

impl MongoStore {
    /// Connects and migrates the database to the schema of this version.
    ///
    /// # Errors
    /// [`StoreError::Setup`] if the connection string can't be used, no server answers, the database belongs to another
    /// application or to a newer version, or its days are in another time zone.
    pub async fn open(uri: &str, zone: Tz) -> Result<Self> {
        Self::open_with(uri, zone, MongoOptions::default()).await
    }

    /// Connects as [`MongoStore::open`] does, with other options.
    ///
    /// # Errors
    /// As [`MongoStore::open`].
    pub async fn open_with(uri: &str, zone: Tz, options: MongoOptions) -> Result<Self> {
        let client_options = client_options(uri).await?;
        let hosts = hosts(&client_options);
        let name = client_options
            .default_database
            .clone()
            .unwrap_or_else(|| DATABASE.into());
        let client = Client::with_options(client_options).map_err(|why| unusable(&why))?;
        let db = Db {
            database: client.database(&name),
            options,
            undecodable: Undecodable::default(),
            outages: None,
        };
        let mut store = Self { db };
        let ready = async {
            migrate::run(&store.db).await?;
            migrate::check_time_zone(&store.db, zone.name()).await?;
            store.backfill_event_times().await
        };
        ready.await.map_err(|why| not_ready(&hosts, &name, why))?;
        store.db.outages = Some(Arc::new(OutageLog::new(hosts.clone())));
        tracing::info!(
            database = name,
            hosts,
            "connected to MongoDB at {hosts}, database `{name}`"
        );
        Ok(store)
    }

    /// Returns a handle to the same database with other options.
    #[must_use]
    pub fn with_options(&self, options: MongoOptions) -> Self {
        let db = self.db.clone();
        Self {
            db: Db { options, ..db },
        }
    }
}

/// Converts an error of the first commands to one about the connection string.
fn not_ready(hosts: &str, name: &str, why: StoreError) -> StoreError {
    match why {
        StoreError::Unavailable { source, .. } => StoreError::Setup(format!(
            "the MongoDB that MONGO_URI names, at {hosts}, does not answer as it should: {source}; start it, or mend its host, port, user or password"
        )),
        StoreError::Failed { what, source } => StoreError::Setup(format!(
            "the MongoDB that MONGO_URI names, at {hosts}, refused {what}: {source}; its user needs the roles readWrite and dbAdmin on `{name}`"
        )),
        other => other,
    }
}

/// Parses the connection string and adds the options that every connection needs.
async fn client_options(uri: &str) -> Result<ClientOptions> {
    if uri.trim_start().starts_with("mongodb+srv://") {
        return Err(StoreError::Setup(
            "MONGO_URI: mongodb+srv:// is not supported; give the hosts, mongodb://host1,host2,host3/database?replicaSet=name&tls=true \
             (Atlas shows this form for older drivers)"
                .into(),
        ));
    }
    let mut options = ClientOptions::parse(uri)
        .await
        .map_err(|why| unusable(&why))?;
    options.app_name = Some("tallymill".into());
    options.server_selection_timeout = Some(SELECTION_TIMEOUT);
    options.connect_timeout = Some(CONNECT_TIMEOUT);
    options.heartbeat_freq = Some(HEARTBEAT_INTERVAL);
    options.max_pool_size.get_or_insert(CONNECTIONS);
    // Overrides the connection string: the processing protocol depends on these.
    options.write_concern = Some(db::write_concern());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    Ok(options)
}

/// Returns the hosts, without user or password.
fn hosts(options: &ClientOptions) -> String {
    let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
    hosts.join(",")
}

/// Returns the error of a connection string. It never repeats the string, which may have a password.
fn unusable(why: &mongodb::error::Error) -> StoreError {
    use mongodb::error::ErrorKind::InvalidArgument;
    let shown = match why.kind.as_ref() {
        InvalidArgument { message, .. } if !message.contains('@') => message.clone(),
        _ => "it can't be read".into(),
    };
    StoreError::Setup(format!(
        "MONGO_URI: {shown}; write mongodb://user:password@host1,host2/database?replicaSet=name, with %40 for an @ in a password"
    ))
}
