//! Brings a database to the newest schema: numbered steps, each made of commands that may be repeated and may run in
//! several processes at once, each recorded when it is done. Writes nothing into a database that is somebody else's.

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

/// All steps, oldest first; a step that was released is never edited.
const STEPS: [(&str, &str); 6] = [
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
];

/// Says in `meta` whose database it is.
const OWNER: &str = "tallymill";

const EXISTS: i32 = 48;
/// Another process is at the same collection: lock timeout, conflicting operation, index build under way.
const BUSY: [i32; 3] = [24, 117, 12_587];
/// Tries while another process is at it, and the wait between two.
const TRIES: usize = 60;
const WAIT: Duration = Duration::from_millis(100);
/// Longest wait for an index: one of a large collection takes its time.
const BUILD: Duration = Duration::from_secs(6 * 3_600);
const UNKNOWN_COMMAND: i32 = 59;
const NOT_IMPLEMENTED: i32 = 238;

#[derive(Deserialize)]
struct Step {
    collections: Vec<Shape>,
}

/// What a collection is to look like.
#[derive(Deserialize)]
struct Shape {
    name: String,
    /// Fields that every document has, with their BSON types.
    required: Document,
    /// As `createIndexes` takes them: <https://www.mongodb.com/docs/manual/reference/command/createIndexes/>.
    indexes: Vec<Document>,
}

/// Applies what is missing.
pub(super) async fn run(db: &Db) -> Result<()> {
    let steps = STEPS
        .iter()
        .map(|(name, json)| Ok((*name, read(json)?)))
        .collect::<Result<Vec<_>>>()?;
    own(db, &steps).await?;
    refuse_newer(db).await?;
    for (name, step) in steps {
        if db.one("migrations", doc! { "_id": name }).await?.is_some() {
            continue;
        }
        for shape in &step.collections {
            apply(db, shape).await?;
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

/// Marks the database as ours, unless it holds collections of ours that are not.
async fn own(db: &Db, steps: &[(&str, Step)]) -> Result<()> {
    let marked = || db.one("meta", doc! { "_id": OWNER });
    if marked().await?.is_some() {
        return Ok(());
    }
    let names = async { db.database.list_collection_names().await };
    let names = db.ask("the list of collections", names).await?;
    let ours = steps.iter().flat_map(|(_, step)| &step.collections);
    let mut foreign = ours
        .map(|shape| shape.name.as_str())
        .chain(["migrations"])
        .find(|name| names.iter().any(|there| there == name));
    // It is there, and still empty, while another process marks it.
    if db.one("meta", doc! {}).await?.is_some() {
        foreign = foreign.or(Some("meta"));
    }
    // Another process that starts at this moment marks it before it makes them.
    if let Some(name) = foreign
        && marked().await?.is_none()
    {
        return Err(StoreError::Setup(format!(
            "the database `{}` has a collection `{name}` that is not tallymill's: nothing was written; name another database in MONGO_URI (mongodb://host/database)",
            db.database.name()
        )));
    }
    let mark = (
        doc! { "_id": OWNER },
        doc! { "$setOnInsert": { "schema": 1 } },
        true,
    );
    db.update_each("meta", vec![mark]).await
}

/// A newer version may have changed what this one would misread.
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

async fn apply(db: &Db, shape: &Shape) -> Result<()> {
    let Shape {
        name,
        required,
        indexes,
    } = shape;
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
            "this server has no validators: {name} goes without"
        );
    }
    // One by one: wire-compatible servers have stumbled over several of which some were there.
    for index in indexes {
        let one = doc! { "createIndexes": name, "indexes": [index.clone()] };
        command(db, one, &[]).await?;
    }
    Ok(())
}

/// Runs a command; false if the server declined it for one of these reasons.
async fn command(db: &Db, command: Document, declined: &[i32]) -> Result<bool> {
    for _ in 0..TRIES {
        let run = async {
            match db.database.run_command(command.clone()).await {
                Ok(_) => Ok(Some(true)),
                Err(why) => match code(&why) {
                    Some(code) if declined.contains(&code) => Ok(Some(false)),
                    Some(code) if BUSY.contains(&code) => Ok(None),
                    _ => Err(why),
                },
            }
        };
        if let Some(done) = db.ask_for("a migration", BUILD, run).await? {
            return Ok(done);
        }
        tokio::time::sleep(WAIT).await;
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

/// Every required field is there and of its type: <https://www.mongodb.com/docs/manual/core/schema-validation/>.
fn validator(required: &Document) -> Document {
    let names: Vec<Bson> = required.keys().map(|name| name.as_str().into()).collect();
    let properties: Document = required
        .iter()
        .map(|(name, kinds)| (name.clone(), Bson::Document(doc! { "bsonType": kinds })))
        .collect();
    doc! { "$jsonSchema": { "bsonType": "object", "required": names, "properties": properties } }
}

/// Checks that days are counted as before; the first start decides.
pub(super) async fn same_zone(db: &Db, zone: &str) -> Result<()> {
    let first = (
        doc! { "_id": "time_zone" },
        doc! { "$setOnInsert": { "value": zone } },
        true,
    );
    db.update_each("meta", vec![first]).await?;
    let kept = db.one("meta", doc! { "_id": "time_zone" }).await?;
    let kept = match &kept {
        Some(kept) => text(kept, "value")?,
        None => zone,
    };
    if kept == zone {
        return Ok(());
    }
    Err(StoreError::Setup(format!(
        "this store counts its days in {kept}, but TIME_ZONE is {zone}: set TIME_ZONE={kept} for every process, or name an empty database in MONGO_URI and upload the files again"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_reads_and_names_its_indexes() {
        for (name, json) in STEPS {
            let step = read(json).unwrap_or_else(|why| panic!("{name}: {why}"));
            for shape in step.collections {
                let validator = validator(&shape.required);
                assert!(validator.contains_key("$jsonSchema"), "{}", shape.name);
                for index in shape.indexes {
                    assert!(index.get_str("name").is_ok() && index.get_document("key").is_ok());
                }
            }
        }
    }
}
