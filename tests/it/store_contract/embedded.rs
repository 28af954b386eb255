//! Guarantees of the embedded store beyond the contract: its directory, lock and files.

use std::{fs::File, path::Path};

use chrono_tz::Tz;
use parquet::file::reader::{FileReader, SerializedFileReader};
use tallymill::{
    model::{Day, JobId, TextColumn, Transfer, TransferId},
    store::{
        AppendPartOutcome, Backend, BatchStore, Claim, ClaimStore, EventFilter, EventPosition,
        EventStore, JobStore, MetricStore, OpenTransferOutcome, Projection, StoreError,
        TransferLimits, TransferPart, TransferStore,
        embedded::{EmbeddedStore, Mode},
    },
};

use crate::helpers::{
    sample::Random,
    store_fixtures::{
        TestStore, at, begin, block, columns, group, id, publish, receiving, sealed, uploaded,
    },
};

async fn open(dir: &Path, zone: Tz) -> tallymill::store::Result<EmbeddedStore> {
    EmbeddedStore::open(dir, zone, Mode::Durable).await
}

fn event_file_path(fixture: &TestStore, n: u64) -> std::path::PathBuf {
    let name = format!("{}.parquet", id(n));
    fixture.dir.path().join("batches").join(name)
}

async fn refusal(dir: &Path, zone: Tz) -> String {
    match open(dir, zone).await {
        Err(StoreError::Setup(why)) => why,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("the store opened"),
    }
}

#[tokio::test]
async fn documents_and_events_survive_a_reopen() {
    let fixture = TestStore::open(Mode::Durable).await;
    let batch = uploaded(&*fixture.store, 1, &[("e", "a", "u", 5)]).await;
    begin(&*fixture.store, batch, 1).await;
    let groups = [group(Day(0), "a", 1)];
    let stored = fixture.store.put_partials(batch, 1, &groups).await;
    stored.expect("puts");
    publish(&*fixture.store, batch, 1, Day(0)).await;
    let claim = Claim {
        key: tallymill::model::IdentityKey([1; 16]),
        row: 1,
        content: tallymill::model::Content(2),
    };
    fixture.store.claim(batch, &[claim]).await.expect("claims");
    let job = JobId::Process(batch);
    let armed = fixture.store.arm(job, at(1)).await.expect("arms");
    let before = fixture.store.batch(batch).await.expect("reads");
    let TestStore { store, dir } = fixture;
    drop(store);

    let store = open(dir.path(), Tz::UTC).await.expect("opens");
    assert_eq!(store.batch(batch).await.expect("reads"), before);
    assert_eq!(store.job(job).await.expect("reads"), Some(armed));
    let unowned = store.unowned_claims(batch, &[claim]).await.expect("reads");
    assert!(unowned.is_empty());
    let figures = store.fold_day(Day(0)).await.expect("folds");
    assert_eq!(figures.total().count, 1);
    let mut scan = store
        .scan_events(batch, Projection::IDS)
        .await
        .expect("opens");
    let read = scan.next().await.expect("reads").expect("a block");
    assert_eq!((read.rows, read.timestamp), (vec![1], vec![5]));
    assert!(scan.next().await.expect("reads").is_none());
}

#[tokio::test]
async fn a_second_owner_is_refused_with_the_process_id_of_the_first() {
    let fixture = TestStore::open(Mode::Durable).await;
    let why = refusal(fixture.dir.path(), Tz::UTC).await;
    assert!(
        why.contains(&format!("process {}", std::process::id())),
        "{why}"
    );
    let holder = EmbeddedStore::holder(fixture.dir.path()).expect("has an owner");
    assert_eq!((holder.pid, holder.url), (std::process::id(), None));
    let TestStore { store, dir } = fixture;
    drop(store);
    assert_eq!(EmbeddedStore::holder(dir.path()), None);
    assert!(open(dir.path(), Tz::UTC).await.is_ok());
}

#[tokio::test]
async fn another_time_zone_is_refused_with_a_remedy() {
    let TestStore { store, dir } = TestStore::open(Mode::Durable).await;
    drop(store);
    let why = refusal(dir.path(), Tz::Asia__Kolkata).await;
    for part in ["UTC", "Asia/Kolkata", "set TIME_ZONE=UTC", "empty DATA_DIR"] {
        assert!(why.contains(part), "`{part}` in: {why}");
    }
    assert!(open(dir.path(), Tz::UTC).await.is_ok());
}

