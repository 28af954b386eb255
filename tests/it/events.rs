//! Stored events over HTTP: pages over one batch or all batches, and a batch as a Parquet file.

use std::cmp::Reverse;

use bytes::Bytes;
use chrono_tz::Tz;
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use reqwest::Method;
use serde_json::{Value, json};

use tallymill::{
    query::{self, EventFault, EventQuery, QueryError},
    store::embedded::Mode,
};

use crate::helpers::{
    app::TestApp,
    sample::Random,
    store_fixtures::{TestStore, block, columns, sealed},
};

/// Reads all pages of a list.
async fn all(app: &TestApp, path: &str, query: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let answer = app.get(&format!("{path}?{query}{cursor}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let mut page = answer.json();
        let data = page["data"].as_array().expect("a list");
        assert!(
            !data.is_empty() || cursor.is_empty(),
            "only the first page may be empty"
        );
        all.extend(data.iter().cloned());
        match page["next_cursor"].take() {
            Value::String(next) => cursor = format!("&cursor={next}"),
            _ => return all,
        }
    }
}

fn of<'a>(event: &'a Value, name: &str) -> &'a str {
    event[name].as_str().expect("text")
}

/// Returns (batch, row) of each event.
fn names(events: &[Value]) -> Vec<(String, u64)> {
    let name = |e: &Value| {
        (
            of(e, "batch_id").to_owned(),
            e["row"].as_u64().expect("a row"),
        )
    };
    events.iter().map(name).collect()
}

