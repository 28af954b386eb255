//! The store that many processes share: MongoDB, from one server to a sharded cluster.
//! Every verb is one document changed by compare-and-set, or an order of writes that may be cut anywhere and repeated:
//! no multi-document transaction, no server-side code. `docs/deploy/mongodb.md` has the shard keys.

mod batches;
mod change;
mod claims;
mod days;
mod db;
mod document;
mod events;
mod fault;
mod fields;
mod found;
mod jobs;
mod keys;
mod metrics;
mod migrate;
mod profiles;
mod rejections;
mod transfers;

use std::time::Duration;

use chrono_tz::Tz;
use mongodb::{
    Client,
    options::{ClientOptions, ReadConcern, ReadPreference, SelectionCriteria},
};

use crate::store::{Result, StoreError};
use db::Db;
pub use db::{Pace, Tuning};

/// Longest wait for a server that can take a command; with a start's few commands still below ten seconds.
const SELECTION: Duration = Duration::from_secs(5);
const CONNECT: Duration = Duration::from_secs(4);
/// Time between two looks at a server: one that hangs is found out in this time and `CONNECT`.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Connections of one process, unless the string says otherwise: a few for each upload and each job.
const CONNECTIONS: u32 = 100;
/// The database, unless the connection string names one.
const DATABASE: &str = "tallymill";

/// A MongoDB database.
#[derive(Clone)]
pub struct MongoStore {
    db: Db,
}

impl MongoStore {
    /// Connects and brings the database to this version's schema.
    ///
    /// # Errors
    /// [`StoreError::Setup`] if the connection string can't be used, nobody answers there, the database is somebody
    /// else's or a newer version's, or its days are counted in another zone.
    pub async fn open(uri: &str, zone: Tz) -> Result<Self> {
        Self::with(uri, zone, Tuning::default()).await
    }

    /// The same, with so much on the wire at once.
    ///
    /// # Errors
    /// As [`MongoStore::open`].
    pub async fn with(uri: &str, zone: Tz, tuning: Tuning) -> Result<Self> {
        let options = options(uri).await?;
        let place = place(&options);
        let name = options
            .default_database
            .clone()
            .unwrap_or_else(|| DATABASE.into());
        let client = Client::with_options(options).map_err(|why| unusable(&why))?;
        let db = Db {
            database: client.database(&name),
            tuning,
        };
        let store = Self { db };
        let ready = async {
            migrate::run(&store.db).await?;
            migrate::same_zone(&store.db, zone.name()).await?;
            store.date_batches().await
        };
        ready.await.map_err(|why| not_ready(&place, &name, why))?;
        tracing::info!(
            database = name,
            hosts = place,
            "the store is MongoDB at {place}, database `{name}`"
        );
        Ok(store)
    }

    /// The same database for a caller whose commands pass by `tuning`.
    #[must_use]
    pub fn tuned(&self, tuning: Tuning) -> Self {
        let database = self.db.database.clone();
        Self {
            db: Db { database, tuning },
        }
    }

    /// The name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        self.db.database.name()
    }

    /// Ends its connections.
    pub async fn close(&self) {
        // What still reads has been given up by whoever waits for this.
        let client = self.db.database.client().clone();
        client.shutdown().immediate(true).await;
    }
}

/// Why a start ended, in words for whoever wrote the connection string.
fn not_ready(place: &str, name: &str, why: StoreError) -> StoreError {
    match why {
        StoreError::Unavailable { source, .. } => StoreError::Setup(format!(
            "the MongoDB that MONGO_URI names, at {place}, does not answer as it should: {}; start it, or mend its host, port, user or password",
            cause(source.as_ref())
        )),
        StoreError::Failed { what, source } => StoreError::Setup(format!(
            "the MongoDB that MONGO_URI names, at {place}, refused {what}: {}; its user needs the roles readWrite and dbAdmin on `{name}`",
            cause(source.as_ref())
        )),
        other => other,
    }
}

/// The connection string with what every connection of ours needs.
async fn options(uri: &str) -> Result<ClientOptions> {
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
    options.server_selection_timeout = Some(SELECTION);
    options.connect_timeout = Some(CONNECT);
    options.heartbeat_freq = Some(HEARTBEAT);
    options.max_pool_size.get_or_insert(CONNECTIONS);
    // Whatever the string says: the protocol of counting depends on these.
    options.write_concern = Some(db::write_concern());
    options.read_concern = Some(ReadConcern::majority());
    options.selection_criteria = Some(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    Ok(options)
}

/// Hosts without user or password.
fn place(options: &ClientOptions) -> String {
    let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
    hosts.join(",")
}

/// What is wrong with a connection string; it may hold a password, so its text is not repeated.
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

/// The cause in one line: what the driver says of a server that it could not choose is long.
fn cause(why: &(dyn std::error::Error + 'static)) -> String {
    let text = why.to_string();
    let text = text
        .split_once("Error: Kind: ")
        .map_or(&*text, |(_, cause)| cause);
    let text = text.strip_prefix("Kind: ").unwrap_or(text);
    let text = text.split(", labels: ").next().unwrap_or(text);
    text.chars().take(300).collect()
}
