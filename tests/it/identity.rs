//! Event identities that are not the event id: the columns of `key=`, or the complete row.

use serde_json::{Value, json};

use tallymill::model::{IdentityBy, Receipt};

use crate::helpers::{app::TestApp, store_fixtures};

const ORDERS: &str = "Order No,user_id,event_type,timestamp,note\n\
    7,u1,paid,2025-11-10T08:00:00Z,first\n\
    8,u1,paid,2025-11-10T09:00:00Z,\n\
    9,u2,paid,2025-11-10T10:00:00Z,third\n";

/// The rows of [`ORDERS`], with rows and columns in another order and values in other forms.
const SHUFFLED: &str = "note,EVENT_TYPE,Time,candidate_id,order no ,extra\n\
    third,paid,2025-11-10T11:00:00+01:00,u2,9,\n\
    first,paid,1762761600,u1, 7,\n\
    ,paid,2025-11-10 09:00,u1,8,\n";

/// Uploads and processes a file. Returns its batch and the counts (counted, duplicate, conflict).
async fn counts(app: &TestApp, options: &str, csv: &str) -> (String, [u64; 3]) {
    let batch = app.uploaded(options, csv.to_owned()).await;
    let run = app.process(&batch).await["published"].clone();
    let counts = ["counted", "duplicate", "conflict"].map(|name| run[name].as_u64().expect(name));
    (batch, counts)
}

async fn total(app: &TestApp) -> u64 {
    let totals = app.get("/metrics").await.json()["totals"].clone();
    totals["processed_events"].as_u64().expect("a number")
}

async fn identity(app: &TestApp, batch: &str) -> Value {
    app.get(&format!("/batches/{batch}")).await.json()["identity"].clone()
}

#[tokio::test]
async fn the_same_rows_in_another_order_are_duplicates() {
    for options in [
        "?key=order%20no",
        "?dedupe=row",
        "?key=ORDER%20NO,user_id,timestamp",
    ] {
        let app = TestApp::start().await;
        assert_eq!(
            counts(&app, options, ORDERS).await.1,
            [3, 0, 0],
            "{options}"
        );
        let (again, found) = counts(&app, options, SHUFFLED).await;
        assert_eq!(found, [0, 3, 0], "{options}");
        let overlap = app.get(&format!("/batches/{again}")).await.json()["overlaps"][0].clone();
        let samples = json!([
            { "row": 1, "original_row": 3, "kind": "duplicate" },
            { "row": 2, "original_row": 1, "kind": "duplicate" },
            { "row": 3, "original_row": 2, "kind": "duplicate" },
        ]);
        assert_eq!(overlap["samples"], samples);
        assert_eq!(total(&app).await, 3);
        app.stop().await;
    }
}

#[tokio::test]
async fn a_claimed_identity_with_other_content_is_a_conflict() {
    let app = TestApp::start().await;
    counts(&app, "?key=order%20no", ORDERS).await;
    let other = "order no,user_id,event_type,timestamp\n7,u1,refunded,2025-11-10T08:00:00Z\n8,u1,paid,2025-11-10T09:00:00Z\n";
    assert_eq!(counts(&app, "?key=order%20no", other).await.1, [0, 1, 1]);
    app.stop().await;
}

#[tokio::test]
async fn equal_rows_count_once_and_rows_with_empty_keys_each() {
    let app = TestApp::start().await;
    let equal = "user_id,event_type,timestamp,city\nu1,a,2025-11-10,Oslo\nu1,a,2025-11-10,\nu1,a,2025-11-10T00:00Z,Oslo\nu1,a,2025-11-10,\n";
    let (batch, found) = counts(&app, "?dedupe=row", equal).await;
    assert_eq!(found, [2, 2, 0]);
    let overlap = app.get(&format!("/batches/{batch}")).await.json()["overlaps"][0].clone();
    assert_eq!(overlap["same_batch"], true);
    let lost = overlap["samples"].as_array().expect("a list").iter();
    let lost: Vec<_> = lost
        .map(|s| (s["row"].as_u64(), s["original_row"].as_u64()))
        .collect();
    assert_eq!(lost, [(Some(3), Some(1)), (Some(4), Some(2))]);

    // An empty key equals nothing, like NULL in SQL, so both rows without a city count.
    let (batch, found) = counts(&app, "?key=city&source=x", equal).await;
    assert_eq!(found, [3, 1, 0]);
    let view = identity(&app, &batch).await;
    assert_eq!(
        (&view["kind"], &view["columns"]),
        (&json!("key"), &json!(["city"]))
    );
    let none = "user_id,event_type,timestamp,city\nu1,a,2025-11-10,\nu1,a,2025-11-10, \n";
    let (batch, found) = counts(&app, "?key=city", none).await;
    assert_eq!(found, [2, 0, 0]);
    assert_eq!(
        identity(&app, &batch).await["kind"],
        "none",
        "no row has an identity"
    );
    app.stop().await;
}

