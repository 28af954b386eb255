//! Schema migrations: numbered steps of idempotent commands that may run in several processes at once; each is recorded
//! when done. Writes nothing to a database that belongs to another application.

use std::time::Duration;

use mongodb::{
    bson::{Bson, Document, doc},
    error::{Error, ErrorKind},
};
use serde::Deserialize;

use super::{
    db::Db,
    document::{corrupt, text},
};
use crate::store::{Result, StoreError};

/// All steps, oldest first. A released step is never edited.
const STEPS: [(&str, &str); 8] = [
    (
        "0001_start",
        include_str!("../../../migrations/mongo/0001_start.json"),
    ),
    (
        "0002_keys",
        include_str!("../../../migrations/mongo/0002_keys.json"),
    ),
    (
        "0003_event_times",
        include_str!("../../../migrations/mongo/0003_event_times.json"),
    ),
    (
        "0004_profiles",
        include_str!("../../../migrations/mongo/0004_profiles.json"),
    ),
    (
        "0005_transfers",
        include_str!("../../../migrations/mongo/0005_transfers.json"),
    ),
    (
        "0006_parents",
        include_str!("../../../migrations/mongo/0006_parents.json"),
    ),
    (
        "0007_retention",
        include_str!("../../../migrations/mongo/0007_retention.json"),
    ),
    (
        "0008_day_sums",
        include_str!("../../../migrations/mongo/0008_day_sums.json"),
    ),
];

/// The `_id` in `meta` that marks a database of this service.
const OWNER_MARK: &str = "tallymill";

/// The server's code for a collection that exists.
const EXISTS: i32 = 48;
/// The server's codes for a collection that another process changes: lock timeout, conflicting operation, index build.
const BUSY: [i32; 3] = [24, 117, 12_587];
/// Attempts while the collection is busy, and the delay between two.
const BUSY_ATTEMPTS: usize = 60;
const BUSY_DELAY: Duration = Duration::from_millis(100);
/// Longest wait for a command: an index of a large collection may take hours.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(6 * 3_600);
/// The server's codes for a command that it does not have.
const UNKNOWN_COMMAND: i32 = 59;
const NOT_IMPLEMENTED: i32 = 238;

/// A migration step.
#[derive(Deserialize)]
struct Step {
    collections: Vec<CollectionSchema>,
}

/// Validator and indexes of a collection.
#[derive(Deserialize)]
struct CollectionSchema {
    name: String,
    /// Required fields, with their BSON types.
    required: Document,
    /// Indexes in the form of `createIndexes`: <https://www.mongodb.com/docs/manual/reference/command/createIndexes/>.
    indexes: Vec<Document>,
}

/// Applies the pending steps.
pub(super) async fn run(db: &Db) -> Result<()> {
    let steps = STEPS
        .iter()
        .map(|(name, json)| Ok((*name, read(json)?)))
        .collect::<Result<Vec<_>>>()?;
    claim_database(db, &steps).await?;
    refuse_newer(db).await?;
    for (name, step) in steps {
        if db.one("migrations", doc! { "_id": name }).await?.is_some() {
            continue;
        }
        for schema in &step.collections {
            apply(db, schema).await?;
        }
        let done = (
            doc! { "_id": name },
            doc! { "$set": { "done": true } },
            true,
        );
        db.update_each("migrations", vec![done]).await?;
        tracing::info!(migration = name, "the database is at schema {name}");
    }
    Ok(())
}

fn read(json: &str) -> Result<Step> {
    serde_json::from_str(json).map_err(|why| corrupt("a migration", &why))
}

/// Marks the database as one of this service.
///
/// Fails if it is not marked and has a collection with one of our names.
async fn claim_database(db: &Db, steps: &[(&str, Step)]) -> Result<()> {
    let marked = || db.one("meta", doc! { "_id": OWNER_MARK });
    if marked().await?.is_some() {
        return Ok(());
    }
    let names = async { db.database.list_collection_names().await };
    let names = db.run("the list of collections", names).await?;
    let ours = steps.iter().flat_map(|(_, step)| &step.collections);
    let mut foreign = ours
        .map(|schema| schema.name.as_str())
        .chain(["migrations"])
        .find(|name| names.iter().any(|existing| existing == name));
    // An empty `meta` is not foreign: another process may be about to mark the database.
    if db.one("meta", doc! {}).await?.is_some() {
        foreign = foreign.or(Some("meta"));
    }
    // Checked again: a process that starts concurrently marks the database before it creates collections.
    if let Some(name) = foreign
        && marked().await?.is_none()
    {
        return Err(StoreError::Setup(format!(
            "the database `{}` has a collection `{name}` that is not tallymill's: nothing was written; name another database in MONGO_URI (mongodb://host/database)",
            db.database.name()
        )));
    }
    let mark = (
        doc! { "_id": OWNER_MARK },
        doc! { "$setOnInsert": { "schema": 1 } },
        true,
    );
    db.update_each("meta", vec![mark]).await
}

