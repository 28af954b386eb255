//! Places of uploads: one address holds its share, and none by requests that can't be stored.

use std::time::Duration;

use futures_util::future::select_all;

use super::{Attacker, eventually, one_row};
use crate::helpers::app::TestApp;

/// The settings of a service with few places.
const FEW: [(&str, &str); 2] = [
    ("UPLOADS_AT_ONCE", "6"),
    ("UPLOADS_AT_ONCE_PER_CLIENT", "4"),
];

/// Returns the reply to an upload that is refused before its end; none if it takes a place.
async fn refusal(upload: &mut Attacker) -> Option<String> {
    let reply = upload.read_until("UPLOADS_AT_ONCE_PER_CLIENT");
    tokio::time::timeout(Duration::from_secs(1), reply)
        .await
        .ok()
}

#[tokio::test]
async fn slow_uploads_of_one_address_leave_places_to_others() {
    let app = TestApp::with(&FEW).await;
    let mut slow = Vec::new();
    for _ in 0..5 {
        slow.push(Attacker::begin_upload(&app, "user_id,").await);
    }
    // One of them is refused, whichever comes last.
    let replies = slow
        .iter_mut()
        .map(|upload| Box::pin(upload.read_until("UPLOADS_AT_ONCE_PER_CLIENT")));
    let (refused, at, others) = select_all(replies).await;
    drop(others);
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    slow.remove(at);
    assert_eq!(app.upload("", one_row("good")).await.status, 201);
    drop(slow);
    app.stop().await;
}

#[tokio::test]
async fn forms_that_do_not_reach_their_file_hold_no_place() {
    let app = TestApp::with(&[("UPLOADS_AT_ONCE", "1")]).await;
    let mut forms = Vec::new();
    for _ in 0..8 {
        let mut form = Attacker::connect(&app).await;
        let head = "POST /uploads HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\nContent-Length: 1000000\r\n\r\n";
        form.send(&format!(
            "{head}--b\r\nContent-Disposition: form-data; name=\"source\"\r\n\r\n"
        ))
        .await;
        forms.push(form);
    }
    assert_eq!(app.upload("", one_row("good")).await.status, 201);
    drop(forms);
    app.stop().await;
}

/// Creates a resumable upload of 1,000 bytes. Returns its path.
async fn create(app: &TestApp) -> String {
    let request = app.request(reqwest::Method::POST, "/uploads/tus");
    let request = request
        .header("Tus-Resumable", "1.0.0")
        .header("Upload-Length", "1000");
    let answer = request.send().await.expect("answers");
    let location = answer.headers()["location"].to_str().expect("text");
    location.to_owned()
}

/// Begins to append to a resumable upload.
async fn begin_patch(app: &TestApp, at: &str, offset: u64) -> Attacker {
    let mut patch = Attacker::connect(app).await;
    patch
        .send(&format!(
            "PATCH {at} HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: {offset}\r\n\
             Content-Type: application/offset+octet-stream\r\nContent-Length: 500\r\n\r\nuser"
        ))
        .await;
    patch
}

#[tokio::test]
async fn appends_at_a_wrong_offset_hold_no_place() {
    let app = TestApp::with(&[("UPLOADS_AT_ONCE", "1")]).await;
    let at = create(&app).await;
    for _ in 0..4 {
        // Answered while its body is still missing.
        let mut patch = begin_patch(&app, &at, 7).await;
        let reply = patch.read_until("offset-mismatch").await;
        assert!(reply.starts_with("HTTP/1.1 409 "), "{reply}");
        assert_eq!(
            app.upload("", one_row("good")).await.status.as_u16() / 100,
            2
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn one_request_at_a_time_appends_to_an_upload() {
    let app = TestApp::with(&[]).await;
    let at = create(&app).await;
    let mut one = begin_patch(&app, &at, 0).await;
    let mut other = begin_patch(&app, &at, 0).await;
    let (refused, mut first) = tokio::select! {
        refused = one.read_until("upload-busy") => (refused, other),
        refused = other.read_until("upload-busy") => (refused, one),
    };
    assert!(refused.starts_with("HTTP/1.1 423 "), "{refused}");
    assert!(refused.contains("retry-after"), "{refused}");
    first.send(&"x".repeat(496)).await;
    let stored = first.read_until("upload-offset: 500").await;
    assert!(stored.starts_with("HTTP/1.1 204 "), "{stored}");
    app.stop().await;
}

#[tokio::test]
async fn appends_are_rate_limited() {
    let app = TestApp::with(&[("UPLOAD_APPEND_LIMIT", "3")]).await;
    let at = create(&app).await;
    let append = async || {
        let request = app.request(reqwest::Method::PATCH, &at);
        let request = request
            .header("Tus-Resumable", "1.0.0")
            .header("Upload-Offset", "7")
            .header("Content-Type", "application/offset+octet-stream");
        let answer = request.body("x").send().await.expect("answers");
        crate::helpers::app::Answer::of(answer).await
    };
    for _ in 0..3 {
        assert_eq!(append().await.status, 409);
    }
    let limited = append().await;
    assert_eq!(limited.problem(), (429, "rate-limited".into()));
    assert_eq!(limited.json()["setting"], "UPLOAD_APPEND_LIMIT");
    app.stop().await;
}

#[tokio::test]
async fn requests_with_keys_are_rate_limited() {
    let app = TestApp::with(&[("KEYED_REQUEST_LIMIT", "3")]).await;
    let batch = app.uploaded("", one_row("good")).await;
    let process = async |key: String| {
        let request = app.request(reqwest::Method::POST, &format!("/batches/{batch}/process"));
        let answer = request.header("Idempotency-Key", key).send().await;
        crate::helpers::app::Answer::of(answer.expect("answers")).await
    };
    for n in 0..3 {
        assert_eq!(process(n.to_string()).await.status, 202);
    }
    let limited = process("3".into()).await;
    assert_eq!(limited.problem(), (429, "rate-limited".into()));
    assert_eq!(limited.json()["setting"], "KEYED_REQUEST_LIMIT");
    assert_eq!(
        app.post(&format!("/batches/{batch}/process")).await.status,
        202
    );
    app.stop().await;
}

#[tokio::test]
async fn a_resumable_upload_that_gets_no_place_is_not_created() {
    let app = TestApp::with(&[("UPLOADS_AT_ONCE_PER_CLIENT", "1")]).await;
    let holder = Attacker::begin_upload(&app, "user_id,").await;
    // It has the place once another one is refused.
    eventually(async || {
        let mut probe = Attacker::begin_upload(&app, "user_id,").await;
        refusal(&mut probe).await
    })
    .await;
    let mut creation = Attacker::connect(&app).await;
    creation
        .send("POST /uploads/tus HTTP/1.1\r\nHost: localhost\r\nTus-Resumable: 1.0.0\r\nUpload-Length: 9\r\nContent-Type: application/offset+octet-stream\r\nContent-Length: 9\r\n\r\nuser_id,e")
        .await;
    let refused = creation.read_until("UPLOADS_AT_ONCE_PER_CLIENT").await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    let db = rusqlite::Connection::open(app.dir.path().join("tallymill.db")).expect("opens");
    let created: u64 = db
        .query_row("SELECT count(*) FROM transfers", [], |row| row.get(0))
        .expect("reads");
    assert_eq!(created, 0);
    drop(holder);
    app.stop().await;
}
