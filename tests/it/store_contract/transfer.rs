//! The contract of transfers and their parts.

use std::sync::Arc;

use bytes::Bytes;
use tallymill::{
    model::{
        Transfer, TransferId, TransferOutcome,
        transfer::{EMPTY_TTL, TTL},
    },
    store::{AppendPartOutcome, OpenTransferOutcome, Store, TransferLimits, TransferPart},
};
use tokio::task::JoinSet;

use crate::helpers::store_fixtures::{at, id};

const LIMITS: TransferLimits = TransferLimits {
    transfers: 3,
    transfers_per_sender: 2,
    bytes: 100,
    parts_per_transfer: 20,
};

fn transfer(seconds: u64, length: u64) -> Transfer {
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

async fn begin(store: &dyn Store, transfer: &Transfer) -> OpenTransferOutcome {
    store
        .open_transfer(transfer, LIMITS)
        .await
        .expect("answers")
}

async fn open(store: &dyn Store, seconds: u64, length: u64) -> TransferId {
    let file = transfer(seconds, length);
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
    let appended = store.append_part(id, part, LIMITS).await;
    appended.expect("answers")
}

async fn content(store: &dyn Store, id: TransferId) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(part) = store.part(id, all.len() as u64).await.expect("reads") {
        all.extend_from_slice(&part);
    }
    all
}

pub(super) async fn parts_are_appended_only_at_the_end_of_the_file(store: Arc<dyn Store>) {
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
    let (now, end) = store.transfer(file).await.expect("reads").expect("exists");
    assert_eq!((now.moved_at, end), (at(50), 11));
    assert_eq!(content(store, file).await, b"hello world");
    let unknown = append(store, TransferId::at(at(9)), 0, b"x").await;
    assert_eq!(unknown, AppendPartOutcome::Closed);
}

pub(super) async fn one_of_concurrent_parts_with_the_same_start_is_appended(store: Arc<dyn Store>) {
    let file = open(&*store, 1, 100).await;
    for round in 0..4 {
        let mut parts = JoinSet::new();
        for part in [&b"aaa"[..], b"bbb", b"ccc", b"ddd", b"eee"] {
            let store = Arc::clone(&store);
            parts.spawn(async move { (append(&*store, file, round * 3, part).await, part) });
        }
        let mut won = Vec::new();
        while let Some(done) = parts.join_next().await {
            match done.expect("no panic") {
                (AppendPartOutcome::Appended(end), part) => {
                    assert_eq!(end, round * 3 + 3);
                    won.push(part);
                }
                (AppendPartOutcome::WrongStart(end), _) => assert_eq!(end, round * 3 + 3),
                (other, _) => panic!("the transfer is open and below its limits: {other:?}"),
            }
        }
        assert_eq!(won.len(), 1, "round {round}");
        assert!(content(&*store, file).await.ends_with(won[0]));
    }
}

pub(super) async fn outcomes_are_final_and_close_the_transfer(store: Arc<dyn Store>) {
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
        let (now, _) = store.transfer(file).await.expect("reads").expect("exists");
        assert_eq!(now.outcome, Some(outcome));
        assert_eq!(
            append(store, file, 3, b"d").await,
            AppendPartOutcome::Closed
        );
        for _ in 0..2 {
            store
                .drop_parts(file)
                .await
                .expect("drops, also if repeated");
        }
        assert_eq!(content(store, file).await, b"");
    }
    let unknown = TransferId::at(at(9));
    let settled = store.settle_transfer(unknown, &TransferOutcome::Terminated);
    assert!(!settled.await.expect("answers"));
}

