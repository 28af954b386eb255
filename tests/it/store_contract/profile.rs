//! The contract of profiles.

use std::sync::Arc;

use tallymill::{
    model::{Profile, ProfileName},
    store::{PutProfileOutcome, Store},
};

use crate::helpers::store_fixtures::at;

fn name(n: u64) -> ProfileName {
    format!("p{n:02}").parse().expect("a name")
}

fn profile(n: u64, source: &str) -> Profile {
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    Profile {
        name: name(n),
        options: [option("source", source), option("delimiter", ";")].into(),
        changed_at: at(n),
    }
}

async fn put(store: &dyn Store, profile: &Profile) -> PutProfileOutcome {
    store.put_profile(profile, 10).await.expect("puts")
}

pub(super) async fn profiles_of_the_same_name_are_replaced(store: Arc<dyn Store>) {
    assert_eq!(store.profile(&name(1)).await.expect("reads"), None);
    let (first, second) = (profile(1, "crm"), profile(1, "shop"));
    assert_eq!(put(&*store, &first).await, PutProfileOutcome::Created);
    assert_eq!(store.profile(&name(1)).await.expect("reads"), Some(first));
    for _ in 0..2 {
        assert_eq!(put(&*store, &second).await, PutProfileOutcome::Replaced);
    }
    let now = store.profile(&name(1)).await.expect("reads");
    assert_eq!(now.as_ref(), Some(&second));
    let all = store.profiles(None, 9).await.expect("lists");
    assert_eq!(all, [second]);
    assert!(store.drop_profile(&name(1)).await.expect("drops"));
    assert!(!store.drop_profile(&name(1)).await.expect("answers"));
    assert_eq!(store.profile(&name(1)).await.expect("reads"), None);
}

pub(super) async fn new_profiles_beyond_the_limit_are_refused(store: Arc<dyn Store>) {
    for n in 1..=10 {
        assert_eq!(
            put(&*store, &profile(n, "a")).await,
            PutProfileOutcome::Created
        );
    }
    assert_eq!(
        put(&*store, &profile(11, "a")).await,
        PutProfileOutcome::LimitReached
    );
    assert_eq!(store.profile(&name(11)).await.expect("reads"), None);
    assert_eq!(
        put(&*store, &profile(10, "b")).await,
        PutProfileOutcome::Replaced
    );
    assert!(store.drop_profile(&name(3)).await.expect("drops"));
    assert_eq!(
        put(&*store, &profile(11, "a")).await,
        PutProfileOutcome::Created
    );
}

pub(super) async fn pages_of_profiles_are_stable_under_inserts(store: Arc<dyn Store>) {
    for n in [7, 3, 1, 5] {
        put(&*store, &profile(n, "a")).await;
    }
    let (mut after, mut seen) = (None, Vec::new());
    for inserted in [0, 2, 4] {
        let page = store.profiles(after.as_ref(), 2).await.expect("lists");
        let Some(last) = page.last() else { break };
        after = Some(last.name.clone());
        seen.extend(page.into_iter().map(|profile| profile.name));
        put(&*store, &profile(inserted, "a")).await;
    }
    assert_eq!(seen, [1, 3, 5, 7].map(name));
}
