//! The contract of partials, days and their figures.

use std::{collections::BTreeMap, sync::Arc};

use tallymill::{
    model::{BatchChange, BatchId, Day},
    store::{DayState, Store},
};

use crate::helpers::store_fixtures::{
    at, begin, change, group, id, publish, publish_days, uploaded,
};

const TODAY: Day = Day(20_000);

async fn batch(store: &dyn Store, n: u64) -> BatchId {
    uploaded(store, n, &[("", "a", "u", 0)]).await
}

/// Adds a batch with `count` published events of one type.
async fn published(store: &dyn Store, n: u64, count: u64) -> BatchId {
    let id = batch(store, n).await;
    begin(store, id, 1).await;
    let groups = [group(TODAY, "a", count)];
    store.put_partials(id, 1, &groups).await.expect("puts");
    publish(store, id, 1, TODAY).await;
    id
}

async fn folded(store: &dyn Store) -> BTreeMap<String, u64> {
    let figures = store.fold_day(TODAY).await.expect("folds");
    let count = |(kind, partial): (String, tallymill::metric::Partial)| (kind, partial.count);
    figures.types.into_iter().map(count).collect()
}

async fn roll_up(store: &dyn Store, day: Day, computed: i64) -> bool {
    let figures = store.fold_day(day).await.expect("folds");
    let replaced = store.replace_day(day, computed, at(1), &figures).await;
    replaced.expect("replaces")
}

pub(super) async fn repeated_partials_and_folds_change_nothing(store: Arc<dyn Store>) {
    let id = published(&*store, 1, 3).await;
    let groups = [group(TODAY, "a", 3)];
    store.put_partials(id, 1, &groups).await.expect("puts");
    for _ in 0..2 {
        assert_eq!(folded(&*store).await, [("a".into(), 3)].into());
    }
    assert_eq!(
        store
            .partials(id, 1, None, 1_000)
            .await
            .expect("reads")
            .len(),
        1
    );
}

pub(super) async fn partials_of_batches_on_one_day_are_summed(store: Arc<dyn Store>) {
    published(&*store, 1, 3).await;
    published(&*store, 2, 4).await;
    let figures = store.fold_day(TODAY).await.expect("folds");
    let total = figures.total();
    assert_eq!((total.count, total.users.estimate()), (7, 4));
}

pub(super) async fn older_figures_never_replace_newer_ones(store: Arc<dyn Store>) {
    published(&*store, 1, 3).await;
    store.mark_days(&[TODAY]).await.expect("marks");
    let old = store.fold_day(TODAY).await.expect("folds");
    published(&*store, 2, 4).await;
    store.mark_days(&[TODAY]).await.expect("marks");
    assert!(roll_up(&*store, TODAY, 2).await);
    for computed in [1, 2] {
        let slow = store.replace_day(TODAY, computed, at(2), &old).await;
        assert!(!slow.expect("answers"));
    }
    let days = store.days(TODAY, TODAY, None, 10).await.expect("reads");
    let shown: Vec<_> = days.iter().map(|d| (d.total.count, d.stale)).collect();
    assert_eq!(shown, [(7, false)]);
}

pub(super) async fn only_published_partials_are_folded(store: Arc<dyn Store>) {
    let id = published(&*store, 1, 3).await;
    for token in [2, 3] {
        let groups = [group(TODAY, "a", 50)];
        store.put_partials(id, token, &groups).await.expect("puts");
    }
    let unpublished = batch(&*store, 2).await;
    let groups = [group(TODAY, "b", 50)];
    let put = store.put_partials(unpublished, 1, &groups).await;
    put.expect("puts");
    assert_eq!(folded(&*store).await, [("a".into(), 3)].into());
}

/// Publishes the nth batch under a token.
async fn republish(store: &dyn Store, n: u64, token: i64, count: u64) {
    begin(store, id(n), token).await;
    let groups = [group(TODAY, "a", count)];
    let put = store.put_partials(id(n), token, &groups).await;
    put.expect("puts");
    publish(store, id(n), token, TODAY).await;
}

