//! Who counts which identity, and who lost to whom.

use std::sync::Arc;

use tallymill::{
    model::{BatchId, Content, IdentityKey},
    store::{Claim, ForeignClaim, Loss, Overlap, Store},
};

use crate::helpers::stock::{id, receiving};

fn claim(key: u8, row: u32) -> Claim {
    Claim {
        key: IdentityKey([key; 16]),
        row,
        content: Content(u64::MAX - u64::from(key)),
    }
}

async fn two(store: &dyn Store) -> (BatchId, BatchId) {
    (receiving(store, 1).await, receiving(store, 2).await)
}

pub(super) async fn claiming_twice_gives_the_claim_once(store: Arc<dyn Store>) {
    let (first, second) = two(&*store).await;
    for _ in 0..2 {
        let held = store.claim(first, &[claim(1, 5)]).await.expect("claims");
        assert_eq!(held, [], "what is its own is not lost");
    }
    let held = store.claim(second, &[claim(1, 9)]).await.expect("claims");
    assert_eq!(held.len(), 1);
}

pub(super) async fn a_claim_of_another_batch_is_held_with_its_row_and_content(
    store: Arc<dyn Store>,
) {
    let (first, second) = two(&*store).await;
    store.claim(first, &[claim(2, 5)]).await.expect("claims");
    let other = Claim {
        content: Content(3),
        ..claim(2, 8)
    };
    let asked = [claim(1, 7), other, claim(3, 9)];
    let held = store.claim(second, &asked).await.expect("claims");
    let expected = ForeignClaim {
        index: 1,
        owner: first,
        row: 5,
        content: claim(2, 5).content,
    };
    assert_eq!(held, [expected]);
}

pub(super) async fn the_same_identity_on_another_row_of_one_batch_is_held(store: Arc<dyn Store>) {
    let (first, _) = two(&*store).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    let held = store.claim(first, &[claim(1, 6)]).await.expect("claims");
    assert_eq!(held.first().map(|h| (h.owner, h.row)), Some((first, 5)));
}

pub(super) async fn a_claim_is_taken_over_only_from_the_named_owner(store: Arc<dyn Store>) {
    let (first, second) = two(&*store).await;
    let third = receiving(&*store, 3).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    store.claim(second, &[claim(2, 6)]).await.expect("claims");
    let asked = [claim(1, 1), claim(2, 2), claim(3, 3)];
    let held = store.take_over(third, first, &asked).await.expect("takes");
    assert_eq!(
        held.iter().map(|h| (h.index, h.owner)).collect::<Vec<_>>(),
        [(1, second)]
    );
    let not_held = store.unowned_claims(third, &asked).await.expect("reads");
    assert_eq!(not_held, [1], "what nobody held is claimed on the way");
    let late = store.take_over(second, first, &asked[..1]).await;
    let late = late.expect("takes");
    assert_eq!(
        late.first().map(|h| h.owner),
        Some(third),
        "it has it no more"
    );
}

pub(super) async fn releasing_removes_only_ones_own(store: Arc<dyn Store>) {
    let (first, second) = two(&*store).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    store.claim(second, &[claim(2, 6)]).await.expect("claims");
    let keys = [claim(1, 0).key, claim(2, 0).key];
    for _ in 0..2 {
        store.release(first, &keys).await.expect("releases");
    }
    let third = receiving(&*store, 3).await;
    let asked = [claim(1, 1), claim(2, 1)];
    let held = store.claim(third, &asked);
    let owners: Vec<_> = held
        .await
        .expect("claims")
        .iter()
        .map(|h| h.owner)
        .collect();
    assert_eq!(owners, [second]);
}

pub(super) async fn claims_that_are_not_held_for_the_row_are_named(store: Arc<dyn Store>) {
    let (first, second) = two(&*store).await;
    store.claim(first, &[claim(1, 5)]).await.expect("claims");
    store.claim(second, &[claim(2, 6)]).await.expect("claims");
    let asked = [claim(1, 5), claim(1, 6), claim(2, 6), claim(3, 7)];
    assert_eq!(
        store.unowned_claims(first, &asked).await.expect("reads"),
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

pub(super) async fn an_overlap_seen_before_is_replaced(store: Arc<dyn Store>) {
    let (first, second) = two(&*store).await;
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

pub(super) async fn losers_come_in_pages_and_go_with_their_owner(store: Arc<dyn Store>) {
    let all: Vec<_> = (2..=5).map(|n| overlap(id(n), id(1), n)).collect();
    store.put_overlaps(&all).await.expect("puts");
    let kept = overlap(id(3), id(2), 1);
    store
        .put_overlaps(std::slice::from_ref(&kept))
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
        [kept]
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
