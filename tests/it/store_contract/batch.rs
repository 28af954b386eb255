//! The contract of batches and rejections, and what a deletion removes.

use std::sync::Arc;

use chrono::TimeDelta;
use tallymill::{
    model::{
        BatchChange, BatchId, BatchStatus, Content, Day, Fault, FaultCode, IdentityKey, JobId,
        Rejection,
    },
    store::{AuditEntry, BatchFilter, Changed, Claim, Projection, Sealed, Store, StoreError},
};

use crate::helpers::store_fixtures::{
    at, begin, block, change, columns, group, id, publish, receipt, receiving, uploaded,
};

const ALL: Projection = Projection::IDS;

fn rejection(row: u32, message: &str) -> Rejection {
    Rejection {
        row,
        line: row + 1,
        last_line: row + 1,
        byte_offset: 100 * u64::from(row),
        cells: vec!["a".into()],
        clipped: false,
        faults: vec![Fault {
            column: None,
            code: FaultCode::MissingCell,
            message: message.into(),
            value: None,
            hint: None,
        }],
    }
}

async fn listed(store: &dyn Store) -> Vec<BatchId> {
    let all = store.list_batches(&BatchFilter::default(), 100).await;
    all.expect("lists").into_iter().map(|b| b.id).collect()
}

pub(super) async fn receiving_batches_are_not_listed(store: Arc<dyn Store>) {
    let hidden = receiving(&*store, 1).await;
    let shown = uploaded(&*store, 2, &[("", "a", "u", 0)]).await;
    assert_eq!(listed(&*store).await, [shown]);
    let found = store.batch(hidden).await.expect("reads").expect("is there");
    assert_eq!(found.status, BatchStatus::Receiving);
}

pub(super) async fn events_of_an_unfinished_writer_are_unreadable(store: Arc<dyn Store>) {
    let id = receiving(&*store, 1).await;
    let mut writer = store.write_events(id, &columns(&[])).await.expect("opens");
    writer
        .append(block(&[("e", "a", "u", 0)]))
        .await
        .expect("appends");
    assert!(unreadable(&*store, id).await);
    drop(writer);
    assert!(unreadable(&*store, id).await);
}

async fn unreadable(store: &dyn Store, id: BatchId) -> bool {
    let missing = |why: StoreError| matches!(why, StoreError::Missing { .. });
    match store.scan_events(id, ALL).await {
        Ok(mut scan) => scan.next().await.err().is_some_and(missing),
        Err(why) => missing(why),
    }
}

pub(super) async fn repeated_rejections_are_stored_once(store: Arc<dyn Store>) {
    let id = receiving(&*store, 1).await;
    let rows = [rejection(3, "first"), rejection(1, "second")];
    for _ in 0..2 {
        store.append_rejections(id, &rows).await.expect("appends");
    }
    let all = store.rejections(id, 0, 10).await.expect("reads");
    assert_eq!(all, [rows[1].clone(), rows[0].clone()]);
    let after = store.rejections(id, 1, 10).await.expect("reads");
    assert_eq!(after, [rows[0].clone()]);
}

pub(super) async fn identical_content_is_a_duplicate_of_the_first(store: Arc<dyn Store>) {
    let first = receiving(&*store, 1).await;
    let second = receiving(&*store, 2).await;
    let sealed = store.seal(first, receipt(1), [7; 32]).await.expect("seals");
    assert!(matches!(sealed, Sealed::Batch(b) if b.status == BatchStatus::Uploaded));
    let again = store.seal(second, receipt(1), [7; 32]).await;
    assert_eq!(again.expect("seals"), Sealed::DuplicateOf(first));
    assert_eq!(listed(&*store).await, [first]);
}

pub(super) async fn content_of_a_deleted_batch_can_be_sealed_again(store: Arc<dyn Store>) {
    let first = receiving(&*store, 1).await;
    store.seal(first, receipt(1), [7; 32]).await.expect("seals");
    change(&*store, first, BatchChange::Undo).await;
    let second = receiving(&*store, 2).await;
    let sealed = store.seal(second, receipt(1), [7; 32]).await;
    assert!(matches!(sealed.expect("seals"), Sealed::Batch(b) if b.id == second));
    for step in [BatchChange::Undo, BatchChange::Bury { at: at(1) }] {
        change(&*store, second, step).await;
    }
    let third = receiving(&*store, 3).await;
    let sealed = store.seal(third, receipt(1), [7; 32]).await.expect("seals");
    assert!(matches!(sealed, Sealed::Batch(b) if b.id == third));
}

