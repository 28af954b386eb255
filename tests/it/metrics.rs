//! Daily metrics over HTTP: sums over batches, deduplication, filters, time zones and undo.

use crate::helpers::app::TestApp;

const HEAD: &str = "event_id,user_id,event_type,timestamp\n";

fn one(date: &str, kind: &str, count: u64, users: u64) -> (String, String, u64, u64) {
    (date.into(), kind.into(), count, users)
}

#[tokio::test]
async fn metrics_are_independent_of_order_and_reprocessing() {
    let app = TestApp::start().await;
    let a = app.uploaded("", "user_id,event_type,timestamp\nu1,login,2025-11-10\nu2,login,2025-11-10\nu3,login,2025-11-10\n").await;
    let b = app
        .uploaded(
            "",
            "user_id,event_type,timestamp\nu3,login,2025-11-10\nu4,login,2025-11-10\n",
        )
        .await;
    app.process(&b).await;
    app.process(&a).await;
    let expected = [one("2025-11-10", "login", 5, 4)];
    assert_eq!(app.figures("").await, expected);
    for batch in [&a, &b, &a] {
        let job = app
            .post(&format!("/batches/{batch}/process?force=true"))
            .await;
        assert_eq!(job.status, 202);
        app.until(batch, "completed").await;
        assert_eq!(app.figures("?date=2025-11-10").await, expected);
    }
    app.stop().await;
}

#[tokio::test]
async fn duplicates_count_once_and_overlaps_name_the_original() {
    let app = TestApp::start().await;
    let first = app
        .uploaded(
            "",
            format!(
                "{HEAD}e1,u1,login,2025-11-10\ne1,u1,login,2025-11-10\ne2,u2,login,2025-11-10\n"
            ),
        )
        .await;
    let second = app.uploaded("", format!("{HEAD}e2,u2,login,2025-11-10\ne1,u9,logout,2025-11-11\ne3,u3,login,2025-11-11\n,u3,login,2025-11-11\n")).await;
    let done = app.process(&first).await;
    assert_eq!(
        (
            done["published"]["counted"].as_u64(),
            done["published"]["duplicate"].as_u64()
        ),
        (Some(2), Some(1))
    );
    let done = app.process(&second).await;
    let counts = &done["published"];
    assert_eq!(
        ["inserted", "counted", "duplicate", "conflict"]
            .map(|name| counts[name].as_u64().expect("a count")),
        [4, 2, 1, 1]
    );
    let overlap = &done["overlaps"][0];
    assert_eq!(
        (overlap["batch_id"].as_str(), overlap["status"].as_str()),
        (Some(first.as_str()), Some("completed"))
    );
    let samples = overlap["samples"].as_array().expect("a list");
    assert!(
        samples.contains(&serde_json::json!({ "row": 1, "original_row": 3, "kind": "duplicate" })),
        "{samples:?}"
    );
    assert!(
        samples
            .contains(&serde_json::json!({ "row": 2, "original_row": 1, "kind": "id-conflict" })),
        "{samples:?}"
    );
    assert_eq!(
        app.figures("").await,
        [
            one("2025-11-10", "login", 2, 2),
            one("2025-11-11", "login", 2, 1)
        ]
    );

    app.undo(&first).await;
    app.until(&second, "completed").await;
    assert_eq!(
        app.figures("").await,
        [
            one("2025-11-10", "login", 1, 1),
            one("2025-11-11", "login", 2, 1),
            one("2025-11-11", "logout", 1, 1)
        ],
        "events that the deleted batch had claimed count for the other"
    );
    app.stop().await;
}

#[tokio::test]
async fn identities_are_separate_by_source_and_absent_without_dedupe() {
    let app = TestApp::start().await;
    let csv = format!("{HEAD}1,u1,login,2025-11-10\n2,u2,login,2025-11-10\n");
    for options in ["?source=a", "?source=b", "?dedupe=none"] {
        let batch = app.uploaded(options, csv.clone()).await;
        app.process(&batch).await;
    }
    assert_eq!(app.figures("").await, [one("2025-11-10", "login", 6, 2)]);
    app.stop().await;
}

