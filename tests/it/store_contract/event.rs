//! The contract of events: projections, pages by time, and files.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use tallymill::{
    model::{BatchChange, BatchId, EventBlock, TextColumn},
    store::{
        Attributes, EventFilter, EventPage, EventPosition, EventTimeFilter, Projection, Store,
        StoreError,
    },
};

use crate::helpers::{
    sample::Random,
    store_fixtures::{at, block, change, columns, id, receiving, sealed, uploaded},
};

const ALL: EventFilter = EventFilter {
    from: i64::MIN,
    until: i64::MAX,
    gaps: Vec::new(),
    user_id: None,
    event_type: None,
};

fn column(texts: &[&str]) -> TextColumn {
    let mut column = TextColumn::default();
    texts.iter().for_each(|text| column.push(text.as_bytes()));
    column
}

/// Two events with the attributes `city`, `a.b` and `$note`.
async fn two_with_attributes(store: &dyn Store) -> BatchId {
    let mut events = block(&[("e1", "login", "ann", 5), ("", "logout", "bob", 6)]);
    events.attributes = vec![
        column(&["Oslo", ""]),
        column(&["", "x"]),
        column(&["=1", " "]),
    ];
    sealed(store, 1, columns(&["city", "a.b", "$note"]), events).await
}

pub(super) async fn scans_read_only_the_projected_columns(store: Arc<dyn Store>) {
    let id = two_with_attributes(&*store).await;
    let scan = async |projection: Projection| {
        let mut scan = store.scan_events(id, projection).await.expect("opens");
        let read = scan.next().await.expect("reads").expect("a block");
        assert_eq!(scan.next().await.expect("reads"), None);
        read
    };
    let few = scan(Projection {
        line: false,
        event_id: false,
        user_id: true,
        attributes: Attributes::Only(vec![2, 1]),
    })
    .await;
    let none = TextColumn::default;
    assert_eq!((few.rows, few.lines), (vec![1, 2], vec![]));
    assert_eq!(
        (few.event_id, few.user_id),
        (none(), column(&["ann", "bob"]))
    );
    let selected = [none(), column(&["", "x"]), column(&["=1", " "])];
    assert_eq!(few.attributes, selected);
    let all = scan(Projection::ALL).await;
    assert_eq!(all.lines, [2, 3]);
    assert_eq!(all.event_id, column(&["e1", ""]));
    assert_eq!(all.attributes[0], column(&["Oslo", ""]));
    assert_eq!(scan(Projection::IDS).await.attributes, []);
}

/// Returns the positions of matching events, newest first.
fn expected(events: &EventBlock, filter: &EventFilter) -> Vec<EventPosition> {
    let mut all: Vec<_> = (0..events.len())
        .filter(|at| filter.matches(events, *at))
        .map(|at| EventPosition::new(events.timestamp[at], events.rows[at]))
        .collect();
    all.sort_unstable();
    all
}

fn positions(page: &EventPage) -> Vec<EventPosition> {
    let rows = page.events.timestamp.iter().zip(&page.events.rows);
    rows.map(|(at, row)| EventPosition::new(*at, *row))
        .collect()
}

/// Returns the positions of all pages of `limit` events.
async fn pages(
    store: &dyn Store,
    id: BatchId,
    filter: &EventFilter,
    limit: usize,
) -> Vec<EventPosition> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let found = store.find_events(id, filter, after, limit).await;
        let found = found.expect("finds");
        assert!(found.events.len() <= limit);
        all.extend(positions(&found));
        assert!(all.len() <= 60, "events are repeated");
        if !found.more {
            return all;
        }
        assert_eq!(found.events.len(), limit, "a page of short events is full");
        after = all.last().copied();
    }
}

