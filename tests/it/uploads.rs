//! Uploads over HTTP: receipts, refusals, and that a failed upload leaves nothing visible.

use reqwest::{
    Method,
    multipart::{Form, Part},
};

use crate::helpers::{
    app::{Answer, TestApp},
    process::eventually,
};

const HEAD: &str = "event_id,user_id,event_type,timestamp\n";

fn rows(count: usize) -> String {
    let row = |n: usize| {
        format!(
            "e{n},u{},click,2025-11-{:02}T10:00:00Z\n",
            n % 100,
            n % 28 + 1
        )
    };
    (0..count).fold(HEAD.to_owned(), |csv, n| csv + &row(n))
}

async fn send(app: &TestApp, form: Form) -> Answer {
    Answer::of(
        app.request(Method::POST, "/uploads")
            .multipart(form)
            .send()
            .await
            .expect("answers"),
    )
    .await
}

fn file(csv: &str) -> Part {
    Part::text(csv.to_owned()).file_name("events.csv")
}

#[tokio::test]
async fn every_row_of_a_form_is_counted() {
    let app = TestApp::start().await;
    let csv = format!(
        "{HEAD}e1,u1,click,2025-11-10T10:00:00Z\n\ne2,,click,2025-11-10\n ,u3,,yesterday\n,,,\n"
    );
    let answer = send(
        &app,
        Form::new()
            .text("source", "crm")
            .part("anything", file(&csv)),
    )
    .await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let receipt = answer.json();
    let count = |name: &str| receipt[name].as_u64().expect("a count");
    assert_eq!(
        [
            count("received_count"),
            count("inserted_count"),
            count("failed_count"),
            count("blank_count")
        ],
        [5, 1, 2, 2]
    );
    assert_eq!(receipt["source"], "crm");
    assert_eq!(receipt["file"]["name"], "events.csv");
    assert_eq!(receipt["errors"][0]["line"], 4);
    assert_eq!(
        receipt["errors"][1]["faults"].as_array().map(Vec::len),
        Some(2),
        "two faults, one row"
    );
    assert_eq!(receipt["errors_by_code"]["missing-value"], 2);
    assert_eq!(
        answer.headers["location"],
        receipt["links"]["self"].as_str().expect("a link")
    );
    app.stop().await;
}

#[tokio::test]
async fn files_of_two_megabytes_are_stored_completely() {
    let app = TestApp::start().await;
    let csv = rows(60_000);
    assert!(csv.len() > 2 << 20);
    let answer = send(&app, Form::new().part("file", file(&csv))).await;
    assert_eq!(answer.json()["inserted_count"], 60_000);
    app.stop().await;
}

#[tokio::test]
async fn files_with_the_same_bytes_and_options_are_duplicates() {
    let app = TestApp::start().await;
    let first = app.uploaded("", rows(3)).await;
    let again = app.upload("?name=other.csv", rows(3)).await;
    assert_eq!(
        (again.status.as_u16(), again.json()["duplicate_of"].as_str()),
        (200, Some(first.as_str()))
    );
    let other = app.uploaded("?source=other", rows(3)).await;
    assert_ne!(other, first);
    let stored = app.batches_with_events().await;
    assert_eq!(stored, 2, "the duplicate is not stored");
    app.undo(&first).await;
    assert_ne!(
        app.uploaded("", rows(3)).await,
        first,
        "after its deletion the file is a new batch"
    );
    app.stop().await;
}