pub(super) async fn figures_of_many_batches_follow_each_change(store: Arc<dyn Store>) {
    let mut counts = BTreeMap::new();
    for n in 1..=150 {
        published(&*store, n, n % 7).await;
        counts.insert(n, n % 7);
        if n % 30 == 0 {
            let all = counts.values().sum();
            assert_eq!(folded(&*store).await, [("a".into(), all)].into());
        }
    }
    for n in (1..=150).step_by(9) {
        if n % 2 == 0 {
            republish(&*store, n, 2, n).await;
            counts.insert(n, n);
        } else {
            change(&*store, id(n), BatchChange::Undo).await;
            while store.drop_stale_partials(id(n)).await.expect("drops") {}
            counts.remove(&n);
        }
        let all = counts.values().sum();
        assert_eq!(folded(&*store).await, [("a".into(), all)].into());
    }
}

pub(super) async fn published_and_current_partials_are_not_dropped(store: Arc<dyn Store>) {
    let id = batch(&*store, 1).await;
    begin(&*store, id, 2).await;
    publish(&*store, id, 2, TODAY).await;
    begin(&*store, id, 4).await;
    for token in 1..=5 {
        let groups = [group(TODAY, "a", 1), group(TODAY, "b", 1)];
        store.put_partials(id, token, &groups).await.expect("puts");
    }
    while store.drop_stale_partials(id).await.expect("drops") {}
    let mut left = Vec::new();
    for token in 1..=5 {
        if !store
            .partials(id, token, None, 1_000)
            .await
            .expect("reads")
            .is_empty()
        {
            left.push(token);
        }
    }
    assert_eq!(left, [2, 4, 5]);
}

pub(super) async fn days_are_stale_while_wanted_exceeds_computed(store: Arc<dyn Store>) {
    let days = [1, 2, 3].map(Day);
    store.mark_days(&days).await.expect("marks");
    store.mark_days(&days[2..]).await.expect("marks");
    assert!(roll_up(&*store, Day(2), 1).await);
    assert!(roll_up(&*store, Day(3), 1).await);
    assert_eq!(
        store.day(Day(3)).await.expect("reads"),
        DayState {
            wanted: 2,
            computed: 1
        }
    );
    assert_eq!(store.day(Day(9)).await.expect("reads"), DayState::default());
    let first = store.stale_days(None, 1).await.expect("lists");
    let rest = store.stale_days(first.last().copied(), 10).await;
    assert_eq!((first, rest.expect("lists")), (vec![Day(1)], vec![Day(3)]));
}

pub(super) async fn limit_counts_only_days_with_the_requested_type(store: Arc<dyn Store>) {
    let id = batch(&*store, 1).await;
    begin(&*store, id, 1).await;
    let kinds = ["common", "common", "common", "rare", "rare"];
    let groups: Vec<_> = (1..)
        .zip(kinds)
        .map(|(day, kind)| group(Day(day), kind, 2))
        .collect();
    store.put_partials(id, 1, &groups).await.expect("puts");
    publish_days(&*store, id, 1, (1..=5).map(Day).collect()).await;
    for day in (1..=6).map(Day) {
        store.mark_days(&[day]).await.expect("marks");
        roll_up(&*store, day, 1).await;
    }
    let shown = async |kind: Option<&str>, limit: usize| {
        let days = store.days(Day(0), Day(100), kind, limit).await;
        let days = days.expect("reads").into_iter();
        days.map(|d| d.day.0).collect::<Vec<_>>()
    };
    assert_eq!(
        shown(None, 10).await,
        [1, 2, 3, 4, 5],
        "without days that have no events"
    );
    assert_eq!(shown(None, 2).await, [1, 2]);
    assert_eq!(shown(Some("rare"), 2).await, [4, 5]);
    assert_eq!(shown(Some("never"), 2).await, Vec::<i32>::new());
}
