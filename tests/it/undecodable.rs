//! Documents that this version can't decode, by damage or because a newer version wrote them: lists leave them out, and the
//! reconciler goes on with the others.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use chrono_tz::Tz;
use mongodb::bson::doc;
use tallymill::{
    clock::{Clock, Fixed},
    job::{Dispatch, DispatchError, JobLimits, JobService, Reconciler},
    metric::SpanSize,
    model::{BatchId, Day, JobChange, JobId, JobState},
    store::{
        BatchFilter, Store,
        embedded::Mode,
        mongo::{MongoOptions, MongoStore},
    },
};

use crate::helpers::{
    app::TestApp,
    mongo::Mongo,
    store_fixtures::{TestStore, begin, group, publish, uploaded},
};

#[derive(Default)]
struct Nudges(Mutex<Vec<JobId>>);

#[async_trait]
impl Dispatch for Nudges {
    async fn nudge(&self, job: JobId) -> Result<(), DispatchError> {
        self.0.lock().expect("no panics").push(job);
        Ok(())
    }
}

/// Four processed batches: the job of the first is running, the document of the second batch and the job of the third are
/// damaged by `damage`, and the fourth is well.
struct Fixture {
    store: Arc<dyn Store>,
    clock: Fixed,
    nudges: Arc<Nudges>,
    batches: Vec<BatchId>,
}

impl Fixture {
    async fn new(store: Arc<dyn Store>) -> Self {
        let (clock, nudges) = (Fixed::default(), Arc::new(Nudges::default()));
        let service = JobService::new(store.clone(), Arc::new(clock.clone()), nudges.clone());
        let mut batches = Vec::new();
        for n in 1..=4 {
            let id = uploaded(&*store, n, &[("", "login", "ann", 0)]).await;
            service.process(id, false).await.expect("is queued");
            batches.push(id);
        }
        let acquire = JobChange::Acquire {
            owner: "lost".into(),
        };
        let job = JobId::Process(batches[0]);
        let acquired = store.change_job(job, &acquire, clock.now()).await;
        assert!(acquired.expect("acquires").done().is_some());
        Self {
            store,
            clock,
            nudges,
            batches,
        }
    }

    fn job(&self, at: usize) -> JobId {
        JobId::Process(self.batches[at])
    }

    async fn check(&self) {
        let limits = JobLimits {
            attempts: 4,
            crashes: 5,
            backoff: Duration::from_secs(5),
            lease: Duration::from_secs(30),
            sweep: Duration::from_secs(5),
            batch_ttl: None,
            tombstone_retention: Some(Duration::from_secs(90 * 86_400)),
            audit_retention: None,
            reprocess_budget: Duration::from_secs(600),
            time_zone: Tz::UTC,
            scratch: "unused".into(),
            sort_memory: 1 << 20,
            fold_groups: 1_000,
            claims_at_once: 1_000,
        };
        let clock = Arc::new(self.clock.clone());
        let mut reconciler =
            Reconciler::new(self.store.clone(), clock, self.nudges.clone(), limits, None);
        self.nudges.0.lock().expect("no panics").clear();
        for _ in 0..2 {
            // The pass may return the error of a document; it has done the rest.
            let _ = reconciler.pass().await;
            self.clock.advance(Duration::from_secs(31));
        }
        let lost = self.store.job(self.job(0)).await.expect("reads");
        assert_eq!(
            lost.expect("is there").state,
            JobState::Queued,
            "its lease expired"
        );
        let nudged = self.nudges.0.lock().expect("no panics").clone();
        assert!(nudged.contains(&self.job(3)), "{nudged:?}");

        let listed = self.store.list_batches(&BatchFilter::default(), 3).await;
        let listed: Vec<_> = listed.expect("lists").iter().map(|b| b.id).collect();
        let [first, _, third, fourth] = self.batches[..] else {
            panic!("four batches")
        };
        assert_eq!(listed, [fourth, third, first]);
        let queued = self.store.jobs_in(JobState::Queued, None, 3).await;
        let mut queued: Vec<_> = queued.expect("lists").iter().map(|j| j.id).collect();
        let mut expected = vec![self.job(0), self.job(1), self.job(3)];
        queued.sort_unstable();
        expected.sort_unstable();
        assert_eq!(queued, expected);
        let due = self.store.due_jobs(self.clock.now(), 10).await;
        assert_eq!(
            due.expect("lists").len(),
            4,
            "without the job of a newer version"
        );
    }
}

#[tokio::test]
async fn undecodable_rows_do_not_stop_the_reconciler() {
    let home = TestStore::open(Mode::Durable).await;
    let fixture = Fixture::new(home.store.clone()).await;
    let db = rusqlite::Connection::open(home.dir.path().join("tallymill.db")).expect("opens");
    let damage = format!(
        "UPDATE batches SET doc = '{{}}' WHERE id = '{}';
         UPDATE jobs SET doc = 'rot' WHERE id = '{}';
         INSERT INTO jobs (id, kind, state, run_at, changed_at, doc) VALUES ('merge:7', 'merge', 'queued', 0, 9e12, '{{}}');",
        fixture.batches[1],
        fixture.job(2)
    );
    db.execute_batch(&damage).expect("damages");
    fixture.check().await;
}

