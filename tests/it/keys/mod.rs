//! Requests with an `Idempotency-Key`: a repeated request gets the first reply, and has no second effect.

mod died;

use reqwest::Method;
use serde_json::Value;

use crate::helpers::app::{Answer, TestApp};

fn rows(count: usize) -> String {
    let head = "event_id,user_id,event_type,timestamp\n".to_owned();
    (0..count).fold(head, |csv, n| {
        csv + &format!("e{n},u{n},click,2025-11-10T10:00:00Z\n")
    })
}

async fn upload(app: &TestApp, key: &str, options: &str, csv: impl Into<String>) -> Answer {
    let request = app
        .request(Method::POST, &format!("/uploads{options}"))
        .header("content-type", "text/csv")
        .header("idempotency-key", key)
        .body(csv.into());
    Answer::of(request.send().await.expect("answers")).await
}

async fn process(app: &TestApp, key: &str, path: &str) -> Answer {
    let request = app.request(Method::POST, &format!("/batches/{path}"));
    let request = request.header("idempotency-key", key);
    Answer::of(request.send().await.expect("answers")).await
}

fn is_replay(answer: &Answer) -> bool {
    answer
        .headers
        .get("idempotent-replayed")
        .is_some_and(|value| value == "true")
}

async fn batches(app: &TestApp) -> usize {
    let list = app.get("/batches").await.json();
    list["data"].as_array().expect("a list").len()
}

#[tokio::test]
async fn repeated_uploads_get_the_reply_of_the_first() {
    let app = TestApp::start().await;
    let first = upload(&app, "june", "?name=a.csv", rows(3)).await;
    assert_eq!((first.status.as_u16(), is_replay(&first)), (201, false));
    for key in ["june", "\"june\""] {
        let again = upload(&app, key, "?name=b.csv", rows(3)).await;
        assert_eq!((again.status.as_u16(), is_replay(&again)), (201, true));
        assert_eq!(again.json(), first.json());
        assert_eq!(again.headers["location"], first.headers["location"]);
    }
    let other_key = upload(&app, "july", "", rows(3)).await;
    assert_eq!(
        (other_key.status.as_u16(), is_replay(&other_key)),
        (200, false)
    );
    let repeated = upload(&app, "july", "", rows(3)).await;
    assert_eq!(
        (repeated.status.as_u16(), is_replay(&repeated)),
        (200, true)
    );
    assert_eq!(repeated.json(), other_key.json());
    assert_eq!(repeated.json()["duplicate_of"], first.json()["batch_id"]);
    assert_eq!(batches(&app).await, 1);
    app.stop().await;
}

#[tokio::test]
async fn a_key_belongs_to_one_caller_one_file_and_its_options() {
    let app = TestApp::start().await;
    let first = upload(&app, "k", "", rows(3)).await;
    assert_eq!(first.status, 201, "{}", first.text);
    let parent = format!(
        "?parent={}",
        first.json()["batch_id"].as_str().expect("an id")
    );
    for (options, csv) in [
        ("", rows(4)),
        ("?source=crm", rows(3)),
        ("?on_error=abort", rows(3)),
        ("?max_errors=0", rows(3)),
        (&parent, rows(3)),
        ("", "x".into()),
    ] {
        let other = upload(&app, "k", options, csv).await;
        assert_eq!(other.problem(), (422, "idempotency-key-reused".into()));
        assert_eq!(other.json()["retryable"], false);
    }
    let stranger = app
        .request(Method::POST, "/uploads")
        .header("content-type", "text/csv")
        .header("idempotency-key", "k")
        .bearer_auth("somebody else")
        .body(rows(4));
    let stranger = Answer::of(stranger.send().await.expect("answers")).await;
    assert_eq!(
        (stranger.status.as_u16(), is_replay(&stranger)),
        (201, false)
    );
    for key in ["", " ", "a b", "\"a", &"k".repeat(256)] {
        let bad = upload(&app, key, "", rows(3)).await;
        assert_eq!(bad.problem(), (400, "bad-idempotency-key".into()), "{key}");
    }
    assert_eq!(batches(&app).await, 2);
    app.stop().await;
}

