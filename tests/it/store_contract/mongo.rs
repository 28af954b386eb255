//! What the MongoDB store promises beyond the contract: a database of its own, many processes at once, and a server
//! that may be away.

use std::{sync::Arc, time::Duration};

use chrono_tz::Tz;
use mongodb::{
    Client, Database,
    bson::{Document, doc},
};
use tallymill::{
    model::{BatchChange, Content, Day, IdentityKey, JobId},
    store::{
        BatchStore, Claim, EventStore, EventTimeFilter, JobStore, MetricStore, Projection, Sealed,
        Store, StoreError, mongo::MongoStore,
    },
};
use tokio::{task::JoinSet, time::Instant};

use crate::helpers::{
    mongo::Mongo,
    stock::{
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

/// The database itself, as `mongosh` has it.
async fn bare(uri: &str) -> Database {
    let client = Client::with_uri_str(uri).await.expect("connects");
    client.default_database().expect("named in the string")
}

async fn all(database: &Database, collection: &str) -> Vec<Document> {
    use futures_util::TryStreamExt;
    let found = database.collection(collection).find(doc! {}).await;
    found.expect("finds").try_collect().await.expect("reads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_processes_may_start_at_once_on_an_empty_database() {
    let uri = Mongo::shared().database();
    let mut starts = JoinSet::new();
    for _ in 0..20 {
        let uri = uri.clone();
        starts.spawn(async move { MongoStore::open(&uri, Tz::UTC).await.map(drop) });
    }
    while let Some(started) = starts.join_next().await {
        started.expect("no panic").expect("opens");
    }
    let database = bare(&uri).await;
    let taken: Vec<_> = all(&database, "migrations").await;
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/mongo");
    let steps = std::fs::read_dir(files).expect("the steps").count();
    assert_eq!(taken.len(), steps, "{taken:?}");
    let indexes = database.collection::<Document>("events");
    let indexes = indexes.list_index_names().await.expect("lists");
    assert_eq!(indexes, ["_id_", "events_by_row"]);
}

#[tokio::test]
async fn batches_of_a_version_that_did_not_date_them_are_found_by_their_events() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let live = uploaded(&store, 1, &[("", "a", "u", 0)]).await;
    let gone = uploaded(&store, 2, &[("", "a", "u", 0)]).await;
    change(&store, gone, BatchChange::Undo).await;
    receiving(&store, 3).await;
    let batches = bare(&uri).await.collection::<Document>("batches");
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
    let store = open(&uri).await;
    let found = store.batches_by_event_time(&everything, 9).await;
    assert_eq!(found.expect("lists"), [(DAY, live)]);
}

#[tokio::test]
async fn a_database_of_somebody_else_is_refused_by_name_and_left_alone() {
    let uri = Mongo::shared().database();
    let database = bare(&uri).await;
    let theirs = database.collection("events");
    theirs.insert_one(doc! { "x": 1 }).await.expect("inserts");
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
async fn not_even_a_mark_is_left_in_a_database_of_somebody_else() {
    for theirs in ["meta", "migrations"] {
        let uri = Mongo::shared().database();
        let database = bare(&uri).await;
        let collection = database.collection(theirs);
        collection
            .insert_one(doc! { "x": 1 })
            .await
            .expect("inserts");
        let why = refusal(&uri, Tz::UTC).await;
        assert!(why.contains(&format!("a collection `{theirs}`")), "{why}");
        assert_eq!(all(&database, theirs).await.len(), 1);
        let names = database.list_collection_names().await.expect("lists");
        assert_eq!(names, [theirs]);
    }
}

#[tokio::test]
async fn days_of_another_zone_and_schemas_of_a_newer_version_are_refused() {
    let uri = Mongo::shared().database();
    drop(open(&uri).await);
    let why = refusal(&uri, Tz::Europe__Berlin).await;
    assert!(
        why.contains("counts its days in UTC") && why.contains("set TIME_ZONE=UTC"),
        "{why}"
    );
    drop(open(&uri).await);
    let newer = doc! { "_id": "9999_later" };
    let steps = bare(&uri).await.collection("migrations");
    steps.insert_one(newer).await.expect("inserts");
    let why = refusal(&uri, Tz::UTC).await;
    assert!(
        why.contains("a newer version (migration 9999_later)"),
        "{why}"
    );
}

#[tokio::test]
async fn a_string_that_leads_nowhere_is_a_named_fault_within_ten_seconds_and_without_its_password()
{
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
    for (uri, said) in cases {
        let started = Instant::now();
        let why = refusal(uri, Tz::UTC).await;
        assert!(started.elapsed() < Duration::from_secs(10), "{uri}");
        assert!(
            why.contains("MONGO_URI") && why.contains(said),
            "{uri}: {why}"
        );
        assert!(!why.contains(SECRET), "{why}");
        assert!(why.len() < 600, "{why}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_one_that_comes_back_goes_on() {
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
        lost.await.err(),
    ] {
        assert!(
            matches!(failed, Some(StoreError::Unavailable { .. })),
            "{failed:?}"
        );
    }
    server.start_again();
    let found = store.batch(batch).await.expect("reads");
    assert!(found.is_some_and(|b| b.id == batch));
    store.mark_days(&[Day(1)]).await.expect("marks");
    let marked = store.day(Day(1)).await.expect("reads");
    assert!((1..=2).contains(&marked.wanted), "{marked:?}");
}

#[tokio::test]
async fn a_server_that_hangs_is_unavailable_before_long() {
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
    server.go_on();
    let found = store.batch(batch).await.expect("reads");
    assert!(found.is_some_and(|b| b.id == batch));
}

#[tokio::test]
async fn an_event_written_again_is_one_event_and_a_person_can_read_it() {
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
    let events = all(&bare(&uri).await, "events").await;
    let expected = doc! {
        "_id": format!("{batch}:0000000001"), "batch": batch.to_string(), "row": 1_i64, "line": 2_i64,
        "event_id": "e1", "event_type": "login", "user_id": "ann",
        "timestamp": mongodb::bson::DateTime::from_millis(1_762_732_800_123),
        "ts_us": 1_762_732_800_123_456_i64, "attributes": {},
    };
    assert_eq!(events, [expected]);
}

#[tokio::test]
async fn a_batch_that_has_lost_events_is_not_folded_as_if_it_were_whole() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let two = [("e1", "a", "u", 5), ("e2", "a", "u", 6)];
    let batch = uploaded(&store, 1, &two).await;
    let events = bare(&uri).await.collection::<Document>("events");
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
async fn of_twenty_identical_uploads_at_once_one_becomes_a_batch() {
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
            Sealed::Abandoned => panic!("nobody gave it up"),
        }
    }
    assert_eq!((sealed.len(), firsts.len()), (1, 19));
    assert!(firsts.iter().all(|first| *first == sealed[0]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wishes_of_many_processes_for_one_day_all_count() {
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
async fn a_rollup_that_died_before_its_last_word_leaves_no_day_stale_for_ever() {
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
    // As it was when the process died between the figures and the flag.
    let days = bare(&uri).await.collection::<Document>("days");
    let stale = doc! { "$set": { "stale": true } };
    days.update_one(doc! {}, stale).await.expect("updates");
    assert!(!replace().await, "the figures are as new as the wish");
    let left = store.stale_days(None, 10).await.expect("lists");
    assert_eq!(left, []);
    let sketches = all(&bare(&uri).await, "day_types").await;
    assert_eq!(sketches.len(), 1, "old versions are removed");
}

#[tokio::test]
async fn claims_beyond_one_bulk_write_name_each_that_is_held() {
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
        let held = store.claim(id(2), &mine).await.expect("claims");
        assert_eq!(held.len(), 2_500);
        assert!(held.iter().all(|h| h.index % 2 == 0 && h.owner == id(1)));
        assert!(held.iter().all(|h| h.content.0 == h.index as u64));
    }
    let some = &mine[..500];
    let taken = store.take_over(id(2), id(1), some).await.expect("takes");
    assert_eq!(taken, []);
    let missing = store.unowned_claims(id(2), some).await.expect("reads");
    assert_eq!(missing, Vec::<usize>::new());
}

#[tokio::test]
async fn a_job_reads_in_the_ledger_as_it_stands() {
    let uri = Mongo::shared().database();
    let store = open(&uri).await;
    let job = store.arm(JobId::Process(id(1)), at(3)).await.expect("arms");
    let kept = all(&bare(&uri).await, "jobs").await.remove(0);
    assert_eq!(kept.get_str("_id").ok(), Some(&*job.id.to_string()));
    assert_eq!(kept.get_str("state").ok(), Some("queued"));
    assert_eq!(kept.get_str("kind").ok(), Some("process"));
    let run_at = kept.get_datetime("run_at").expect("a date");
    assert_eq!(run_at.timestamp_millis(), at(3).timestamp_millis());
    assert_eq!(store.job(job.id).await.expect("reads"), Some(job));
}