#[tokio::test]
async fn undecodable_documents_do_not_stop_the_reconciler() {
    let uri = Mongo::shared().database();
    let store = MongoStore::open(&uri, Tz::UTC).await.expect("opens");
    let fixture = Fixture::new(Arc::new(store)).await;
    let client = mongodb::Client::with_uri_str(&uri).await.expect("connects");
    let database = client.default_database().expect("named in the string");
    let documents = |name| database.collection::<mongodb::bson::Document>(name);
    let (batch, job) = (fixture.batches[1].to_string(), fixture.job(2).to_string());
    let damage = doc! { "$set": { "receipt": "rot" } };
    documents("batches")
        .update_one(doc! { "_id": batch }, damage)
        .await
        .expect("damages");
    let damage = doc! { "$unset": { "token": "" } };
    documents("jobs")
        .update_one(doc! { "_id": job }, damage)
        .await
        .expect("damages");
    let newer = doc! { "_id": "merge:7", "kind": "merge", "state": "queued", "run_at": mongodb::bson::DateTime::from_millis(0),
    "changed_at": mongodb::bson::DateTime::from_millis(9_000_000_000_000) };
    documents("jobs").insert_one(newer).await.expect("inserts");
    fixture.check().await;
}

/// Publishes batches of one event each on a day, so many that sums of spans are kept.
async fn publish_many(store: &dyn Store, batches: u64) {
    for n in 1..=batches {
        let id = uploaded(store, n, &[("", "login", "ann", 0)]).await;
        begin(store, id, 1).await;
        let put = store
            .put_partials(id, 1, &[group(Day(0), "login", 1)])
            .await;
        put.expect("puts");
        publish(store, id, 1, Day(0)).await;
    }
}

async fn folded(store: &dyn Store) -> u64 {
    let figures = store.fold_day(Day(0)).await.expect("folds");
    figures.total().count
}

#[tokio::test]
async fn damaged_sums_of_a_day_are_computed_again() {
    let home = TestStore::open(Mode::Durable).await;
    publish_many(&*home.store, 150).await;
    assert_eq!(folded(&*home.store).await, 150);
    let db = rusqlite::Connection::open(home.dir.path().join("tallymill.db")).expect("opens");
    let damaged = "SELECT COUNT(*) FROM day_sum_types WHERE data = x'00'";
    let damaged = || db.query_row(damaged, [], |row| row.get::<_, u64>(0));
    let rows = db.execute("UPDATE day_sum_types SET data = x'00'", []);
    assert!(rows.expect("damages") > 1);
    assert_eq!(folded(&*home.store).await, 150);
    assert_eq!(damaged().expect("counts"), 0, "they are replaced");
}

#[tokio::test]
async fn damaged_or_incomplete_sums_over_mongodb_are_computed_again() {
    let uri = Mongo::shared().database();
    let store = MongoStore::open(&uri, Tz::UTC).await.expect("opens");
    let store = store.with_options(MongoOptions {
        span_size: SpanSize::SMALL,
        ..MongoOptions::default()
    });
    publish_many(&store, 20).await;
    assert_eq!(folded(&store).await, 20);
    let client = mongodb::Client::with_uri_str(&uri).await.expect("connects");
    let database = client.default_database().expect("named in the string");
    let types = database.collection::<mongodb::bson::Document>("day_sum_types");
    let rot = mongodb::bson::Binary {
        subtype: mongodb::bson::spec::BinarySubtype::Generic,
        bytes: vec![0],
    };
    let damaged = types.update_many(doc! {}, doc! { "$set": { "data": rot } });
    assert!(damaged.await.expect("damages").modified_count > 1);
    assert_eq!(folded(&store).await, 20);
    let deleted = types.delete_many(doc! {}).await.expect("deletes");
    assert!(deleted.deleted_count > 1, "they were kept again");
    assert_eq!(folded(&store).await, 20);
}

#[tokio::test]
async fn the_receipt_of_a_stored_file_is_sent_though_its_rejections_cannot_be_read() {
    let app = TestApp::start().await;
    let db = rusqlite::Connection::open(app.dir.path().join("tallymill.db")).expect("opens");
    db.execute_batch(
        "CREATE TRIGGER spoil AFTER INSERT ON rejections BEGIN
         UPDATE rejections SET doc = '{' WHERE batch = NEW.batch; END",
    )
    .expect("adds a trigger");
    let csv = "event_type,timestamp,user_id\nclick,2025-03-04,u1\nclick,never,u2\n";
    let receipt = app.upload("", csv).await;
    assert_eq!(receipt.status, 201, "{}", receipt.text);
    let receipt = receipt.json();
    assert_eq!(
        (&receipt["inserted_count"], &receipt["failed_count"]),
        (&1.into(), &1.into())
    );
    assert_eq!(receipt["errors"], serde_json::json!([]));
    app.stop().await;
}