pub(super) async fn pages_return_every_matching_event_once_newest_first(store: Arc<dyn Store>) {
    let mut random = Random(7);
    let users = ["ann", "bob", "cai"];
    let events: Vec<_> = (0..60)
        .map(|_| {
            let user = users[random.below(3) as usize];
            let kind = ["login", "logout"][random.below(2) as usize];
            ("", kind, user, random.below(9) as i64 * 1_000)
        })
        .collect();
    let events = block(&events);
    let id = sealed(&*store, 1, columns(&[]), events.clone()).await;
    for user in [None, Some("bob"), Some("nobody")] {
        for kind in [None, Some("login")] {
            for (from, until, gaps) in [
                (i64::MIN, i64::MAX, vec![]),
                (2_000, 6_000, vec![]),
                (3_001, 3_000, vec![]),
                (1_000, 7_000, vec![2_000..3_000, 4_001..6_001]),
            ] {
                let filter = EventFilter {
                    from,
                    until,
                    gaps,
                    user_id: user.map(str::to_owned),
                    event_type: kind.map(str::to_owned),
                };
                let expected = expected(&events, &filter);
                for limit in [1, 4, 60, 100] {
                    let found = pages(&*store, id, &filter, limit).await;
                    assert_eq!(found, expected, "{filter:?}, {limit} at once");
                }
            }
        }
    }
    let first = store.find_events(id, &ALL, None, 1).await.expect("finds");
    let row = first.events.rows[0] as usize - 1;
    assert_eq!(first.events.user_id.get(0), events.user_id.get(row));
    assert_eq!(first.events.lines, [events.lines[row]]);
}

pub(super) async fn pages_of_long_events_end_early_and_report_more(store: Arc<dyn Store>) {
    const EVENTS: usize = 24;
    let times: Vec<_> = (0..EVENTS).map(|n| ("", "a", "u", n as i64)).collect();
    let mut events = block(&times);
    let long = "x".repeat(1 << 19);
    events.attributes = vec![column(&[&*long; EVENTS])];
    let id = sealed(&*store, 1, columns(&["text"]), events).await;
    let (mut seen, mut pages, mut after) = (Vec::new(), 0, None);
    loop {
        let found = store.find_events(id, &ALL, after, 1_000).await;
        let found = found.expect("finds");
        pages += 1;
        assert!(found.events.text_bytes() < 9 << 20);
        assert_eq!(found.events.attributes[0].get(0), long.as_bytes());
        seen.extend(found.events.rows.iter().copied());
        after = positions(&found).last().copied();
        if !found.more {
            break;
        }
    }
    let newest_first: Vec<_> = (1..=EVENTS as u32).rev().collect();
    assert_eq!(seen, newest_first);
    assert_eq!(pages, 2, "a full page of eight megabytes, then the rest");
}

pub(super) async fn long_events_among_short_ones_are_all_returned(store: Arc<dyn Store>) {
    const EVENTS: usize = 120;
    let times: Vec<_> = (0..EVENTS).map(|n| ("", "a", "u", n as i64)).collect();
    let mut events = block(&times);
    let long = "x".repeat(1 << 20);
    let cells: Vec<_> = (0..EVENTS)
        .map(|n| if n % 20 == 5 { &*long } else { "short" })
        .collect();
    events.attributes = vec![column(&cells)];
    let id = sealed(&*store, 1, columns(&["text"]), events).await;
    let found = store.find_events(id, &ALL, None, 1_000).await;
    let found = found.expect("finds");
    let newest_first: Vec<_> = (1..=EVENTS as u32).rev().collect();
    assert_eq!(found.events.rows, newest_first);
    assert!(!found.more);
    for (at, cell) in cells.iter().rev().enumerate() {
        assert_eq!(found.events.attributes[0].get(at), cell.as_bytes());
    }
}

pub(super) async fn events_of_an_unknown_batch_are_missing(store: Arc<dyn Store>) {
    let missing = |why: StoreError| matches!(why, StoreError::Missing { .. });
    let found = store.find_events(id(1), &ALL, None, 1).await;
    assert!(found.err().is_some_and(missing));
    assert!(store.event_file(id(1)).await.err().is_some_and(missing));
}

