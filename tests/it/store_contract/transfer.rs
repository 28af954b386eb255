//! Files that arrive in parts.

use std::sync::Arc;

use bytes::Bytes;
use tallymill::{
    model::{
        Transfer, TransferId, TransferOutcome,
        transfer::{KEPT, KEPT_EMPTY},
    },
    store::{AppendPartOutcome, OpenTransferOutcome, Store, TransferLimits, TransferPart},
};
use tokio::task::JoinSet;

use crate::helpers::stock::{at, id};

const ROOM: TransferLimits = TransferLimits {
    transfers: 3,
    transfers_per_sender: 2,
    bytes: 100,
    parts_per_transfer: 20,
};

fn file(seconds: u64, length: u64) -> Transfer {
    let option = ("source".to_owned(), "crm".to_owned());
    Transfer {
        id: TransferId::at(at(seconds)),
        length,
        options: [option].into(),
        profile: Some("shop".parse().expect("a name")),
        sender: None,
        outcome: None,
        moved_at: at(seconds),
    }
}

async fn begin(store: &dyn Store, file: &Transfer) -> OpenTransferOutcome {
    store.open_transfer(file, ROOM).await.expect("answers")
}

async fn open(store: &dyn Store, seconds: u64, length: u64) -> TransferId {
    let file = file(seconds, length);
    assert_eq!(begin(store, &file).await, OpenTransferOutcome::Opened);
    let found = store.transfer(file.id).await.expect("reads");
    assert_eq!(found, Some((file.clone(), 0)));
    file.id
}

async fn append(
    store: &dyn Store,
    id: TransferId,
    start: u64,
    bytes: &'static [u8],
) -> AppendPartOutcome {
    let part = TransferPart {
        start,
        bytes: Bytes::from_static(bytes),
        arrived_at: at(50),
    };
    let appended = store.append_part(id, part, ROOM).await;
    appended.expect("answers")
}

async fn whole(store: &dyn Store, id: TransferId) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(part) = store.part(id, all.len() as u64).await.expect("reads") {
        all.extend_from_slice(&part);
    }
    all
}

pub(super) async fn a_file_grows_by_parts_that_begin_where_it_ends(store: Arc<dyn Store>) {
    let store = &*store;
    let file = open(store, 1, 11).await;
    assert_eq!(
        append(store, file, 0, b"hello ").await,
        AppendPartOutcome::Appended(6)
    );
    for wrong in [0, 5, 7] {
        let appended = append(store, file, wrong, b"x").await;
        assert_eq!(appended, AppendPartOutcome::WrongStart(6));
    }
    assert_eq!(
        append(store, file, 6, b"world").await,
        AppendPartOutcome::Appended(11)
    );
    let (now, end) = store
        .transfer(file)
        .await
        .expect("reads")
        .expect("is there");
    assert_eq!((now.moved_at, end), (at(50), 11));
    assert_eq!(whole(store, file).await, b"hello world");
    let nobody = append(store, TransferId::at(at(9)), 0, b"x").await;
    assert_eq!(nobody, AppendPartOutcome::Closed);
}

pub(super) async fn of_parts_that_begin_at_one_place_one_is_taken(store: Arc<dyn Store>) {
    let file = open(&*store, 1, 100).await;
    for round in 0..4 {
        let mut parts = JoinSet::new();
        for part in [&b"aaa"[..], b"bbb", b"ccc", b"ddd", b"eee"] {
            let store = Arc::clone(&store);
            parts.spawn(async move { (append(&*store, file, round * 3, part).await, part) });
        }
        let mut taken = Vec::new();
        while let Some(done) = parts.join_next().await {
            match done.expect("no panic") {
                (AppendPartOutcome::Appended(end), part) => {
                    assert_eq!(end, round * 3 + 3);
                    taken.push(part);
                }
                (AppendPartOutcome::WrongStart(end), _) => assert_eq!(end, round * 3 + 3),
                (other, _) => panic!("it is open, and has room: {other:?}"),
            }
        }
        assert_eq!(taken.len(), 1, "round {round}");
        assert!(whole(&*store, file).await.ends_with(taken[0]));
    }
}

pub(super) async fn nothing_is_appended_to_what_has_an_outcome_and_that_is_written_once(
    store: Arc<dyn Store>,
) {
    let store = &*store;
    for (n, outcome) in [
        TransferOutcome::Stored { batch: id(1) },
        TransferOutcome::Duplicate { batch: id(1) },
        TransferOutcome::Refused { reply: "{}".into() },
        TransferOutcome::Terminated,
    ]
    .into_iter()
    .enumerate()
    {
        let file = open(store, n as u64, 9).await;
        append(store, file, 0, b"abc").await;
        assert!(
            store
                .settle_transfer(file, &outcome)
                .await
                .expect("settles")
        );
        let other = TransferOutcome::Stored { batch: id(2) };
        let again = store.settle_transfer(file, &other).await;
        assert!(!again.expect("answers"));
        let (now, _) = store
            .transfer(file)
            .await
            .expect("reads")
            .expect("is there");
        assert_eq!(now.outcome, Some(outcome));
        assert_eq!(
            append(store, file, 3, b"d").await,
            AppendPartOutcome::Closed
        );
        for _ in 0..2 {
            store.drop_parts(file).await.expect("drops, also again");
        }
        assert_eq!(whole(store, file).await, b"");
    }
    let nobody = TransferId::at(at(9));
    let settled = store.settle_transfer(nobody, &TransferOutcome::Terminated);
    assert!(!settled.await.expect("answers"));
}