pub(super) async fn transfers_are_limited_in_total_and_per_sender(store: Arc<dyn Store>) {
    let store = &*store;
    let of = |seconds, sender: &str| Transfer {
        sender: Some(sender.to_owned()),
        ..transfer(seconds, 1_000)
    };
    let first = of(1, "a");
    assert_eq!(begin(store, &first).await, OpenTransferOutcome::Opened);
    assert_eq!(begin(store, &of(2, "a")).await, OpenTransferOutcome::Opened);
    let until = at(1) + EMPTY_TTL;
    assert_eq!(
        begin(store, &of(3, "a")).await,
        OpenTransferOutcome::SenderFull(until)
    );
    assert_eq!(
        append(store, first.id, 0, b"x").await,
        AppendPartOutcome::Appended(1)
    );
    let until = at(2) + EMPTY_TTL;
    assert_eq!(begin(store, &of(3, "b")).await, OpenTransferOutcome::Opened);
    assert_eq!(
        begin(store, &of(4, "b")).await,
        OpenTransferOutcome::Full(until)
    );
    let outcome = TransferOutcome::Terminated;
    let settled = store.settle_transfer(first.id, &outcome).await;
    assert!(settled.expect("settles"));
    assert_eq!(begin(store, &of(4, "b")).await, OpenTransferOutcome::Opened);
}

pub(super) async fn stored_bytes_are_limited_and_announced_bytes_are_not(store: Arc<dyn Store>) {
    let store = &*store;
    let (first, second) = (open(store, 1, 1_000).await, open(store, 2, 1_000).await);
    assert_eq!(
        append(store, first, 0, &[b'x'; 60]).await,
        AppendPartOutcome::Appended(60)
    );
    let full = append(store, second, 0, &[b'x'; 41]).await;
    assert_eq!(full, AppendPartOutcome::Full(at(2) + EMPTY_TTL));
    assert_eq!(
        append(store, second, 0, &[b'x'; 40]).await,
        AppendPartOutcome::Appended(40)
    );
    assert_eq!(
        begin(store, &transfer(3, 1)).await,
        OpenTransferOutcome::Full(at(50) + TTL)
    );
    let outcome = TransferOutcome::Terminated;
    assert!(
        store
            .settle_transfer(first, &outcome)
            .await
            .expect("settles")
    );
    assert_eq!(
        append(store, second, 40, &[b'x'; 60]).await,
        AppendPartOutcome::Appended(100)
    );
}

pub(super) async fn parts_of_one_transfer_are_limited(store: Arc<dyn Store>) {
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

pub(super) async fn idle_transfers_expire_with_their_parts(store: Arc<dyn Store>) {
    let store = &*store;
    let (empty, moved, done) = (
        open(store, 1, 9).await,
        open(store, 2, 9).await,
        open(store, 3, 9).await,
    );
    for file in [moved, done] {
        append(store, file, 0, b"abc").await;
    }
    let outcome = TransferOutcome::Stored { batch: id(1) };
    assert!(
        store
            .settle_transfer(done, &outcome)
            .await
            .expect("settles")
    );
    let mut remaining = vec![empty, moved, done];
    for (now, expired) in [
        (at(1) + EMPTY_TTL, 0),
        (at(3) + EMPTY_TTL, 1),
        (at(50) + TTL, 0),
        (at(51) + TTL, 2),
    ] {
        while store.prune_transfers(now).await.expect("prunes") {}
        for file in remaining.drain(..expired) {
            assert_eq!(store.transfer(file).await.expect("reads"), None);
            assert_eq!(content(store, file).await, b"");
            assert_eq!(
                append(store, file, 0, b"x").await,
                AppendPartOutcome::Closed
            );
        }
        for file in &remaining {
            assert!(store.transfer(*file).await.expect("reads").is_some());
        }
    }
}

pub(super) async fn orphaned_parts_are_deleted(store: Arc<dyn Store>) {
    let store = &*store;
    let (open, settled) = (open(store, 1, 9).await, open(store, 2, 9).await);
    for file in [open, settled] {
        append(store, file, 0, b"abc").await;
    }
    // As if the process died between the settle and the deletion of the parts.
    let outcome = TransferOutcome::Terminated;
    assert!(
        store
            .settle_transfer(settled, &outcome)
            .await
            .expect("settles")
    );
    while store.prune_transfers(at(60)).await.expect("prunes") {}
    assert_eq!(content(store, settled).await, b"");
    assert_eq!(content(store, open).await, b"abc");
}