#[tokio::test]
async fn identities_of_different_sources_or_kinds_never_collide() {
    let app = TestApp::start().await;
    for options in [
        "?key=order%20no&source=a",
        "?key=order%20no&source=b",
        "?dedupe=row",
        "?key=note",
    ] {
        let (_, [counted, ..]) = counts(&app, options, ORDERS).await;
        assert_eq!(counted, 3, "{options}");
    }
    app.stop().await;
}

#[tokio::test]
async fn undo_releases_claims_by_key_and_by_row() {
    for options in ["?key=order%20no", "?dedupe=row"] {
        let app = TestApp::start().await;
        let (first, _) = counts(&app, options, ORDERS).await;
        let (second, _) = counts(&app, options, SHUFFLED).await;
        app.undo(&first).await;
        let recounted = app.until(&second, "completed").await;
        assert_eq!(recounted["published"]["counted"], 3, "{options}");
        assert_eq!(total(&app).await, 3);
        app.undo(&second).await;
        assert_eq!(
            counts(&app, options, &format!("{ORDERS}\n")).await.1,
            [3, 0, 0]
        );
        app.stop().await;
    }
}

#[tokio::test]
async fn receipts_report_the_event_identity() {
    let app = TestApp::start().await;
    let csv = "id,event_id,Who,event_type,timestamp\n1,e1,u1,a,2025-11-10\n";
    for (options, kind, columns) in [
        ("?columns=user_id:who", "event_id", json!(["event_id"])),
        (
            "?columns=user_id:who&key=ID,who",
            "key",
            json!(["id", "user_id"]),
        ),
        (
            "?columns=user_id:who&dedupe=row",
            "row",
            json!(["id", "event_id", "user_id", "event_type", "timestamp"]),
        ),
        ("?columns=user_id:who&dedupe=none", "none", json!([])),
    ] {
        let batch = app.uploaded(options, csv).await;
        let view = identity(&app, &batch).await;
        assert_eq!(
            (&view["kind"], &view["columns"]),
            (&json!(kind), &columns),
            "{options}"
        );
    }
    let numbered = "id,user_id,event_type,timestamp\n1,u1,a,2025-11-10\n";
    let hinted = app.uploaded("", numbered).await;
    let hint = identity(&app, &hinted).await["hint"].clone();
    assert!(
        hint.as_str().is_some_and(|hint| hint.contains("`key=id`")),
        "{hint}"
    );
    // Other options make another batch, and `key=id` removes the hint.
    let (followed, found) = counts(&app, "?key=id", numbered).await;
    assert_eq!(found, [1, 0, 0]);
    assert_eq!(identity(&app, &followed).await["hint"], Value::Null);
    let same = app.upload("?key=ID", numbered).await;
    assert_eq!(
        (same.status.as_u16(), &same.json()["duplicate_of"]),
        (200, &json!(followed))
    );
    app.stop().await;
}

#[tokio::test]
async fn invalid_keys_are_rejected() {
    let app = TestApp::start().await;
    for (options, status, code, says) in [
        ("?key=order,user_id", 422, "missing-columns", "`order`"),
        ("?key=", 400, "bad-option", "`key`"),
        ("?key=note,%20NOTE", 400, "bad-option", "twice"),
        ("?key=user_id,user_id", 400, "bad-option", "twice"),
        ("?key=note&dedupe=none", 400, "bad-option", "dedupe=none"),
        ("?dedupe=row&key=note", 400, "bad-option", "dedupe=row"),
    ] {
        let response = app.upload(options, ORDERS).await;
        assert_eq!(response.problem(), (status, code.to_owned()), "{options}");
        assert!(response.text.contains(says), "{options}: {}", response.text);
    }
    let response = app.upload("?key=order", ORDERS).await.json();
    assert_eq!(response["found"][0], "Order No");
    // Only the header shows that both names stand for one column.
    let response = app.upload("?key=candidate_id,user_id", SHUFFLED).await;
    assert_eq!(response.problem(), (400, "bad-option".to_owned()));
    assert_eq!(app.get("/batches").await.json()["data"], json!([]));
    app.stop().await;
}

#[test]
fn receipts_of_the_first_version_mean_event_ids() {
    let mut old = serde_json::to_value(store_fixtures::receipt(1)).expect("is JSON");
    let removed = old.as_object_mut().and_then(|old| old.remove("identity"));
    assert_eq!(removed, Some(json!("event_id")));
    let old: Receipt = serde_json::from_value(old).expect("reads");
    assert_eq!(old.identity, IdentityBy::EventId);
}