pub(super) async fn repeated_seals_return_the_same_batch(store: Arc<dyn Store>) {
    let id = receiving(&*store, 1).await;
    let first = store.seal(id, receipt(1), [7; 32]).await.expect("seals");
    let again = store.seal(id, receipt(1), [7; 32]).await.expect("seals");
    assert_eq!(first, again);
}

pub(super) async fn abandoned_uploads_are_not_sealed(store: Arc<dyn Store>) {
    let id = receiving(&*store, 1).await;
    change(&*store, id, BatchChange::RenewUpload).await;
    let stale = BatchChange::Abandon {
        at: at(1),
        renewals: Some(0),
    };
    let refused = store.change_batch(id, &stale).await.expect("answers");
    assert!(
        matches!(refused, Changed::Refused(_)),
        "the lease was renewed"
    );
    let seen = BatchChange::Abandon {
        at: at(1),
        renewals: Some(1),
    };
    change(&*store, id, seen).await;
    let sealed = store.seal(id, receipt(1), [7; 32]).await.expect("answers");
    assert_eq!(sealed, Sealed::Abandoned);
}

pub(super) async fn pages_of_batches_are_stable_under_inserts(store: Arc<dyn Store>) {
    for n in 1..=7 {
        receiving(&*store, n * 10).await;
        let sealed = store.seal(id(n * 10), receipt(1), [n as u8; 32]).await;
        sealed.expect("seals");
    }
    change(&*store, id(40), BatchChange::Process { force: false }).await;
    let (mut filter, mut seen) = (BatchFilter::default(), Vec::new());
    for inserted in 80.. {
        let page = store.list_batches(&filter, 3).await.expect("lists");
        let Some(last) = page.last() else { break };
        filter.before = Some(last.id);
        seen.extend(page.into_iter().map(|b| b.id));
        receiving(&*store, inserted).await;
        let sealed = store.seal(id(inserted), receipt(1), [inserted as u8; 32]);
        sealed.await.expect("seals");
    }
    let expected: Vec<_> = (1..=7).rev().map(|n| id(n * 10)).collect();
    assert_eq!(seen, expected);
}

pub(super) async fn longest_unchecked_batches_come_first(store: Arc<dyn Store>) {
    for (n, checked) in [(1, Some(30)), (2, Some(10)), (3, None), (4, Some(50))] {
        let id = uploaded(&*store, n, &[("", "a", "u", 0)]).await;
        begin(&*store, id, 1).await;
        publish(&*store, id, 1, Day(0)).await;
        if let Some(seconds) = checked {
            change(&*store, id, BatchChange::Checked { at: at(seconds) }).await;
        }
    }
    uploaded(&*store, 5, &[("", "a", "u", 0)]).await;
    let all = store.unchecked_batches(at(50), 10).await.expect("lists");
    assert_eq!(
        all,
        [id(3), id(2), id(1)],
        "without batches checked later and unpublished ones"
    );
    let two = store.unchecked_batches(at(50), 2).await.expect("lists");
    assert_eq!(two, [id(3), id(2)]);
}

pub(super) async fn deleted_batches_are_purged_at_once_and_an_hour_later(store: Arc<dyn Store>) {
    let id = uploaded(&*store, 1, &[("", "a", "u", 0)]).await;
    let expire = BatchChange::Expire { at: at(3_600) };
    change(&*store, id, expire).await;
    let due = async |seconds: u64| {
        let before = at(3_600 + seconds) - TimeDelta::hours(1);
        store.unpurged_batches(before, 10).await.expect("lists")
    };
    assert_eq!(due(1).await, [id]);
    change(&*store, id, BatchChange::Purged { before: 0 }).await;
    let again = BatchChange::Purged { before: 0 };
    let again = store.change_batch(id, &again).await.expect("answers");
    assert!(
        matches!(again, Changed::Refused(_)),
        "concurrent purges count once"
    );
    assert_eq!(due(3_600).await, []);
    assert_eq!(due(3_601).await, [id]);
    change(&*store, id, BatchChange::Purged { before: 1 }).await;
    assert_eq!(due(9_999).await, []);
}

pub(super) async fn batches_expire_at_the_time_of_their_last_upload(store: Arc<dyn Store>) {
    let id = uploaded(&*store, 1, &[("", "a", "u", 0)]).await;
    let expire = |seconds| BatchChange::Expire { at: at(seconds) };
    let early = store.change_batch(id, &expire(3_599)).await;
    assert!(matches!(early, Ok(Changed::Refused(_))));
    for (seconds, expected) in [(5_000, 5_000), (4_000, 5_000), (6_000, 6_000)] {
        let expires_at = Some(at(seconds));
        change(&*store, id, BatchChange::Extend { expires_at }).await;
        let stored = store.batch(id).await.expect("reads").expect("exists");
        assert_eq!(stored.expires_at(), Some(at(expected)));
    }
    let early = store.change_batch(id, &expire(5_999)).await;
    assert!(matches!(early, Ok(Changed::Refused(_))));
    change(&*store, id, expire(6_000)).await;
}

