//! Requests that clients have named.

use std::sync::Arc;

use tallymill::{
    model::{KeyEntry, KeyOutcome, RequestKey},
    store::Store,
};
use tokio::task::JoinSet;

use crate::helpers::stock::{at, id};

const KEY: RequestKey = RequestKey([7; 32]);

fn entry(n: u64) -> KeyEntry {
    KeyEntry {
        batch: id(n),
        content: None,
        outcome: None,
        opened_at: at(n),
    }
}

pub(super) async fn of_twenty_requests_exactly_one_opens_a_key(store: Arc<dyn Store>) {
    assert_eq!(store.idempotency_entry(KEY).await.expect("reads"), None);
    let mut requests = JoinSet::new();
    for n in 1..=20 {
        let store = Arc::clone(&store);
        let open = async move {
            store
                .add_idempotency_entry(KEY, &entry(n))
                .await
                .map(|won| (n, won))
        };
        requests.spawn(open);
    }
    let mut winners = Vec::new();
    while let Some(done) = requests.join_next().await {
        let (n, won) = done.expect("no panic").expect("answers");
        winners.extend(won.then_some(n));
    }
    assert_eq!(winners.len(), 1);
    let found = store.idempotency_entry(KEY).await.expect("reads");
    assert_eq!(found, Some(entry(winners[0])));
}

pub(super) async fn a_key_changes_hands_once_and_only_from_the_batch_that_it_is_about(
    store: Arc<dyn Store>,
) {
    let none = store.replace_idempotency_entry(KEY, id(1), &entry(2)).await;
    assert!(!none.expect("answers"), "there is none");
    assert!(
        store
            .add_idempotency_entry(KEY, &entry(1))
            .await
            .expect("opens")
    );
    let other = store.replace_idempotency_entry(KEY, id(9), &entry(2)).await;
    assert!(!other.expect("answers"), "it is about another");
    let mut takers = JoinSet::new();
    for n in 2..=11 {
        let store = Arc::clone(&store);
        takers.spawn(async move { store.replace_idempotency_entry(KEY, id(1), &entry(n)).await });
    }
    let taken = takers.join_all().await.into_iter();
    let taken = taken.filter(|taken| *taken.as_ref().expect("answers"));
    assert_eq!(taken.count(), 1);
    let now = store
        .idempotency_entry(KEY)
        .await
        .expect("reads")
        .expect("is there");
    for outcome in [None, Some(KeyOutcome::Duplicate), Some(KeyOutcome::Asked)] {
        let content = Some([3; 32]);
        let next = KeyEntry {
            content,
            outcome,
            ..now
        };
        assert!(
            store
                .replace_idempotency_entry(KEY, now.batch, &next)
                .await
                .expect("changes")
        );
        assert_eq!(
            store.idempotency_entry(KEY).await.expect("reads"),
            Some(next)
        );
    }
}

pub(super) async fn only_a_key_that_came_to_nothing_is_given_back(store: Arc<dyn Store>) {
    assert!(
        store
            .add_idempotency_entry(KEY, &entry(1))
            .await
            .expect("opens")
    );
    store
        .release_idempotency_key(KEY, id(2))
        .await
        .expect("answers");
    assert!(
        store.idempotency_entry(KEY).await.expect("reads").is_some(),
        "not its own"
    );
    for _ in 0..2 {
        store
            .release_idempotency_key(KEY, id(1))
            .await
            .expect("drops, also again");
        assert_eq!(store.idempotency_entry(KEY).await.expect("reads"), None);
    }
    let asked = KeyEntry {
        outcome: Some(KeyOutcome::Asked),
        ..entry(1)
    };
    assert!(
        store
            .add_idempotency_entry(KEY, &asked)
            .await
            .expect("opens")
    );
    store
        .release_idempotency_key(KEY, id(1))
        .await
        .expect("answers");
    assert_eq!(
        store.idempotency_entry(KEY).await.expect("reads"),
        Some(asked)
    );
}

pub(super) async fn keys_are_forgotten_by_age(store: Arc<dyn Store>) {
    let key = |n: u64| RequestKey([u8::try_from(n).expect("small"); 32]);
    for n in 1..=4 {
        assert!(
            store
                .add_idempotency_entry(key(n), &entry(n))
                .await
                .expect("opens")
        );
    }
    while store
        .prune_idempotency_entries(at(3))
        .await
        .expect("prunes")
    {}
    for n in 1..=4 {
        let found = store.idempotency_entry(key(n)).await.expect("reads");
        assert_eq!(found.is_some(), n >= 3, "{n}");
    }
}