#[tokio::test]
async fn refused_uploads_release_their_key() {
    let app = TestApp::start().await;
    let refused = upload(&app, "k", "", "user_id,timestamp\nu,2025-11-10\n").await;
    assert_eq!(refused.problem(), (422, "missing-columns".into()));
    let corrected = upload(&app, "k", "", rows(2)).await;
    assert_eq!(
        (corrected.status.as_u16(), is_replay(&corrected)),
        (201, false)
    );
    app.stop().await;
}

#[tokio::test]
async fn the_key_of_a_deleted_batch_returns_that_batch() {
    let app = TestApp::start().await;
    let first = upload(&app, "k", "", rows(2)).await.json();
    app.undo(first["batch_id"].as_str().expect("an id")).await;
    let again = upload(&app, "k", "", rows(2)).await;
    assert_eq!((again.status.as_u16(), is_replay(&again)), (201, true));
    assert_eq!(again.json()["batch_id"], first["batch_id"]);
    assert_eq!(again.json()["status"], "deleted");
    app.stop().await;
}

#[tokio::test]
async fn concurrent_uploads_with_one_key_store_one_batch() {
    let app = TestApp::start().await;
    for round in 0..8 {
        let csv = rows(500 + round);
        let key = format!("round-{round}");
        let sent = (0..6).map(|_| upload(&app, &key, "", csv.clone()));
        let answers = futures_util::future::join_all(sent).await;
        let mut made = Vec::new();
        for answer in &answers {
            match (answer.status.as_u16(), is_replay(answer)) {
                (201, replayed) => made.push((replayed, answer.json()["batch_id"].clone())),
                (409, _) => {
                    assert_eq!(answer.problem().1, "idempotency-key-busy");
                    assert!(answer.headers.contains_key("retry-after"));
                }
                _ => panic!("{answer:?}"),
            }
        }
        let firsts = made.iter().filter(|(replayed, _)| !replayed);
        assert_eq!(firsts.count(), 1, "{answers:?}");
        assert!(made.iter().all(|(_, id)| *id == made[0].1), "{answers:?}");
        assert_eq!(batches(&app).await, round + 1);
    }
    app.stop().await;
}

#[tokio::test]
async fn concurrent_uploads_without_keys_store_one_batch() {
    let app = TestApp::start().await;
    for round in 0..20 {
        let csv = rows(50 + round);
        let sent = (0..6).map(|_| app.upload("", csv.clone()));
        let answers = futures_util::future::join_all(sent).await;
        let mut statuses: Vec<_> = answers.iter().map(|a| a.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 201], "{answers:?}");
        let ids: Vec<Value> = answers
            .iter()
            .map(|a| a.json()["batch_id"].clone())
            .collect();
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        for answer in answers.iter().filter(|a| a.status == 200) {
            assert_eq!(answer.json()["duplicate_of"], ids[0]);
        }
        assert_eq!(batches(&app).await, round + 1);
    }
    app.stop().await;
}

#[tokio::test]
async fn repeated_process_requests_with_a_key_count_once() {
    let app = TestApp::start().await;
    let batch = app.uploaded("", rows(2)).await;
    let other = app.uploaded("", rows(3)).await;
    let path = format!("{batch}/process?force=true");
    let unknown = "01a1faf9-1753-78e0-a8f6-49c3dc141d6f/process";
    let missing = process(&app, "k", unknown).await;
    assert_eq!(missing.problem(), (404, "batch-missing".into()));
    let first = process(&app, "k", &path).await;
    assert_eq!((first.status.as_u16(), is_replay(&first)), (202, false));
    app.until(&batch, "completed").await;
    let job = format!("process:{batch}");
    let done = app.until_job(&job, "completed").await;
    let again = process(&app, "k", &path).await;
    assert_eq!((again.status.as_u16(), is_replay(&again)), (202, true));
    assert_eq!(again.json(), first.json());
    let same = app.get(&format!("/jobs/{job}")).await.json();
    assert_eq!(same["history"], done["history"], "forced once, not twice");
    for other in [
        format!("{batch}/process"),
        format!("{other}/process?force=true"),
    ] {
        let reused = process(&app, "k", &other).await;
        assert_eq!(reused.problem(), (422, "idempotency-key-reused".into()));
    }
    let bad = process(&app, "a b", &path).await;
    assert_eq!(bad.problem(), (400, "bad-idempotency-key".into()));
    app.stop().await;
}