pub(super) async fn there_is_room_for_so_many_files_and_so_many_of_one_sender(
    store: Arc<dyn Store>,
) {
    let store = &*store;
    let of = |seconds, sender: &str| Transfer {
        sender: Some(sender.to_owned()),
        ..file(seconds, 1_000)
    };
    let first = of(1, "a");
    assert_eq!(begin(store, &first).await, OpenTransferOutcome::Opened);
    assert_eq!(begin(store, &of(2, "a")).await, OpenTransferOutcome::Opened);
    let until = at(1) + KEPT_EMPTY;
    assert_eq!(
        begin(store, &of(3, "a")).await,
        OpenTransferOutcome::SenderFull(until)
    );
    assert_eq!(
        append(store, first.id, 0, b"x").await,
        AppendPartOutcome::Appended(1)
    );
    let until = at(2) + KEPT_EMPTY;
    assert_eq!(begin(store, &of(3, "b")).await, OpenTransferOutcome::Opened);
    assert_eq!(
        begin(store, &of(4, "b")).await,
        OpenTransferOutcome::Full(until)
    );
    let over = TransferOutcome::Terminated;
    let settled = store.settle_transfer(first.id, &over).await;
    assert!(settled.expect("settles"));
    assert_eq!(begin(store, &of(4, "b")).await, OpenTransferOutcome::Opened);
}

pub(super) async fn there_is_room_for_so_many_bytes_that_arrived_and_no_matter_how_many_are_announced(
    store: Arc<dyn Store>,
) {
    let store = &*store;
    let (first, second) = (open(store, 1, 1_000).await, open(store, 2, 1_000).await);
    assert_eq!(
        append(store, first, 0, &[b'x'; 60]).await,
        AppendPartOutcome::Appended(60)
    );
    let full = append(store, second, 0, &[b'x'; 41]).await;
    assert_eq!(full, AppendPartOutcome::Full(at(2) + KEPT_EMPTY));
    assert_eq!(
        append(store, second, 0, &[b'x'; 40]).await,
        AppendPartOutcome::Appended(40)
    );
    assert_eq!(
        begin(store, &file(3, 1)).await,
        OpenTransferOutcome::Full(at(50) + KEPT)
    );
    let over = TransferOutcome::Terminated;
    assert!(store.settle_transfer(first, &over).await.expect("settles"));
    assert_eq!(
        append(store, second, 40, &[b'x'; 60]).await,
        AppendPartOutcome::Appended(100)
    );
}

pub(super) async fn a_file_has_so_many_parts_and_no_more(store: Arc<dyn Store>) {
    let store = &*store;
    let file = open(store, 1, 1_000).await;
    for start in 0..20 {
        let appended = append(store, file, start, b"x").await;
        assert_eq!(appended, AppendPartOutcome::Appended(start + 1));
    }
    assert_eq!(
        append(store, file, 20, b"x").await,
        AppendPartOutcome::TooManyParts
    );
}

pub(super) async fn a_file_of_which_nothing_arrives_is_forgotten_with_its_parts(
    store: Arc<dyn Store>,
) {
    let store = &*store;
    let (empty, moved, done) = (
        open(store, 1, 9).await,
        open(store, 2, 9).await,
        open(store, 3, 9).await,
    );
    for file in [moved, done] {
        append(store, file, 0, b"abc").await;
    }
    let over = TransferOutcome::Stored { batch: id(1) };
    assert!(store.settle_transfer(done, &over).await.expect("settles"));
    let mut known = vec![empty, moved, done];
    for (now, gone) in [
        (at(1) + KEPT_EMPTY, 0),
        (at(3) + KEPT_EMPTY, 1),
        (at(50) + KEPT, 0),
        (at(51) + KEPT, 2),
    ] {
        while store.prune_transfers(now).await.expect("prunes") {}
        for file in known.drain(..gone) {
            assert_eq!(store.transfer(file).await.expect("reads"), None);
            assert_eq!(whole(store, file).await, b"");
            assert_eq!(
                append(store, file, 0, b"x").await,
                AppendPartOutcome::Closed
            );
        }
        for file in &known {
            assert!(store.transfer(*file).await.expect("reads").is_some());
        }
    }
}

pub(super) async fn parts_of_a_file_that_takes_no_more_are_swept(store: Arc<dyn Store>) {
    let store = &*store;
    let (open, left) = (open(store, 1, 9).await, open(store, 2, 9).await);
    for file in [open, left] {
        append(store, file, 0, b"abc").await;
    }
    // Whoever settled it died before its parts were removed.
    let over = TransferOutcome::Terminated;
    assert!(store.settle_transfer(left, &over).await.expect("settles"));
    while store.prune_transfers(at(60)).await.expect("prunes") {}
    assert_eq!(whole(store, left).await, b"");
    assert_eq!(whole(store, open).await, b"abc");
}
