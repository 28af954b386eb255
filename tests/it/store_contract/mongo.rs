//! Guarantees of the MongoDB store beyond the contract: a database of its own, concurrent processes, and a server that
//! may be unavailable.

use std::{sync::Arc, time::Duration};

use chrono_tz::Tz;
use mongodb::{
    Client, Database,
    bson::{Document, doc},
};
use tallymill::{
    metric::DayFigures,
    model::{BatchChange, Content, Day, IdentityKey, JobId},
    store::{
        Backend, BatchStore, Claim, EventStore, EventTimeFilter, JobStore, MetricStore, Projection,
        Sealed, Store, StoreError, mongo::MongoStore,
    },
};
use tokio::{task::JoinSet, time::Instant};

use crate::helpers::{
    mongo::Mongo,
    store_fixtures::{
        DAY, at, begin, block, change, columns, group, id, publish, receipt, receiving, uploaded,
    },
};

const SECRET: &str = "hunter2";

async fn open(uri: &str) -> MongoStore {
    MongoStore::open(uri, Tz::UTC).await.expect("opens")
}

async fn refusal(uri: &str, zone: Tz) -> String {
    match MongoStore::open(uri, zone).await {
        Err(StoreError::Setup(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it opened"),
    }
}

/// Connects to the database without the store.
async fn raw_database(uri: &str) -> Database {
    let client = Client::with_uri_str(uri).await.expect("connects");
    client.default_database().expect("named in the string")
}

async fn all(database: &Database, collection: &str) -> Vec<Document> {
    use futures_util::TryStreamExt;
    let found = database.collection(collection).find(doc! {}).await;
    found.expect("finds").try_collect().await.expect("reads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_processes_can_start_at_once_on_an_empty_database() {
    let uri = Mongo::shared().database();
    let mut starts = JoinSet::new();
    for _ in 0..20 {
        let uri = uri.clone();
        starts.spawn(async move { MongoStore::open(&uri, Tz::UTC).await.map(drop) });
    }
    while let Some(started) = starts.join_next().await {
        started.expect("no panic").expect("opens");
    }
    let database = raw_database(&uri).await;
    let applied: Vec<_> = all(&database, "migrations").await;
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/mongo");
    let steps = std::fs::read_dir(files).expect("the steps").count();
    assert_eq!(applied.len(), steps, "{applied:?}");
    let indexes = database.collection::<Document>("events");
    let indexes = indexes.list_index_names().await.expect("lists");
    assert_eq!(indexes, ["_id_", "events_by_row"]);
}

#[tokio::test]
async fn batches_without_event_times_get_them_at_the_next_start() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let live = uploaded(&store, 1, &[("", "a", "u", 0)]).await;
    let deleted = uploaded(&store, 2, &[("", "a", "u", 0)]).await;
    change(&store, deleted, BatchChange::Undo).await;
    receiving(&store, 3).await;
    let batches = raw_database(&uri).await.collection::<Document>("batches");
    let undated = doc! { "$unset": { "first_event": "", "last_event": "" } };
    batches
        .update_many(doc! {}, undated)
        .await
        .expect("updates");
    let everything = EventTimeFilter {
        from: i64::MIN,
        until: i64::MAX,
        after: None,
    };
    let found = store.batches_by_event_time(&everything, 9).await;
    assert_eq!(found.expect("lists"), []);
    // Once per database: a start does not read all batches.
    let store = open(&uri).await;
    let found = store.batches_by_event_time(&everything, 9).await;
    assert_eq!(found.expect("lists"), []);
    let records = raw_database(&uri).await.collection::<Document>("meta");
    let record = records.delete_one(doc! { "_id": "event_times" }).await;
    assert_eq!(record.expect("deletes").deleted_count, 1);
    let store = open(&uri).await;
    let found = store.batches_by_event_time(&everything, 9).await;
    assert_eq!(found.expect("lists"), [(DAY, live)]);
}

#[tokio::test]
async fn foreign_databases_are_refused_by_name_and_unchanged() {
    let uri = Mongo::shared().database();
    let database = raw_database(&uri).await;
    let foreign = database.collection("events");
    foreign.insert_one(doc! { "x": 1 }).await.expect("inserts");
    let why = refusal(&uri, Tz::UTC).await;
    assert!(
        why.contains("a collection `events` that is not tallymill's")
            && why.contains(database.name()),
        "{why}"
    );
    let names = database.list_collection_names().await.expect("lists");
    assert_eq!(names, ["events"], "nothing was written");
}

#[tokio::test]
async fn foreign_meta_collections_are_refused_and_unchanged() {
    for foreign in ["meta", "migrations"] {
        let uri = Mongo::shared().database();
        let database = raw_database(&uri).await;
        let collection = database.collection(foreign);
        collection
            .insert_one(doc! { "x": 1 })
            .await
            .expect("inserts");
        let why = refusal(&uri, Tz::UTC).await;
        assert!(why.contains(&format!("a collection `{foreign}`")), "{why}");
        assert_eq!(all(&database, foreign).await.len(), 1);
        let names = database.list_collection_names().await.expect("lists");
        assert_eq!(names, [foreign]);
    }
}

#[tokio::test]
async fn other_time_zones_and_newer_schemas_are_refused() {
    let uri = Mongo::shared().database();
    drop(open(&uri).await);
    let why = refusal(&uri, Tz::Europe__Berlin).await;
    assert!(
        why.contains("counts its days in UTC") && why.contains("set TIME_ZONE=UTC"),
        "{why}"
    );
    drop(open(&uri).await);
    let newer = doc! { "_id": "9999_later" };
    let steps = raw_database(&uri).await.collection("migrations");
    steps.insert_one(newer).await.expect("inserts");
    let why = refusal(&uri, Tz::UTC).await;
    assert!(
        why.contains("a newer version (migration 9999_later)"),
        "{why}"
    );
}

#[tokio::test]
async fn unusable_connection_strings_fail_fast_without_their_password() {
    let cases = [
        ("mongodb://me:hunter2@127.0.0.1:1/x", "127.0.0.1:1"),
        ("mongodb://me:hunter2@x@127.0.0.1/x", "%40"),
        (
            "mongodb+srv://me:hunter2@db.example/x",
            "mongodb+srv:// is not supported",
        ),
        (
            "mongodb://me:hunter2@localhost/x?w=many&zlib=9",
            "MONGO_URI",
        ),
        ("hunter2", "mongodb://user:password@host1"),
    ];
    for (uri, expected) in cases {
        let started = Instant::now();
        let why = refusal(uri, Tz::UTC).await;
        assert!(started.elapsed() < Duration::from_secs(10), "{uri}");
        assert!(
            why.contains("MONGO_URI") && why.contains(expected),
            "{uri}: {why}"
        );
        assert!(!why.contains(SECRET), "{why}");
        assert!(why.len() < 600, "{why}");
    }
}

#[tokio::test]
async fn calls_fail_as_unavailable_until_the_server_is_back() {
    let mut server = Mongo::start();
    let uri = server.database();
    let store = open(&uri).await;
    let batch = uploaded(&store, 1, &[("e", "a", "u", 5)]).await;
    let mut writer = store
        .write_events(receiving(&store, 2).await, &columns(&[]))
        .await
        .expect("opens");
    server.kill();
    let lost = async {
        writer.append(block(&[("e", "a", "u", 5)])).await?;
        writer.finish().await
    };
    for failed in [
        store.batch(batch).await.err(),
        store.mark_days(&[Day(1)]).await.err(),
        store.check().await.err(),
        lost.await.err(),
    ] {
        assert!(
            matches!(failed, Some(StoreError::Unavailable { .. })),
            "{failed:?}"
        );
    }
    server.start_again();
    store.check().await.expect("answers");
    let found = store.batch(batch).await.expect("reads");
    assert!(found.is_some_and(|b| b.id == batch));
    store.mark_days(&[Day(1)]).await.expect("marks");
    let marked = store.day(Day(1)).await.expect("reads");
    assert!((1..=2).contains(&marked.wanted), "{marked:?}");
}

#[tokio::test]
async fn hanging_servers_are_unavailable_within_the_timeout() {
    let mut server = Mongo::start();
    let store = open(&server.database()).await;
    let batch = uploaded(&store, 1, &[("e", "a", "u", 5)]).await;
    server.hang();
    let started = Instant::now();
    let hung = store.batch(batch).await.err();
    assert!(
        matches!(hung, Some(StoreError::Unavailable { .. })),
        "{hung:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(25));
    server.resume();
    let found = store.batch(batch).await.expect("reads");
    assert!(found.is_some_and(|b| b.id == batch));
}

#[tokio::test]
async fn rewritten_events_are_stored_once_in_readable_form() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let batch = receiving(&store, 1).await;
    let rows = block(&[("e1", "login", "ann", 1_762_732_800_123_456)]);
    for _ in 0..2 {
        let mut writer = store
            .write_events(batch, &columns(&[]))
            .await
            .expect("opens");
        writer.append(rows.clone()).await.expect("appends");
        writer.finish().await.expect("finishes");
    }
    let events = all(&raw_database(&uri).await, "events").await;
    let expected = doc! {
        "_id": format!("{batch}:0000000001"), "batch": batch.to_string(), "row": 1_i64, "line": 2_i64,
        "event_id": "e1", "event_type": "login", "user_id": "ann",
        "timestamp": mongodb::bson::DateTime::from_millis(1_762_732_800_123),
        "ts_us": 1_762_732_800_123_456_i64, "attributes": {},
    };
    assert_eq!(events, [expected]);
}

#[tokio::test]
async fn scans_of_a_batch_with_missing_events_fail() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let two = [("e1", "a", "u", 5), ("e2", "a", "u", 6)];
    let batch = uploaded(&store, 1, &two).await;
    let events = raw_database(&uri).await.collection::<Document>("events");
    events.delete_one(doc! { "row": 2 }).await.expect("deletes");
    let mut scan = store
        .scan_events(batch, Projection::IDS)
        .await
        .expect("opens");
    assert_eq!(
        scan.next().await.expect("reads").map(|b| b.rows),
        Some(vec![1])
    );
    let why = scan.next().await.expect_err("one is missing");
    assert!(
        matches!(&why, StoreError::Corrupt { why, .. } if why.contains("1 of its events")),
        "{why:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_twenty_identical_uploads_becomes_a_batch() {
    let store = open(&Mongo::shared().database()).await;
    let mut seals = JoinSet::new();
    for n in 1..=20 {
        let batch = receiving(&store, n).await;
        let store = store.clone();
        seals.spawn(async move { store.seal(batch, receipt(1), [7; 32]).await.expect("seals") });
    }
    let mut firsts = Vec::new();
    let mut sealed = Vec::new();
    while let Some(done) = seals.join_next().await {
        match done.expect("no panic") {
            Sealed::Batch(batch) => sealed.push(batch.id),
            Sealed::DuplicateOf(first) => firsts.push(first),
            Sealed::Abandoned => panic!("no upload was abandoned"),
        }
    }
    assert_eq!((sealed.len(), firsts.len()), (1, 19));
    assert!(firsts.iter().all(|first| *first == sealed[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_marks_of_one_day_all_count() {
    let store = open(&Mongo::shared().database()).await;
    let mut marks = JoinSet::new();
    for _ in 0..30 {
        let store = store.clone();
        marks.spawn(async move { store.mark_days(&[Day(1), Day(2)]).await.expect("marks") });
    }
    while let Some(done) = marks.join_next().await {
        done.expect("no panic");
    }
    let day = store.day(Day(2)).await.expect("reads");
    assert_eq!((day.wanted, day.computed), (30, 0));
}

#[tokio::test]
async fn days_of_an_interrupted_rollup_do_not_stay_stale() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let batch = uploaded(&store, 1, &[("", "a", "u", 0)]).await;
    begin(&store, batch, 1).await;
    let groups = [group(Day(1), "a", 3)];
    store.put_partials(batch, 1, &groups).await.expect("puts");
    publish(&store, batch, 1, Day(1)).await;
    store.mark_days(&[Day(1)]).await.expect("marks");
    let figures = store.fold_day(Day(1)).await.expect("folds");
    let replace = async || {
        store
            .replace_day(Day(1), 1, at(1), &figures)
            .await
            .expect("replaces")
    };
    assert!(replace().await);
    // As if the process died after it stored the figures and before it cleared the flag.
    let days = raw_database(&uri).await.collection::<Document>("days");
    let stale = doc! { "$set": { "stale": true } };
    days.update_one(doc! {}, stale).await.expect("updates");
    assert!(!replace().await, "the figures are not older");
    let left = store.stale_days(None, 10).await.expect("lists");
    assert_eq!(left, []);
    let sketches = all(&raw_database(&uri).await, "day_types").await;
    assert_eq!(sketches.len(), 1, "old versions are removed");
}

#[tokio::test]
async fn foreign_claims_beyond_one_bulk_write_are_all_reported() {
    let store: Arc<dyn Store> = Arc::new(open(&Mongo::shared().database()).await);
    let claim = |n: u32| Claim {
        key: IdentityKey(u128::from(n).to_be_bytes()),
        row: n + 1,
        content: Content(u64::from(n)),
    };
    let theirs: Vec<_> = (0..2_500).map(|n| claim(2 * n)).collect();
    let mine: Vec<_> = (0..5_000).map(claim).collect();
    assert_eq!(store.claim(id(1), &theirs).await.expect("claims"), []);
    for _ in 0..2 {
        let refused = store.claim(id(2), &mine).await.expect("claims");
        assert_eq!(refused.len(), 2_500);
        assert!(refused.iter().all(|h| h.index % 2 == 0 && h.owner == id(1)));
        assert!(refused.iter().all(|h| h.content.0 == h.index as u64));
    }
    let some = &mine[..500];
    let refused = store.take_over(id(2), id(1), some).await;
    assert_eq!(refused.expect("takes over"), []);
    let unowned = store.unowned_claims(id(2), some).await.expect("reads");
    assert_eq!(unowned, Vec::<usize>::new());
}

#[tokio::test]
async fn jobs_are_stored_in_readable_form() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let job = store.arm(JobId::Process(id(1)), at(3)).await.expect("arms");
    let stored = all(&raw_database(&uri).await, "jobs").await.remove(0);
    assert_eq!(stored.get_str("_id").ok(), Some(&*job.id.to_string()));
    assert_eq!(stored.get_str("state").ok(), Some("queued"));
    assert_eq!(stored.get_str("kind").ok(), Some("process"));
    let run_at = stored.get_datetime("run_at").expect("a date");
    assert_eq!(run_at.timestamp_millis(), at(3).timestamp_millis());
    assert_eq!(store.job(job.id).await.expect("reads"), Some(job));
}

#[tokio::test]
async fn days_do_not_hold_their_types_but_read_those_of_older_versions() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let mut figures = DayFigures::default();
    for n in 0..3_000_u64 {
        let group = group(Day(1), &format!("type-{n:04}"), n + 1);
        figures.types.insert(group.event_type, group.partial);
    }
    store.mark_days(&[Day(1)]).await.expect("marks");
    let replaced = store.replace_day(Day(1), 1, at(1), &figures).await;
    assert!(replaced.expect("replaces"));
    let days = raw_database(&uri).await.collection::<Document>("days");
    let stored = days.find_one(doc! {}).await.expect("reads").expect("a day");
    assert!(
        !stored.to_string().contains("type-"),
        "the day holds a type"
    );
    let read = async |event_type| {
        let days = store.days(Day(0), Day(9), event_type, 9).await;
        let day = days.expect("reads").remove(0);
        let counts = day.types.iter().map(|figure| figure.count);
        (day.types.len(), counts.sum::<u64>(), day.total.count)
    };
    assert_eq!(read(None).await, (3_000, 4_501_500, 4_501_500));
    assert_eq!(read(Some("type-0006")).await, (1, 7, 7));
    let none = store.days(Day(0), Day(9), Some("type-3000"), 9).await;
    assert_eq!(none.expect("reads").len(), 0);
    let older = doc! {
        "$set": { "metrics": [{ "event_type": "type-0000", "count": 5_i64, "unique_users": 1_i64 }] },
    };
    days.update_one(doc! {}, older).await.expect("updates");
    assert_eq!(read(None).await, (1, 5, 4_501_500));
}