#[tokio::test]
async fn migrations_are_recorded_and_newer_schemas_refused() {
    let TestStore { store, dir } = TestStore::open(Mode::Durable).await;
    drop(store);
    let db = rusqlite::Connection::open(dir.path().join("tallymill.db")).expect("opens");
    let first: String = db
        .query_row("SELECT name FROM migrations", [], |row| row.get(0))
        .expect("is recorded");
    assert_eq!(first, "0001_start");
    db.execute("INSERT INTO migrations VALUES ('9999_later')", [])
        .expect("inserts");
    drop(db);
    let why = refusal(dir.path(), Tz::UTC).await;
    assert!(why.contains("9999_later"), "{why}");
}

#[tokio::test]
async fn open_stores_answer_a_ping() {
    for mode in [Mode::Durable, Mode::Simulated] {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = EmbeddedStore::open(dir.path(), Tz::UTC, mode).await;
        store.expect("opens").check().await.expect("answers");
    }
}

#[tokio::test]
async fn each_start_has_its_own_lease_owner_prefix() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let first = open(dir.path(), Tz::UTC).await.expect("opens");
    let before = first.lease_owner_prefix().expect("one process owns it");
    drop(first);
    let second = open(dir.path(), Tz::UTC).await.expect("opens");
    let after = second.lease_owner_prefix().expect("one process owns it");
    assert_ne!(after, before);
    assert!(!after.starts_with(&before));
}

#[tokio::test]
async fn files_of_unfinished_uploads_are_deleted_at_the_next_start() {
    let TestStore { store, dir } = TestStore::open(Mode::Durable).await;
    drop(store);
    let unfinished = dir.path().join("tmp").join(format!("{}.parquet", id(7)));
    std::fs::write(&unfinished, b"PAR1").expect("writes");
    open(dir.path(), Tz::UTC).await.expect("opens");
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn orphaned_parts_are_deleted_and_transfers_truncated_at_gaps() {
    let TestStore { store, dir } = TestStore::open(Mode::Durable).await;
    let transfer = Transfer {
        id: TransferId::at(at(1)),
        length: 9,
        options: Default::default(),
        profile: None,
        sender: None,
        outcome: None,
        moved_at: at(1),
    };
    let limits = TransferLimits {
        transfers: 1,
        transfers_per_sender: 1,
        bytes: 9,
        parts_per_transfer: 3,
    };
    let opened = store.open_transfer(&transfer, limits).await;
    assert_eq!(opened.expect("opens"), OpenTransferOutcome::Opened);
    for (start, part) in [(0, "abc"), (3, "def"), (6, "ghi")] {
        let part = TransferPart {
            start,
            bytes: part.into(),
            arrived_at: at(1),
        };
        let appended = store.append_part(transfer.id, part, limits).await;
        assert_eq!(
            appended.expect("appends"),
            AppendPartOutcome::Appended(start + 3)
        );
    }
    drop(store);
    let parts = dir.path().join("parts");
    let orphan = format!("{0}-0-{0}", transfer.id);
    std::fs::write(parts.join(orphan), "x").expect("writes");
    for part in std::fs::read_dir(&parts).expect("lists") {
        let path = part.expect("a name").path();
        if std::fs::read(&path).expect("reads") == b"def" {
            std::fs::remove_file(path).expect("removes");
        }
    }
    for remaining in [2, 1] {
        let store = open(dir.path(), Tz::UTC).await.expect("opens");
        let stored = store.transfer(transfer.id).await.expect("reads");
        assert_eq!(stored.map(|(_, end)| end), Some(3));
        let files = std::fs::read_dir(&parts).expect("lists").count();
        assert_eq!(
            files, remaining,
            "truncated parts are deleted at the next start"
        );
    }
}

#[tokio::test]
async fn missing_event_files_fail_as_missing_and_damaged_ones_as_corrupt() {
    for mode in [Mode::Durable, Mode::Simulated] {
        let fixture = TestStore::open(mode).await;
        let events: Vec<_> = (0..5_000).map(|n| ("", "a", "u", n)).collect();
        let id = uploaded(&*fixture.store, 1, &events).await;
        let file = event_file_path(&fixture, 1);
        let complete = std::fs::read(&file).expect("reads");
        let mut overwritten = complete.clone();
        overwritten[4..complete.len() / 2].fill(0xFF);
        for damaged in [&complete[..complete.len() - 9], &[], &overwritten] {
            std::fs::write(&file, damaged).expect("writes");
            let why = scan_error(&fixture, id).await;
            assert!(matches!(why, StoreError::Corrupt { .. }), "{why}");
        }
        std::fs::remove_file(&file).expect("removes");
        let why = scan_error(&fixture, id).await;
        assert!(matches!(why, StoreError::Missing { .. }), "{why}");
    }
}

async fn scan_error(fixture: &TestStore, id: tallymill::model::BatchId) -> StoreError {
    let mut scan = match fixture.store.scan_events(id, Projection::IDS).await {
        Ok(scan) => scan,
        Err(why) => return why,
    };
    loop {
        match scan.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the scan reached the end"),
            Err(why) => return why,
        }
    }
}

