//! The contract of claims and overlaps.

use std::sync::Arc;

use tallymill::{
    model::{BatchId, Content, IdentityKey},
    store::{Claim, ForeignClaim, Loss, Overlap, Store},
};

use crate::helpers::store_fixtures::{id, receiving};

fn claim(key: u8, row: u32) -> Claim {
    Claim {
        key: IdentityKey([key; 16]),
        row,
        content: Content(u64::MAX - u64::from(key)),
    }
}

async fn two_batches(store: &dyn Store) -> (BatchId, BatchId) {
    (receiving(store, 1).await, receiving(store, 2).await)
}

pub(super) async fn claims_belong_to_the_first_batch_even_if_repeated(store: Arc<dyn Store>) {
    let (first, second) = two_batches(&*store).await;
    for _ in 0..2 {
        let refused = store.claim(first, &[claim(1, 5)]).await.expect("claims");
        assert_eq!(refused, [], "own claims succeed");
    }
    let refused = store.claim(second, &[claim(1, 9)]).await.expect("claims");
    assert_eq!(refused.len(), 1);
}

pub(super) async fn foreign_claims_report_owner_row_and_content(store: Arc<dyn Store>) {
    let (first, second) = two_batches(&*store).await;
    store.claim(first, &[claim(2, 5)]).await.expect("claims");
    let other = Claim {
        content: Content(3),
        ..claim(2, 8)
    };
    let claims = [claim(1, 7), other, claim(3, 9)];
    let refused = store.claim(second, &claims).await.expect("claims");
    let expected = ForeignClaim {
        index: 1,
        owner: first,
        row: 5,
        content: claim(2, 5).content,
    };
    assert_eq!(refused, [expected]);
}

pub(super) async fn claims_of_another_row_of_the_batch_are_refused(store: Arc<dyn Store>) {
    let (first, _) = two_batches(&*store).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    let refused = store.claim(first, &[claim(1, 6)]).await.expect("claims");
    assert_eq!(refused.first().map(|h| (h.owner, h.row)), Some((first, 5)));
}

pub(super) async fn take_over_affects_only_claims_of_the_named_owner(store: Arc<dyn Store>) {
    let (first, second) = two_batches(&*store).await;
    let third = receiving(&*store, 3).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    store.claim(second, &[claim(2, 6)]).await.expect("claims");
    let claims = [claim(1, 1), claim(2, 2), claim(3, 3)];
    let refused = store.take_over(third, first, &claims).await.expect("takes");
    assert_eq!(
        refused
            .iter()
            .map(|h| (h.index, h.owner))
            .collect::<Vec<_>>(),
        [(1, second)]
    );
    let unowned = store.unowned_claims(third, &claims).await.expect("reads");
    assert_eq!(unowned, [1], "identities without an owner are claimed");
    let late = store.take_over(second, first, &claims[..1]).await;
    let late = late.expect("takes");
    assert_eq!(
        late.first().map(|h| h.owner),
        Some(third),
        "the owner has changed"
    );
}

pub(super) async fn release_removes_only_own_claims(store: Arc<dyn Store>) {
    let (first, second) = two_batches(&*store).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    store.claim(second, &[claim(2, 6)]).await.expect("claims");
    let keys = [claim(1, 0).key, claim(2, 0).key];
    for _ in 0..2 {
        store.release(first, &keys).await.expect("releases");
    }
    let third = receiving(&*store, 3).await;
    let claims = [claim(1, 1), claim(2, 1)];
    let refused = store.claim(third, &claims);
    let owners: Vec<_> = refused
        .await
        .expect("claims")
        .iter()
        .map(|h| h.owner)
        .collect();
    assert_eq!(owners, [second]);
}

pub(super) async fn unowned_claims_are_those_of_other_batches_and_rows(store: Arc<dyn Store>) {
    let (first, second) = two_batches(&*store).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    store.claim(second, &[claim(2, 6)]).await.expect("claims");
    let claims = [claim(1, 5), claim(1, 6), claim(2, 6), claim(3, 7)];
    assert_eq!(
        store.unowned_claims(first, &claims).await.expect("reads"),
        [1, 2, 3]
    );
}

fn overlap(loser: BatchId, owner: BatchId, duplicates: u64) -> Overlap {
    Overlap {
        loser,
        owner,
        duplicates,
        conflicts: 1,
        samples: vec![Loss {
            row: 3,
            original_row: 4,
            conflict: true,
        }],
    }
}

pub(super) async fn overlaps_of_the_same_pair_are_replaced(store: Arc<dyn Store>) {
    let (first, second) = two_batches(&*store).await;
    for duplicates in [1, 7] {
        let seen = [overlap(second, first, duplicates)];
        store.put_overlaps(&seen).await.expect("puts");
    }
    let losses = store
        .overlaps_of_loser(second, None, 10)
        .await
        .expect("reads");
    assert_eq!(losses, [overlap(second, first, 7)]);
}

pub(super) async fn overlaps_are_paged_by_loser_and_dropped_with_the_owner(store: Arc<dyn Store>) {
    let all: Vec<_> = (2..=5).map(|n| overlap(id(n), id(1), n)).collect();
    store.put_overlaps(&all).await.expect("puts");
    let remaining = overlap(id(3), id(2), 1);
    store
        .put_overlaps(std::slice::from_ref(&remaining))
        .await
        .expect("puts");
    let first = store
        .overlaps_of_owner(id(1), None, 3)
        .await
        .expect("reads");
    let rest = store
        .overlaps_of_owner(id(1), Some(first[2].loser), 3)
        .await;
    assert_eq!([first, rest.expect("reads")].concat(), all);
    store.drop_overlaps(id(1)).await.expect("drops");
    assert_eq!(
        store
            .overlaps_of_owner(id(1), None, 3)
            .await
            .expect("reads"),
        []
    );
    assert_eq!(
        store
            .overlaps_of_loser(id(3), None, 3)
            .await
            .expect("reads"),
        [remaining]
    );
    store.drop_overlaps(id(3)).await.expect("drops");
    assert_eq!(
        store
            .overlaps_of_owner(id(2), None, 3)
            .await
            .expect("reads"),
        []
    );
}