/// Fails if a newer version has migrated the database: this version could misread it.
async fn refuse_newer(db: &Db) -> Result<()> {
    let applied = db.find("migrations", super::db::Find::default()).await?;
    for step in &applied {
        let name = text(step, "_id")?;
        if !STEPS.iter().any(|(known, _)| *known == name) {
            return Err(StoreError::Setup(format!(
                "the database `{}` was written by a newer version (migration {name}): run that version, or restore a backup",
                db.database.name()
            )));
        }
    }
    Ok(())
}

/// Creates a collection with its validator and indexes.
async fn apply(db: &Db, schema: &CollectionSchema) -> Result<()> {
    let CollectionSchema {
        name,
        required,
        indexes,
    } = schema;
    command(db, doc! { "create": name }, &[EXISTS]).await?;
    let strict = doc! {
        "collMod": name,
        "validator": validator(required),
        "validationLevel": "strict",
        "validationAction": "error",
    };
    if !command(db, strict, &[NOT_IMPLEMENTED, UNKNOWN_COMMAND]).await? {
        tracing::debug!(
            collection = name,
            "this server has no validators; collection {name} has none"
        );
    }
    // One command per index: some compatible servers reject a list if one of its indexes exists.
    for index in indexes {
        let one = doc! { "createIndexes": name, "indexes": [index.clone()] };
        command(db, one, &[]).await?;
    }
    Ok(())
}

/// Runs a command. Returns false if the server answers with an accepted error code.
async fn command(db: &Db, command: Document, accepted: &[i32]) -> Result<bool> {
    for _ in 0..BUSY_ATTEMPTS {
        let run = async {
            match db.database.run_command(command.clone()).await {
                Ok(_) => Ok(Some(true)),
                Err(why) => match code(&why) {
                    Some(code) if accepted.contains(&code) => Ok(Some(false)),
                    Some(code) if BUSY.contains(&code) => Ok(None),
                    _ => Err(why),
                },
            }
        };
        if let Some(done) = db.run_within("a migration", MIGRATION_TIMEOUT, run).await? {
            return Ok(done);
        }
        tokio::time::sleep(BUSY_DELAY).await;
    }
    Err(StoreError::Unavailable {
        what: "a migration",
        source: "another process keeps the collection busy".into(),
    })
}

fn code(why: &Error) -> Option<i32> {
    match why.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

/// Returns the validator that requires each field and its type: <https://www.mongodb.com/docs/manual/core/schema-validation/>.
fn validator(required: &Document) -> Document {
    let names: Vec<Bson> = required.keys().map(|name| name.as_str().into()).collect();
    let properties: Document = required
        .iter()
        .map(|(name, kinds)| (name.clone(), Bson::Document(doc! { "bsonType": kinds })))
        .collect();
    doc! { "$jsonSchema": { "bsonType": "object", "required": names, "properties": properties } }
}

/// Checks the time zone against that of the first start.
pub(super) async fn check_time_zone(db: &Db, zone: &str) -> Result<()> {
    let first = (
        doc! { "_id": "time_zone" },
        doc! { "$setOnInsert": { "value": zone } },
        true,
    );
    db.update_each("meta", vec![first]).await?;
    let stored = db.one("meta", doc! { "_id": "time_zone" }).await?;
    let stored = match &stored {
        Some(stored) => text(stored, "value")?,
        None => zone,
    };
    if stored == zone {
        return Ok(());
    }
    Err(StoreError::Setup(format!(
        "this store counts its days in {stored}, but TIME_ZONE is {zone}: set TIME_ZONE={stored} for every process, or name an empty database in MONGO_URI and upload the files again"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_parses_and_names_its_indexes() {
        for (name, json) in STEPS {
            let step = read(json).unwrap_or_else(|why| panic!("{name}: {why}"));
            for schema in step.collections {
                let validator = validator(&schema.required);
                assert!(validator.contains_key("$jsonSchema"), "{}", schema.name);
                for index in schema.indexes {
                    assert!(index.get_str("name").is_ok() && index.get_document("key").is_ok());
                }
            }
        }
    }
}
