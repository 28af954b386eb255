//! The state machine as a table, and what it must never allow.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use super::*;
use crate::model::{
    Columns, IdentityBy, Origin,
    receipt::{RowCounts, StreamOrigin},
};

fn batch(status: BatchStatus) -> Batch {
    let mut batch = Batch::receiving(
        BatchId::from_bytes([1; 16]),
        String::new(),
        true,
        "w".into(),
        Instant::default(),
    );
    batch.status = status;
    batch.fence = 5;
    batch.wanted = 2;
    batch.receipt = Some(receipt(Some(Instant::default())));
    batch
}

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// Returns the receipt of a batch without rows.
fn receipt(expires_at: Option<Instant>) -> Receipt {
    Receipt {
        rows: RowCounts::default(),
        errors_by_code: BTreeMap::new(),
        rejections_kept: 0,
        origin: Origin::Stream(StreamOrigin { name: "s".into() }),
        profile: None,
        columns: Columns::default(),
        event_time: (0, 0),
        event_types: 0,
        days: 0,
        proposals: Vec::new(),
        values: None,
        warnings: Vec::new(),
        identity: IdentityBy::default(),
        parent: None,
        options: BTreeMap::new(),
        event_digest: None,
        claims: false,
        expires_at,
    }
}

fn published(token: i64) -> Published {
    Published {
        computed: 2,
        token,
        counts: RunCounts::default(),
        days: vec![Day(3)],
        prev_days: vec![Day(1)],
        at: Instant::default(),
    }
}

/// Every status against every change: the state machine as a table.
#[test]
fn each_status_allows_just_what_the_table_says() {
    let at = Instant::default();
    let table: [(BatchChange, &str); 13] = [
        (
            BatchChange::Process { force: false },
            "uploaded>queued failed>queued",
        ),
        (
            BatchChange::Process { force: true },
            "uploaded>queued queued>queued processing>processing completed>queued failed>queued",
        ),
        (
            BatchChange::Recount,
            "queued>queued processing>processing completed>queued failed>failed",
        ),
        (BatchChange::Revive, "failed>queued"),
        (
            BatchChange::Begin { token: 6 },
            "queued>processing processing>processing",
        ),
        (BatchChange::Publish(published(5)), "processing>processing"),
        (
            BatchChange::Finish {
                token: 5,
                computed: 2,
            },
            "processing>completed",
        ),
        (
            BatchChange::Fail {
                token: 5,
                reason: "x".into(),
            },
            "processing>failed",
        ),
        (
            BatchChange::Undo,
            "uploaded>deleting queued>deleting processing>deleting completed>deleting failed>deleting",
        ),
        (
            BatchChange::Extend { expires_at: None },
            "uploaded>uploaded",
        ),
        (BatchChange::Expire { at }, "uploaded>deleted"),
        (BatchChange::Expire { at: at - SECOND }, ""),
        (BatchChange::Bury { at }, "deleting>deleted"),
    ];
    for (change, expected) in table {
        let moves: Vec<String> = BatchStatus::ALL
            .into_iter()
            .filter_map(|from| {
                let after = batch(from).after(&change).ok()?;
                Some(format!("{}>{}", from.as_str(), after.status.as_str()))
            })
            .collect();
        assert_eq!(moves.join(" "), expected, "{}", change.name());
    }
}

#[test]
fn a_stale_token_changes_nothing() {
    let it = batch(BatchStatus::Processing);
    for change in [
        BatchChange::Begin { token: 5 },
        BatchChange::Publish(published(4)),
        BatchChange::Finish {
            token: 4,
            computed: 2,
        },
        BatchChange::Fail {
            token: 4,
            reason: String::new(),
        },
    ] {
        assert!(it.after(&change).is_err(), "{}", change.name());
    }
}

#[test]
fn a_run_that_was_overtaken_by_a_wish_goes_back_to_the_queue() {
    let mut it = batch(BatchStatus::Processing);
    it.published = Some(published(5));
    let again = it
        .after(&BatchChange::Finish {
            token: 5,
            computed: 1,
        })
        .expect("its own token");
    assert_eq!(again.status, BatchStatus::Queued);
    assert_eq!(
        again.published.expect("kept").prev_days,
        [Day(1)],
        "days stay marked until a run meets the wish"
    );
    let done = it
        .after(&BatchChange::Finish {
            token: 5,
            computed: 2,
        })
        .expect("its own token");
    assert_eq!(done.published.expect("kept").prev_days, []);
}

#[test]
fn an_undo_keeps_the_days_and_lets_no_run_through() {
    let mut it = batch(BatchStatus::Completed);
    it.published = Some(published(5));
    let gone = it.after(&BatchChange::Undo).expect("completed");
    assert_eq!(
        (gone.undo_days.clone(), gone.published.clone()),
        (vec![Day(1), Day(3)], None)
    );
    assert!(
        gone.after(&BatchChange::Begin {
            token: i64::MAX - 1
        })
        .is_err()
    );
}

#[test]
fn an_upload_that_renewed_is_not_abandoned_by_an_observer() {
    let it = batch(BatchStatus::Receiving);
    let renewed = it.after(&BatchChange::RenewUpload).expect("receiving");
    let seen_before = BatchChange::Abandon {
        at: Instant::default(),
        renewals: Some(0),
    };
    assert!(renewed.after(&seen_before).is_err());
    assert!(it.after(&seen_before).is_ok());
}

#[test]
fn a_batch_whose_file_is_uploaded_again_expires_later_and_never_earlier() {
    let at = |seconds: i32| Instant::default() + SECOND * seconds;
    for (before, again, after) in [
        (Some(5), Some(9), Some(9)),
        (Some(5), Some(4), Some(5)),
        (Some(5), None, None),
        (None, Some(9), None),
    ] {
        let mut it = batch(BatchStatus::Uploaded);
        it.receipt = Some(receipt(before.map(at)));
        let expires_at = again.map(at);
        let extended = it
            .after(&BatchChange::Extend { expires_at })
            .expect("unprocessed");
        assert_eq!(extended.expires_at(), after.map(at));
        for (seconds, expires) in [(4, false), (5, after == Some(5)), (9, after.is_some())] {
            let expired = extended.after(&BatchChange::Expire { at: at(seconds) });
            assert_eq!(expired.is_ok(), expires, "{before:?} {again:?} {seconds}");
        }
    }
}
