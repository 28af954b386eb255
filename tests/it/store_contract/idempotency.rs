//! The contract of idempotency keys.

use std::sync::Arc;

use tallymill::{
    model::{IdempotencyEntry, IdempotencyKey, IdempotencyOutcome},
    store::Store,
};
use tokio::task::JoinSet;

use crate::helpers::store_fixtures::{at, id};

const KEY: IdempotencyKey = IdempotencyKey([7; 32]);

fn entry(n: u64) -> IdempotencyEntry {
    IdempotencyEntry {
        batch: id(n),
        request_digest: None,
        outcome: None,
        wanted_before: Some(3),
        opened_at: at(n),
    }
}

pub(super) async fn one_of_twenty_requests_adds_the_entry(store: Arc<dyn Store>) {
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

pub(super) async fn entries_are_replaced_once_and_only_for_their_batch(store: Arc<dyn Store>) {
    let none = store.replace_idempotency_entry(KEY, id(1), &entry(2)).await;
    assert!(!none.expect("answers"), "the key has no entry");
    assert!(
        store
            .add_idempotency_entry(KEY, &entry(1))
            .await
            .expect("opens")
    );
    let other = store.replace_idempotency_entry(KEY, id(9), &entry(2)).await;
    assert!(!other.expect("answers"), "the entry is about another batch");
    let mut replacements = JoinSet::new();
    for n in 2..=11 {
        let store = Arc::clone(&store);
        replacements
            .spawn(async move { store.replace_idempotency_entry(KEY, id(1), &entry(n)).await });
    }
    let replaced = replacements.join_all().await.into_iter();
    let replaced = replaced.filter(|replaced| *replaced.as_ref().expect("answers"));
    assert_eq!(replaced.count(), 1);
    let now = store
        .idempotency_entry(KEY)
        .await
        .expect("reads")
        .expect("exists");
    for outcome in [
        None,
        Some(IdempotencyOutcome::Duplicate),
        Some(IdempotencyOutcome::Requested),
    ] {
        let request_digest = Some([3; 32]);
        let next = IdempotencyEntry {
            request_digest,
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

pub(super) async fn only_keys_without_an_outcome_are_released(store: Arc<dyn Store>) {
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
        "the entry is about another batch"
    );
    for _ in 0..2 {
        store
            .release_idempotency_key(KEY, id(1))
            .await
            .expect("releases, also if repeated");
        assert_eq!(store.idempotency_entry(KEY).await.expect("reads"), None);
    }
    let asked = IdempotencyEntry {
        outcome: Some(IdempotencyOutcome::Requested),
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

pub(super) async fn entries_are_pruned_by_age(store: Arc<dyn Store>) {
    let key = |n: u64| IdempotencyKey([u8::try_from(n).expect("small"); 32]);
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