#[tokio::test]
async fn event_files_state_their_schema_and_preserve_column_order() {
    let fixture = TestStore::open(Mode::Durable).await;
    let id = receiving(&*fixture.store, 1).await;
    let columns = columns(&["city", "Timestamp", "row"]);
    let mut writer = fixture
        .store
        .write_events(id, &columns)
        .await
        .expect("opens");
    let mut rows = block(&[("e", "a", "u", 5), ("", "a", "u", 6)]);
    for text in ["Rome", "noon", "4"] {
        let mut column = TextColumn::default();
        column.push(text.as_bytes());
        column.push(b"");
        rows.attributes.push(column);
    }
    writer.append(rows).await.expect("appends");
    writer.finish().await.expect("finishes");
    let file = File::open(event_file_path(&fixture, 1)).expect("opens");
    let reader = SerializedFileReader::new(file).expect("is Parquet");
    let meta = reader.metadata().file_metadata();
    let footer = meta.key_value_metadata().expect("has keys");
    let schema = footer.iter().find(|kv| kv.key == "tallymill.schema");
    assert_eq!(schema.and_then(|kv| kv.value.as_deref()), Some("1"));
    let names: Vec<_> = meta
        .schema_descr()
        .columns()
        .iter()
        .map(|c| c.name())
        .collect();
    let expected = "row line event_id user_id event_type timestamp city Timestamp_2 row_2";
    assert_eq!(names.join(" "), expected);
    let mut rows = reader.get_row_iter(None).expect("reads");
    let first = rows.next().expect("a row").expect("reads").to_string();
    assert!(first.contains("city: \"Rome\""), "{first}");
    let second = rows.next().expect("a row").expect("reads").to_string();
    assert!(second.contains("event_id: null"), "{second}");
}

#[tokio::test]
async fn newest_events_are_found_in_every_row_group() {
    const ROWS: u32 = 300_000;
    let fixture = TestStore::open(Mode::Durable).await;
    let mut events = tallymill::model::EventBlock::default();
    let mut random = Random(5);
    for row in 1..=ROWS {
        events.rows.push(row);
        events.lines.push(row + 1);
        events.event_id.push(b"");
        events.user_id.push(&[b'a' + random.below(4) as u8]);
        events.event_type.push(b"login");
        // The groups overlap in time, and the last has neither the newest nor the oldest event.
        let group = i64::from(row / 131_072);
        events
            .timestamp
            .push([1_000, 0, 500][group as usize] + random.below(900) as i64);
    }
    let mut expected: Vec<_> = (0..events.len())
        .filter(|at| events.user_id.get(*at) == b"b" && events.timestamp[*at] < 1_850)
        .map(|at| EventPosition::new(events.timestamp[at], events.rows[at]))
        .collect();
    expected.sort_unstable();
    let batch = sealed(&*fixture.store, 1, columns(&[]), events).await;
    let filter = EventFilter {
        from: i64::MIN,
        until: 1_850,
        gaps: Vec::new(),
        user_id: Some("b".into()),
        event_type: None,
    };
    for start in [0, 31_000, expected.len() - 200] {
        let after = start.checked_sub(1).map(|at| expected[at]);
        let page = fixture
            .store
            .find_events(batch, &filter, after, 1_000)
            .await;
        let page = page.expect("finds");
        let rows: Vec<_> = expected[start..]
            .iter()
            .take(1_000)
            .map(|position| position.row)
            .collect();
        assert_eq!(page.events.rows, rows, "from {start}");
        assert_eq!(page.more, start + 1_000 < expected.len());
        assert_eq!(page.events.lines[0], rows[0] + 1);
    }
}

#[test]
fn a_part_whose_client_leaves_before_its_row_leaves_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let part = TransferPart {
        start: 0,
        bytes: vec![0; 1 << 20].into(),
        arrived_at: at(0),
    };
    let limits = TransferLimits {
        transfers: 9,
        transfers_per_sender: 9,
        bytes: 1 << 30,
        parts_per_transfer: 9,
    };
    let parts = dir.path().join("parts");
    let files = || std::fs::read_dir(&parts).expect("lists").count();
    runtime.block_on(async {
        let store = open(dir.path(), Tz::UTC).await.expect("opens");
        for n in 0..10 {
            let append = store.append_part(TransferId::at(at(n)), part.clone(), limits);
            // Polled once: the file is being written when the client leaves.
            let append = futures_util::FutureExt::now_or_never(append);
            assert!(append.is_none());
        }
        while files() == 0 {
            std::thread::yield_now();
        }
    });
    // Ends once all files are written.
    drop(runtime);
    assert_eq!(files(), 0);
}