#[tokio::test]
async fn filters_select_days_and_event_types() {
    let app = TestApp::start().await;
    let csv = "user_id,event_type,timestamp\nu1,a,2025-11-08\nu1,a,2025-11-10\nu2,b,2025-11-10\nu1,b,2025-11-12T23:59:59.999999Z\n";
    let batch = app.uploaded("", csv).await;
    app.process(&batch).await;
    let days = async |query: &str| {
        app.figures(query)
            .await
            .into_iter()
            .map(|f| f.0[8..].to_owned() + &f.1)
            .collect::<Vec<_>>()
    };
    assert_eq!(days("?from=2025-11-10").await, ["10a", "10b", "12b"]);
    assert_eq!(days("?to=2025-11-10").await, ["08a", "10a", "10b"]);
    assert_eq!(days("?from=2025-11-09&to=2025-11-10").await, ["10a", "10b"]);
    assert_eq!(days("?event_type=b").await, ["10b", "12b"]);
    assert_eq!(days("?date=2025-11-09").await, Vec::<String>::new());
    let totals = app.get("/metrics?event_type=b").await.json()["totals"].clone();
    assert_eq!(totals["processed_events"], 2);
    assert_eq!(totals["unique_users"], 2);
    assert_eq!(totals["most_recent_event"], "2025-11-12T23:59:59.999999Z");
    let all = app.get("/metrics").await.json();
    assert_eq!(
        (
            all["count"].as_u64(),
            all["totals"]["unique_users"].as_u64()
        ),
        (Some(3), Some(2)),
        "unique users of the range, which is less than the sum of days"
    );
    assert_eq!(app.get("/metrics?event_type=none").await.json()["count"], 0);
    app.stop().await;
}

#[tokio::test]
async fn invalid_filters_are_refused() {
    let app = TestApp::start().await;
    for (query, expected) in [
        ("date=2025-02-30", (400, "bad-query")),
        ("date=10-11-2025", (400, "bad-query")),
        ("date=2025-11-10&from=2025-11-01", (400, "bad-query")),
        ("from=2025-11-10&to=2025-11-09", (400, "bad-query")),
        ("from=2000-01-01&to=2025-01-01", (422, "range-too-long")),
        ("interval=week", (400, "bad-query")),
        ("colour=red", (400, "bad-query")),
    ] {
        let (status, code) = app.get(&format!("/metrics?{query}")).await.problem();
        assert_eq!((status, code.as_str()), expected, "{query}");
    }
    app.stop().await;
}

#[tokio::test]
async fn days_follow_the_time_zone_of_the_service() {
    let app = TestApp::with(&[("TIME_ZONE", "America/New_York")]).await;
    let csv = "user_id,event_type,timestamp\nu1,a,2025-11-10T23:30:00-05:00\nu2,a,2025-11-11T04:30:00Z\nu3,a,1762835400\nu4,a,1762835400000\n";
    let batch = app.uploaded("", csv).await;
    app.process(&batch).await;
    let naive = app
        .uploaded(
            "?time_zone=Asia/Tokyo",
            "user_id,event_type,timestamp\nu5,a,2025-11-11 13:30\n",
        )
        .await;
    app.process(&naive).await;
    assert_eq!(app.figures("").await, [one("2025-11-10", "a", 5, 5)]);
    app.stop().await;
}

#[tokio::test]
async fn metrics_survive_a_restart() {
    let app = TestApp::start().await;
    let batch = app
        .uploaded("", format!("{HEAD}e1,u1,login,2025-11-10\n"))
        .await;
    app.process(&batch).await;
    let queued = app
        .uploaded("", format!("{HEAD}e2,u1,login,2025-11-10\n"))
        .await;
    let dir = app.stop().await;
    let app = TestApp::on(dir, &[]).await;
    assert_eq!(app.figures("").await, [one("2025-11-10", "login", 1, 1)]);
    app.process(&queued).await;
    assert_eq!(app.figures("").await, [one("2025-11-10", "login", 2, 1)]);
    app.stop().await;
}