pub(super) async fn live_batches_are_listed_by_event_time(store: Arc<dyn Store>) {
    for (n, first, last) in [(1, 0, 10), (2, 5, 20), (3, 15, 20), (4, 30, 40), (5, 1, 90)] {
        let two = [("", "a", "u", first), ("", "a", "u", last)];
        sealed(&*store, n, columns(&[]), block(&two)).await;
    }
    receiving(&*store, 6).await;
    let dated = async |from: i64, until: i64, after, limit| {
        let filter = EventTimeFilter { from, until, after };
        store
            .batches_by_event_time(&filter, limit)
            .await
            .expect("lists")
    };
    let all = [
        (90, id(5)),
        (40, id(4)),
        (20, id(3)),
        (20, id(2)),
        (10, id(1)),
    ];
    assert_eq!(dated(i64::MIN, i64::MAX, None, 9).await, all);
    assert_eq!(dated(10, 15, None, 9).await, [all[0], all[3], all[4]]);
    assert_eq!(dated(11, 15, None, 9).await, [all[0], all[3]]);
    let mut paged = dated(i64::MIN, i64::MAX, None, 3).await;
    paged.extend(dated(i64::MIN, i64::MAX, paged.last().copied(), 3).await);
    assert_eq!(paged, all);
    change(&*store, id(5), BatchChange::Undo).await;
    change(&*store, id(4), BatchChange::Expire { at: at(3_600) }).await;
    change(&*store, id(3), BatchChange::Process { force: false }).await;
    assert_eq!(dated(i64::MIN, i64::MAX, None, 9).await, all[2..]);
}

pub(super) async fn event_files_have_all_events_or_end_with_an_error(store: Arc<dyn Store>) {
    let id = two_with_attributes(&*store).await;
    let read = async || {
        let file = store.event_file(id).await.expect("opens");
        let chunks: Vec<Bytes> = file.chunks.try_collect().await.expect("reads");
        let content = Bytes::from(chunks.concat());
        assert!(
            file.length
                .is_none_or(|length| length == content.len() as u64)
        );
        SerializedFileReader::new(content).expect("is Parquet")
    };
    let file = read().await;
    let metadata = file.metadata().file_metadata();
    let names: Vec<_> = metadata
        .schema_descr()
        .columns()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    let expected = [
        "row",
        "line",
        "event_id",
        "user_id",
        "event_type",
        "timestamp",
        "city",
        "a.b",
        "$note",
    ];
    assert_eq!(names, expected);
    let pairs = metadata.key_value_metadata().expect("has keys");
    let schema = pairs.iter().find(|pair| pair.key == "tallymill.schema");
    assert_eq!(schema.and_then(|pair| pair.value.as_deref()), Some("1"));
    let rows: Vec<_> = file
        .get_row_iter(None)
        .expect("rows")
        .map(|row| row.expect("a row"))
        .collect();
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[1].get_uint(0), rows[1].get_uint(1)).0.ok(), Some(2));
    assert_eq!(rows[0].get_string(2).ok().map(String::as_str), Some("e1"));
    assert!(rows[1].get_string(2).is_err(), "no id is null");
    assert_eq!(rows[1].get_timestamp_micros(5).ok(), Some(6));
    assert_eq!(rows[0].get_string(6).ok().map(String::as_str), Some("Oslo"));
    assert_eq!(rows[1].get_string(7).ok().map(String::as_str), Some("x"));

    let other = uploaded(&*store, 2, &[("", "a", "u", 0)]).await;
    let mut file = store.event_file(other).await.expect("opens");
    store.drop_events(other).await.expect("drops");
    // The stream is complete or ends with an error, never truncated without one.
    let mut content = Vec::new();
    loop {
        match file.chunks.try_next().await {
            Ok(Some(chunk)) => content.extend(chunk),
            Ok(None) => break,
            Err(_) => return,
        }
    }
    let file = SerializedFileReader::new(Bytes::from(content)).expect("is Parquet");
    assert_eq!(file.metadata().file_metadata().num_rows(), 1);
}