#[tokio::test]
async fn concurrent_uploads_of_one_file_store_one_batch() {
    let app = TestApp::start().await;
    let csv = rows(5_000);
    let answers = futures_util::future::join_all((0..8).map(|_| app.upload("", csv.clone()))).await;
    let mut ids: Vec<_> = answers
        .iter()
        .map(|a| a.json()["batch_id"].to_string())
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
    assert_eq!(
        app.get("/batches").await.json()["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    app.stop().await;
}

#[tokio::test]
async fn options_must_be_valid_and_precede_the_file() {
    let app = TestApp::start().await;
    for (form, expected) in [
        (
            Form::new()
                .part("file", file(&rows(2)))
                .text("source", "late"),
            (400, "late-option"),
        ),
        (
            Form::new()
                .part("a", file(&rows(2)))
                .part("b", file(&rows(3))),
            (400, "several-files"),
        ),
        (Form::new().text("source", "crm"), (400, "no-file")),
        (
            Form::new()
                .text("sauce", "crm")
                .part("file", file(&rows(2))),
            (400, "bad-option"),
        ),
    ] {
        let (status, code) = send(&app, form).await.problem();
        assert_eq!((status, code.as_str()), expected);
    }
    for option in [
        "?dedupe=perhaps",
        "?time_zone=Mars",
        "?columns=who:what",
        "?source=a&source=b",
        "?delimiter=;;",
        "?quote=%C3%A4",
        "?encoding=klingon",
        "?timestamp_format=%25Q",
    ] {
        assert_eq!(
            app.upload(option, rows(2)).await.problem(),
            (400, "bad-option".into()),
            "{option}"
        );
    }
    assert_eq!(
        app.get("/batches").await.json()["data"],
        serde_json::json!([]),
        "nothing was stored"
    );
    app.stop().await;
}

#[tokio::test]
async fn bodies_of_unsupported_types_are_refused() {
    let app = TestApp::start().await;
    let send = async |name: &'static str, value: &'static str| {
        let request = app
            .request(Method::POST, "/uploads")
            .header(name, value)
            .body(rows(2));
        Answer::of(request.send().await.expect("answers"))
            .await
            .problem()
    };
    assert_eq!(
        send("content-type", "application/json").await,
        (415, "unsupported-type".into())
    );
    assert_eq!(
        send("content-encoding", "br").await,
        (415, "unsupported-type".into())
    );
    assert_eq!(
        send("content-type", "multipart/form-data").await,
        (400, "bad-multipart".into())
    );
    app.stop().await;
}

#[tokio::test]
async fn the_refusal_of_a_long_body_names_the_limit_and_its_setting() {
    let app = TestApp::with(&[("BODY_LIMIT_BYTES", "5000")]).await;
    let stated = app.upload("", rows(1_000)).await;
    assert_eq!(stated.problem(), (413, "too-large".into()));
    assert_eq!(
        (
            stated.json()["limit"].as_u64(),
            stated.json()["setting"].as_str()
        ),
        (Some(5_000), Some("BODY_LIMIT_BYTES"))
    );
    // In chunks, so that the request does not state its length.
    let chunks = rows(1_000)
        .into_bytes()
        .chunks(500)
        .map(|c| Ok::<_, std::io::Error>(c.to_vec()))
        .collect::<Vec<_>>();
    let chunked = app
        .upload(
            "",
            reqwest::Body::wrap_stream(futures_util::stream::iter(chunks)),
        )
        .await;
    assert_eq!(chunked.problem(), (413, "too-large".into()));
    assert_eq!(
        app.get("/batches").await.json()["data"],
        serde_json::json!([])
    );
    app.stop().await;
}

#[tokio::test]
async fn files_with_too_many_rejected_rows_are_refused_with_the_errors() {
    let app = TestApp::start().await;
    let csv = rows(97) + "e,u,login,\ne,u,login,soon\ne,,login,2025-11-10\n";
    for (options, stated, listed) in [
        ("?on_error=abort", "on_error=abort", 3),
        ("?max_errors=2", "max_errors=2", 3),
        ("?max_error_ratio=0.02", "max_error_ratio=0.02", 3),
        (
            "?max_errors=9&max_error_ratio=0",
            "max_errors=9, max_error_ratio=0",
            3,
        ),
    ] {
        let answer = app.upload(options, csv.clone()).await;
        assert_eq!(
            answer.problem(),
            (422, "too-many-errors".into()),
            "{options}"
        );
        let problem = answer.json();
        assert!(answer.text.contains(stated), "{}", answer.text);
        assert_eq!(problem["errors"].as_array().map(Vec::len), Some(listed));
        assert_eq!(problem["failed_count"], listed);
    }
    assert_eq!(app.batches_with_events().await, 0);
    for options in [
        "?on_error=skip",
        "?max_errors=3&source=a",
        "?max_error_ratio=0.03&source=b",
    ] {
        let answer = app.upload(options, csv.clone()).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert_eq!(answer.json()["failed_count"], 3);
    }
    for wrong in ["?on_error=stop", "?max_errors=-1", "?max_error_ratio=2"] {
        let answer = app.upload(wrong, csv.clone()).await;
        assert_eq!(answer.problem(), (400, "bad-option".into()), "{wrong}");
    }
    app.stop().await;
}

#[tokio::test]
async fn a_disconnected_client_leaves_nothing_visible() {
    let app = TestApp::start().await;
    let half = rows(20_000).into_bytes();
    let half = half[..half.len() / 2].to_vec();
    let broken = futures_util::stream::iter([Ok(half), Err(std::io::Error::other("hung up"))]);
    let sent = app
        .request(Method::POST, "/uploads")
        .header("content-type", "text/csv")
        .body(reqwest::Body::wrap_stream(broken))
        .send()
        .await;
    assert!(sent.is_err() || sent.is_ok_and(|r| r.status().is_client_error()));
    assert_eq!(
        app.get("/batches").await.json()["data"],
        serde_json::json!([])
    );
    assert_eq!(app.batches_with_events().await, 0);
    app.stop().await;
}

#[tokio::test]
async fn errors_about_types_and_days_name_the_likely_mistake() {
    let app = TestApp::with(&[("EVENT_TYPES_LIMIT", "5"), ("DAYS_LIMIT", "5")]).await;
    let types = (0..9).fold(HEAD.to_owned(), |csv, n| {
        csv + &format!("e{n},u,type-{n},2025-11-10\n")
    });
    let answer = app.upload("", types).await;
    assert_eq!(answer.problem(), (422, "too-many-event-types".into()));
    assert!(
        answer.text.contains("columns=event_type:"),
        "{}",
        answer.text
    );
    assert_eq!(
        app.upload("", rows(9)).await.problem(),
        (422, "too-many-days".into())
    );
    app.stop().await;
}

#[tokio::test]
async fn rejections_beyond_the_limit_are_counted_but_not_stored() {
    let app = TestApp::with(&[("REJECTION_LIMIT", "120")]).await;
    let csv = (0..300).fold(rows(1), |csv, n| csv + &format!("x{n},u,,2025-11-10\n"));
    let answer = app.upload("", csv).await;
    let receipt = answer.json();
    assert_eq!(
        (
            receipt["failed_count"].as_u64(),
            receipt["errors_kept"].as_u64()
        ),
        (Some(300), Some(120))
    );
    assert_eq!(
        (
            receipt["errors"].as_array().map(Vec::len),
            receipt["errors_truncated"].as_bool()
        ),
        (Some(100), Some(true))
    );
    let batch = receipt["batch_id"].as_str().expect("an id");
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = app
            .get(&format!("/batches/{batch}/errors?limit=50{next}"))
            .await
            .json();
        seen.extend(
            page["data"]
                .as_array()
                .expect("a list")
                .iter()
                .map(|e| e["row"].as_u64().expect("a row")),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => next = format!("&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, (2..=121).collect::<Vec<_>>());
    app.stop().await;
}

#[tokio::test]
async fn known_bytes_are_told_when_their_batch_now_expires() {
    let app = TestApp::start().await;
    let first = app.upload("", rows(1)).await.json();
    // The clock of the service has milliseconds.
    let again = eventually("a later expiry", async || {
        let again = app.upload("", rows(1)).await;
        assert_eq!(again.status, 200, "{}", again.text);
        let again = again.json();
        (again["expires_at"].as_str() > first["expires_at"].as_str()).then_some(again)
    })
    .await;
    assert_eq!(again["duplicate_of"], first["batch_id"]);
    let first = first["batch_id"].as_str().expect("an id");
    let batch = app.get(&format!("/batches/{first}")).await.json();
    assert_eq!(batch["expires_at"], again["expires_at"]);
    app.stop().await;
}

#[tokio::test]
async fn uploads_are_limited_per_address_with_a_time_to_retry() {
    let app = TestApp::with(&[("UPLOAD_LIMIT", "2"), ("UPLOAD_WINDOW_SECONDS", "3600")]).await;
    let start = tokio::time::Instant::now();
    assert_eq!(app.upload("", rows(1)).await.status, 201);
    assert_eq!(app.upload("", rows(2)).await.status, 201);
    let limited = app.upload("", rows(3)).await;
    assert_eq!(limited.problem(), (429, "rate-limited".into()));
    let told = limited.headers["retry-after"].to_str().expect("text");
    let told = std::time::Duration::from_secs(told.parse().expect("a number"));
    // An upload is free again half a window after the first one, and not before that by a part of a second.
    let free = std::time::Duration::from_secs(1_800);
    assert!(told + start.elapsed() >= free && told <= free, "{told:?}");
    assert_eq!(
        app.get("/health").await.status,
        200,
        "only uploads are limited"
    );
    app.stop().await;
}