pub(super) async fn deletion_removes_events_partials_and_rejections(store: Arc<dyn Store>) {
    let id = uploaded(&*store, 1, &[("", "a", "u", 0)]).await;
    let appended = store.append_rejections(id, &[rejection(2, "short")]).await;
    appended.expect("appends");
    begin(&*store, id, 1).await;
    let groups = [group(Day(0), "a", 1)];
    store.put_partials(id, 1, &groups).await.expect("puts");
    publish(&*store, id, 1, Day(0)).await;
    change(&*store, id, BatchChange::Undo).await;
    let figures = store.fold_day(Day(0)).await.expect("folds");
    assert!(figures.types.is_empty(), "its events are no longer counted");
    while store.drop_stale_partials(id).await.expect("drops") {}
    while store.drop_rejections(id).await.expect("drops") {}
    for _ in 0..2 {
        store
            .drop_events(id)
            .await
            .expect("drops, also if repeated");
    }
    assert!(
        store
            .partials(id, 1, None, 1_000)
            .await
            .expect("reads")
            .is_empty()
    );
    let rejections = store.rejections(id, 0, 10).await.expect("reads");
    assert!(rejections.is_empty());
    assert!(unreadable(&*store, id).await);
}

pub(super) async fn old_tombstones_are_forgotten(store: Arc<dyn Store>) {
    let id = uploaded(&*store, 1, &[("e", "a", "u", 0)]).await;
    let other = uploaded(&*store, 2, &[("e", "a", "u", 0)]).await;
    let claim = Claim {
        key: IdentityKey([1; 16]),
        row: 1,
        content: Content(5),
    };
    let refused = store.claim(id, &[claim]).await.expect("claims");
    assert_eq!(refused, []);
    for job in [JobId::Process(id), JobId::Process(other)] {
        store.add_job(job, at(0)).await.expect("adds");
    }
    change(&*store, id, BatchChange::Undo).await;
    change(&*store, id, BatchChange::Bury { at: at(10) }).await;
    let prune = async |before| store.prune_tombstones(at(before)).await.expect("prunes");
    assert!(!prune(9_999).await);
    assert!(
        store.batch(id).await.expect("reads").is_some(),
        "it is purged once more before"
    );
    change(&*store, id, BatchChange::Purged { before: 1 }).await;
    assert!(!prune(10).await);
    assert!(store.batch(id).await.expect("reads").is_some());
    assert!(!prune(11).await);
    assert_eq!(store.batch(id).await.expect("reads"), None);
    assert_eq!(store.job(JobId::Process(id)).await.expect("reads"), None);
    let kept = store.job(JobId::Process(other)).await.expect("reads");
    assert!(kept.is_some() && store.batch(other).await.expect("reads").is_some());
    // A claim that its deletion missed is that of a missing owner, which counts as deleted.
    let foreign = store.claim(other, &[claim]).await.expect("claims");
    if let [held] = foreign[..] {
        assert_eq!(store.batch(held.owner).await.expect("reads"), None);
        let taken = store.take_over(other, held.owner, &[claim]).await;
        assert_eq!(taken.expect("takes over"), []);
    }
    let unowned = store.unowned_claims(other, &[claim]).await;
    assert!(unowned.expect("reads").is_empty());
    // Its content can be uploaded again.
    let receiving = receiving(&*store, 3).await;
    let mut content = [0; 32];
    content[..8].copy_from_slice(&1_u64.to_be_bytes());
    let sealed = store.seal(receiving, receipt(1), content).await;
    assert!(matches!(sealed, Ok(Sealed::Batch(_))));
}

pub(super) async fn old_audit_entries_are_deleted(store: Arc<dyn Store>) {
    for n in 0..3 {
        let entry = AuditEntry {
            at: at(n),
            actor: "admin".into(),
            action: "retry".into(),
            subject: "all".into(),
            result: "asked".into(),
        };
        store.record_audit(&entry).await.expect("records");
    }
    assert!(!store.prune_audit(at(2)).await.expect("prunes"));
    assert!(!store.prune_audit(at(9)).await.expect("prunes"));
}