#[tokio::test]
async fn events_are_returned_as_uploaded() {
    let app = TestApp::start().await;
    let csv = "event_id,candidate_id,action,timestamp,City,row,note\n\
        e1,u1,login,2025-11-10T08:00:00.000001+01:00,Oslo,x,\n\n\
        ,u2,logout,2025-11-10,,y,\"a \"\"b\"\"\"\n";
    let batch = app.uploaded("", csv).await;
    let expected = json!([
        { "batch_id": batch, "row": 1, "line": 2, "event_id": "e1", "event_type": "login", "user_id": "u1",
          "timestamp": "2025-11-10T07:00:00.000001Z", "attributes": { "City": "Oslo", "row_2": "x" } },
        { "batch_id": batch, "row": 2, "line": 4, "event_id": null, "event_type": "logout", "user_id": "u2",
          "timestamp": "2025-11-10T00:00:00Z", "attributes": { "row_2": "y", "note": "a \"b\"" } },
    ]);
    for path in ["/events".to_owned(), format!("/batches/{batch}/events")] {
        let page = app.get(&path).await.json();
        assert_eq!(
            page,
            json!({ "data": expected, "next_cursor": null }),
            "{path}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn pages_list_each_matching_event_exactly_once() {
    let app = TestApp::start().await;
    let mut random = Random(3);
    let mut batches = Vec::new();
    for batch in 0..5 {
        let mut csv = "user_id,event_type,timestamp\n".to_owned();
        for _ in 0..20 {
            let (user, kind) = (random.below(3), random.below(2));
            // The time ranges of batches overlap, and many events share an instant.
            let (day, hour) = (batch / 2 + random.below(2) + 10, random.below(3));
            csv += &format!("u{user},k{kind},2025-11-{day}T0{hour}:00:00Z\n");
        }
        batches.push(app.uploaded("", csv).await);
    }
    let mut events = Vec::new();
    for batch in &batches {
        events.extend(all(&app, &format!("/batches/{batch}/events"), "limit=1000").await);
    }
    assert_eq!(events.len(), 100);
    events.sort_by_key(|e| {
        let position = (of(e, "batch_id").to_owned(), e["row"].as_u64());
        (Reverse(of(e, "timestamp").to_owned()), position)
    });
    let one = &batches[2];
    let (from, to) = ("2025-11-11T00:00:00Z", "2025-11-11T02:00:00Z");
    for (query, matches) in [
        ("", &(|_: &Value| true) as &dyn Fn(&Value) -> bool),
        ("user_id=u1", &|e| of(e, "user_id") == "u1"),
        ("user_id=u1&event_type=k0", &|e| {
            of(e, "user_id") == "u1" && of(e, "event_type") == "k0"
        }),
        ("from=2025-11-11&to=2025-11-12", &|e| {
            ("2025-11-11".."2025-11-13").contains(&of(e, "timestamp"))
        }),
        ("to=2025-11-10", &|e| of(e, "timestamp") < "2025-11-11"),
        (&format!("from={from}&to={to}"), &|e| {
            (from..to).contains(&of(e, "timestamp"))
        }),
        (&format!("batch_id={one}&from={from}"), &|e| {
            of(e, "batch_id") == one && of(e, "timestamp") >= from
        }),
        ("user_id=nobody", &|_| false),
    ] {
        let expected: Vec<_> = events.iter().filter(|e| matches(e)).cloned().collect();
        for limit in [1, 7, 100] {
            let found = all(&app, "/events", &format!("{query}&limit={limit}")).await;
            assert_eq!(names(&found), names(&expected), "{query}, limit {limit}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn event_filters_use_the_days_of_the_metrics() {
    let app = TestApp::with(&[("TIME_ZONE", "America/New_York")]).await;
    let csv = "user_id,event_type,timestamp\nu1,a,2025-11-10T04:59:59Z\nu2,a,2025-11-10T05:00:00Z\nu3,a,2025-11-11T04:59:59Z\nu4,a,2025-11-11T05:00:00Z\n";
    app.uploaded("", csv).await;
    let found = all(&app, "/events", "from=2025-11-10&to=2025-11-10").await;
    let users: Vec<_> = found.iter().map(|e| of(e, "user_id")).collect();
    assert_eq!(users, ["u3", "u2"]);
    app.stop().await;
}

#[tokio::test]
async fn event_filters_agree_with_metrics_where_clocks_go_back_across_midnight() {
    // On 2009-11-01 clocks were set back from 00:01 to 23:01: 02:30 UTC was on that day, 03:00 UTC on the day before.
    let app = TestApp::with(&[("TIME_ZONE", "America/St_Johns")]).await;
    let mut csv = "user_id,event_type,timestamp\n".to_owned();
    for minutes in (0..240).step_by(10) {
        let (hour, minute) = (1 + minutes / 60, minutes % 60);
        csv += &format!("u{minutes},a,2009-11-01T{hour:02}:{minute:02}:30Z\n");
    }
    let batch = app.uploaded("", csv).await;
    app.process(&batch).await;
    let figures = app.figures("?from=2009-10-30&to=2009-11-03").await;
    let counts: Vec<_> = figures.iter().map(|f| (f.0.as_str(), f.2)).collect();
    assert_eq!(counts, [("2009-10-31", 14), ("2009-11-01", 10)]);
    for (day, count) in counts {
        for query in [
            format!("from={day}&to={day}"),
            format!("from={day}&to={day}&batch_id={batch}"),
        ] {
            let found = all(&app, "/events", &format!("{query}&limit=3")).await;
            assert_eq!(found.len() as u64, count, "{query}");
        }
    }
    let first = all(&app, "/events", "from=2009-11-01").await;
    assert_eq!(of(&first[9], "timestamp"), "2009-11-01T02:30:30Z");
    assert_eq!(all(&app, "/events", "to=2009-10-31").await.len(), 14);
    app.stop().await;
}

#[tokio::test]
async fn a_day_that_the_zone_skipped_has_no_events() {
    let app = TestApp::with(&[("TIME_ZONE", "Pacific/Apia")]).await;
    let csv =
        "user_id,event_type,timestamp\nu1,a,2011-12-30T09:59:59Z\nu2,a,2011-12-30T10:00:00Z\n";
    app.uploaded("", csv).await;
    for (query, users) in [
        ("from=2011-12-30&to=2011-12-30", &[] as &[_]),
        ("from=2011-12-30", &["u2"]),
        ("to=2011-12-30", &["u1"]),
        ("from=2011-12-29&to=2011-12-30", &["u1"]),
        ("from=2011-12-30&to=2011-12-31", &["u2"]),
    ] {
        let found = all(&app, "/events", query).await;
        let found: Vec<_> = found.iter().map(|e| of(e, "user_id")).collect();
        assert_eq!(found, users, "{query}");
    }
    app.stop().await;
}

#[tokio::test]
async fn deleted_batches_list_no_events() {
    let app = TestApp::start().await;
    let head = "user_id,event_type,timestamp\n";
    let deleted = app.uploaded("", format!("{head}u1,a,2025-11-10\n")).await;
    let live = app.uploaded("", format!("{head}u2,a,2025-11-09\n")).await;
    app.process(&deleted).await;
    app.undo(&deleted).await;
    assert_eq!(names(&all(&app, "/events", "").await), [(live, 1)]);
    assert_eq!(
        all(&app, "/events", &format!("batch_id={deleted}")).await,
        [json!(null); 0]
    );
    for path in ["events", "events.parquet"] {
        let answer = app.get(&format!("/batches/{deleted}/{path}")).await;
        assert_eq!(answer.problem(), (410, "batch-deleted".to_owned()));
        let unknown = "/batches/01890000-0000-7000-8000-000000000000";
        let answer = app.get(&format!("{unknown}/{path}")).await;
        assert_eq!(answer.problem(), (404, "batch-missing".to_owned()));
    }
    app.stop().await;
}

#[tokio::test]
async fn invalid_queries_are_refused() {
    let app = TestApp::start().await;
    let batch = app
        .uploaded(
            "",
            "user_id,event_type,timestamp\nu1,a,2025-11-10\nu1,a,2025-11-10\n",
        )
        .await;
    let next = app.get("/events?limit=1").await.json()["next_cursor"].clone();
    let next = next.as_str().expect("there is more").to_owned();
    for (path, code) in [
        ("/events?from=10-11-2025", "bad-query"),
        ("/events?from=2025-11-10&to=2025-11-09", "bad-query"),
        (
            "/events?from=2025-11-10T00:00:00Z&to=2025-11-10T00:00:00Z",
            "bad-query",
        ),
        ("/events?limit=1001", "bad-query"),
        ("/events?limit=0", "bad-query"),
        ("/events?colour=red", "bad-query"),
        ("/events?batch_id=x", "bad-id"),
        (
            &format!("/batches/{batch}/events?batch_id={batch}"),
            "bad-query",
        ),
        (&format!("/events?user_id=u1&cursor={next}"), "bad-cursor"),
        (
            &format!("/batches/{batch}/events?cursor={next}"),
            "bad-cursor",
        ),
    ] {
        assert_eq!(
            app.get(path).await.problem(),
            (400, code.to_owned()),
            "{path}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn wide_rows_shorten_pages_without_loss() {
    let app = TestApp::start().await;
    let long = "x".repeat(200_000);
    let row = |n: u32| format!("u{n},a,2025-11-10T00:00:{:02}Z,{long}\n", n % 60);
    let csv: String = (0..50).map(row).collect();
    app.uploaded("", format!("user_id,event_type,timestamp,text\n{csv}"))
        .await;
    let page = app.get("/events?limit=1000").await.json();
    let first = page["data"].as_array().expect("a list").len();
    assert!((30..50).contains(&first), "{first} of 50");
    let mut found = names(&all(&app, "/events", "limit=1000").await);
    assert_eq!(found.len(), 50);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), 50);
    app.stop().await;
}

#[tokio::test]
async fn batches_are_served_as_parquet_files() {
    let app = TestApp::start().await;
    let csv =
        "event_id,user_id,event_type,timestamp,city\ne1,u1,a,2025-11-10,Oslo\n,u2,b,2025-11-11,\n";
    let batch = app.uploaded("", csv).await;
    let request = app
        .client
        .get(format!("{}/batches/{batch}/events.parquet", app.url));
    let answer = request.send().await.expect("answers");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.headers()["content-type"],
        "application/vnd.apache.parquet"
    );
    let expected = format!("attachment; filename=\"{batch}.parquet\"");
    assert_eq!(answer.headers()["content-disposition"], *expected);
    let bytes: Bytes = answer.bytes().await.expect("a body");
    let file = SerializedFileReader::new(bytes).expect("is Parquet");
    let rows = file
        .get_row_iter(None)
        .expect("rows")
        .map(|row| row.expect("a row"));
    let shown: Vec<_> = rows
        .map(|row| {
            (
                row.get_string(3).cloned().ok(),
                row.get_string(6).cloned().ok(),
            )
        })
        .collect();
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(shown, [(text("u1"), text("Oslo")), (text("u2"), text(""))]);
    app.stop().await;
}

#[tokio::test]
async fn queries_over_many_batches_return_pages() {
    let home = TestStore::open(Mode::Simulated).await;
    for n in 1..=1_001 {
        let user = if n == 1 { "bob" } else { "ann" };
        let one = [("", "login", user, 1_000 * n as i64)];
        sealed(&*home.store, n, columns(&[]), block(&one)).await;
    }
    let query_events = async |user: Option<&str>, from: Option<&str>, cursor: Option<&str>| {
        let query = EventQuery {
            user_id: user.map(str::to_owned),
            from: from.map(|from| from.parse().expect("an instant")),
            ..EventQuery::default()
        };
        query::events(&*home.store, Tz::UTC, &query, (100, cursor)).await
    };
    let list = query_events(None, None, None)
        .await
        .expect("the newest batches suffice");
    assert_eq!(
        (list.page.data.len(), list.page.data[0].timestamp),
        (100, 1_001_000)
    );
    let first = query_events(Some("bob"), None, None).await.expect("a page");
    assert_eq!(first.page.data, [], "his batch is not among the first");
    let cursor = first.page.next.expect("a next page").to_string();
    let second = query_events(Some("bob"), None, Some(&cursor)).await;
    let second = second.expect("a page").page;
    assert_eq!((second.data.len(), second.data[0].timestamp), (1, 1_000));
    assert_eq!(second.next, None);
    let page = query_events(Some("bob"), Some("1970-01-01T00:00:00.002Z"), None).await;
    let page = page.expect("within the limit").page;
    assert_eq!((page.data, page.next), (vec![], None));
}

#[tokio::test]
async fn queries_over_too_many_batches_of_one_time_are_refused() {
    let home = TestStore::open(Mode::Simulated).await;
    for n in 1..=1_001 {
        let one = [("", "login", "ann", 1_000)];
        sealed(&*home.store, n, columns(&[]), block(&one)).await;
    }
    let query = EventQuery {
        user_id: Some("bob".into()),
        ..EventQuery::default()
    };
    let mut cursor: Option<String> = None;
    let refused = loop {
        let page = query::events(&*home.store, Tz::UTC, &query, (100, cursor.as_deref())).await;
        match page {
            Ok(list) => cursor = Some(list.page.next.expect("a next page").to_string()),
            Err(why) => break why,
        }
    };
    assert!(
        matches!(refused, QueryError::Events(EventFault::TooManyBatches)),
        "{refused}"
    );
}

#[tokio::test]
async fn downloads_resume_by_ranges() {
    let app = TestApp::start().await;
    let mut csv = "user_id,event_type,timestamp\n".to_owned();
    for n in 0..500 {
        csv += &format!("u{n},click,2025-11-10\nu{n},click,never\n");
    }
    let batch = app.uploaded("", csv).await;
    for file in ["events.parquet", "errors.csv"] {
        let path = format!("/batches/{batch}/{file}");
        let fetch = async |range: Option<&str>| {
            let mut request = app.request(Method::GET, &path);
            if let Some(range) = range {
                request = request.header("range", range);
            }
            let reply = request.send().await.expect("answers");
            let (status, headers) = (reply.status().as_u16(), reply.headers().clone());
            (status, headers, reply.bytes().await.expect("a body"))
        };
        let (status, headers, all) = fetch(None).await;
        assert_eq!(status, 200);
        if !headers.contains_key("accept-ranges") {
            // The file of a batch in MongoDB is made as it is sent, and has no length before.
            assert_eq!(file, "events.parquet");
            continue;
        }
        let half = all.len() / 2;
        let (status, headers, rest) = fetch(Some(&format!("bytes={half}-"))).await;
        assert_eq!((status, &rest[..]), (206, &all[half..]));
        let range = format!("bytes {half}-{}/{}", all.len() - 1, all.len());
        assert_eq!(headers["content-range"], range.as_str());
        assert_eq!(fetch(Some("bytes=4-9")).await.2, all[4..10]);
        let (status, _, beyond) = fetch(Some(&format!("bytes={}-", all.len()))).await;
        assert_eq!(status, 416, "{beyond:?}");
    }
    app.stop().await;
}
