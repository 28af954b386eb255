//! Batches for tests, made by the verbs of a store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono_tz::Tz;
use tallymill::{
    clock::Fixed,
    metric::{Group, Partial},
    model::{
        Batch, BatchChange, BatchId, ColumnRole, Columns, Day, EventBlock, FileOrigin, IdentityBy,
        Instant, Origin, Published, Receipt, RunCounts, receipt::RowCounts,
    },
    store::{
        Changed, Sealed, Store,
        embedded::{EmbeddedStore, Mode},
        mongo::MongoStore,
    },
};

use super::mongo::Mongo;

/// Microseconds in a day.
pub(crate) const DAY: i64 = 86_400_000_000;

/// Event id (empty: none), type, user, instant.
pub(crate) type Event<'a> = (&'a str, &'a str, &'a str, i64);

/// A store with its directory, which is removed when dropped.
pub(crate) struct TestStore {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) dir: tempfile::TempDir,
}

impl TestStore {
    pub(crate) async fn open(mode: Mode) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = EmbeddedStore::open(dir.path(), Tz::UTC, mode).await;
        Self {
            store: Arc::new(store.expect("opens")),
            dir,
        }
    }

    /// Opens a MongoDB store in its own database.
    pub(crate) async fn mongo() -> Self {
        let store = MongoStore::open(&Mongo::shared().database(), Tz::UTC).await;
        Self {
            store: Arc::new(store.expect("opens")),
            dir: tempfile::tempdir().expect("temporary directory"),
        }
    }
}

/// Returns the id of the nth batch; a greater one is newer.
pub(crate) fn id(n: u64) -> BatchId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    BatchId::from_bytes(bytes)
}

/// Returns the instant `n` seconds after the start of the fixed clock.
pub(crate) fn at(seconds: u64) -> Instant {
    Fixed::epoch() + Duration::from_secs(seconds)
}

/// Returns the known columns and these attributes.
pub(crate) fn columns(attributes: &[&str]) -> Columns {
    let mut columns = Columns {
        labels: ["event_id", "user_id", "event_type", "timestamp"]
            .map(str::to_owned)
            .to_vec(),
        roles: vec![
            ColumnRole::EventId,
            ColumnRole::UserId,
            ColumnRole::EventType,
            ColumnRole::Timestamp,
        ],
        hint: None,
    };
    for name in attributes {
        columns.labels.push((*name).to_owned());
        columns.roles.push(ColumnRole::Attribute);
    }
    columns
}

/// Returns events as rows from 1 on.
pub(crate) fn block(events: &[Event<'_>]) -> EventBlock {
    let mut block = EventBlock::default();
    for (row, (event_id, event_type, user, at)) in (1..).zip(events) {
        block.rows.push(row);
        block.lines.push(row + 1);
        block.event_id.push(event_id.as_bytes());
        block.user_id.push(user.as_bytes());
        block.event_type.push(event_type.as_bytes());
        block.timestamp.push(*at);
    }
    block
}

/// A file with this number of bytes.
pub(crate) fn file(bytes: u64) -> FileOrigin {
    FileOrigin {
        name: Some("events.csv".into()),
        bytes,
        sha256: String::new(),
        bom: false,
        encoding: "utf-8".into(),
        encoding_source: "detected".into(),
        packing: None,
        line_ending: "lf".into(),
        delimiter: ',',
        quote: '"',
        escape: "doubled".into(),
        preamble_lines: 0,
        repeated_headers: 0,
    }
}

pub(crate) fn receipt(inserted: u64) -> Receipt {
    Receipt {
        rows: RowCounts {
            received: inserted,
            inserted,
            failed: 0,
            blank: 0,
        },
        errors_by_code: BTreeMap::new(),
        rejections_kept: 0,
        origin: Origin::File(file(1)),
        proposals: Vec::new(),
        values: None,
        warnings: Vec::new(),
        profile: None,
        parent: None,
        options: BTreeMap::default(),
        columns: columns(&[]),
        event_time: (0, DAY),
        event_types: 1,
        days: 1,
        identity: IdentityBy::default(),
        event_digest: None,
        claims: true,
        expires_at: Some(at(3_600)),
    }
}

/// Creates the nth batch without rows.
pub(crate) async fn receiving(store: &dyn Store, n: u64) -> BatchId {
    let batch = Batch::receiving(id(n), String::new(), true, "boot-1/up".into(), at(0));
    store.create_batch(&batch).await.expect("creates");
    id(n)
}

/// Uploads the nth batch with these events.
pub(crate) async fn uploaded(store: &dyn Store, n: u64, events: &[Event<'_>]) -> BatchId {
    let id = receiving(store, n).await;
    let mut writer = store.write_events(id, &columns(&[])).await.expect("opens");
    writer.append(block(events)).await.expect("appends");
    let receipt = Receipt {
        event_digest: writer.finish().await.expect("finishes"),
        ..receipt(events.len() as u64)
    };
    let mut content = [0; 32];
    content[..8].copy_from_slice(&n.to_be_bytes());
    let sealed = store.seal(id, receipt, content).await;
    assert!(matches!(sealed.expect("seals"), Sealed::Batch(_)));
    id
}

/// Uploads the nth batch with these columns and events.
pub(crate) async fn sealed(
    store: &dyn Store,
    n: u64,
    columns: Columns,
    events: EventBlock,
) -> BatchId {
    let id = receiving(store, n).await;
    let mut receipt = receipt(events.len() as u64);
    let instants = || events.timestamp.iter().copied();
    receipt.event_time = (
        instants().min().expect("an event"),
        instants().max().expect("an event"),
    );
    let mut writer = store.write_events(id, &columns).await.expect("opens");
    receipt.columns = columns;
    writer.append(events).await.expect("appends");
    receipt.event_digest = writer.finish().await.expect("finishes");
    let mut content = [0; 32];
    content[..8].copy_from_slice(&n.to_be_bytes());
    let sealed = store.seal(id, receipt, content).await;
    assert!(matches!(sealed.expect("seals"), Sealed::Batch(_)));
    id
}

/// Changes a batch; panics if it refuses.
pub(crate) async fn change(store: &dyn Store, id: BatchId, change: BatchChange) -> Batch {
    match store.change_batch(id, &change).await.expect("changes") {
        Changed::Done(batch) => batch,
        other => panic!("{}: {other:?}", change.name()),
    }
}

/// Begins a run of the batch.
pub(crate) async fn begin(store: &dyn Store, id: BatchId, token: i64) {
    change(store, id, BatchChange::Process { force: true }).await;
    change(store, id, BatchChange::Begin { token }).await;
}

/// Publishes the partials of a run.
pub(crate) async fn publish(store: &dyn Store, id: BatchId, token: i64, day: Day) {
    publish_days(store, id, token, vec![day]).await;
}

/// The same for a run that touches several days.
pub(crate) async fn publish_days(store: &dyn Store, id: BatchId, token: i64, days: Vec<Day>) {
    let published = Published {
        computed: 1,
        token,
        counts: RunCounts::default(),
        days,
        prev_days: vec![],
        at: at(1),
    };
    change(store, id, BatchChange::Publish(published)).await;
}

/// Returns a group of `count` events of one type on a day, each of another user.
pub(crate) fn group(day: Day, event_type: &str, count: u64) -> Group {
    let mut partial = Partial::default();
    for user in 0..count {
        partial.add(i64::from(day.0) * DAY, &user.to_be_bytes());
    }
    Group {
        day,
        event_type: event_type.into(),
        partial,
    }
}
