//! Dry runs: the response of an upload, without anything stored.

use serde_json::{Value, json};

use crate::helpers::app::{Answer, TestApp};

async fn dry_run(app: &TestApp, query: &str, file: &str) -> Answer {
    let query = format!("?dry_run=true&{query}");
    app.upload(&query, file.as_bytes().to_vec()).await
}

async fn batches(app: &TestApp) -> Value {
    app.get("/batches").await.json()["data"].clone()
}

#[tokio::test]
async fn dry_runs_respond_like_uploads_and_store_nothing() {
    let app = TestApp::start().await;
    let rows: String = (1..=30)
        .map(|n| format!("e{n};2025-11-10 12:00;u{n};\"Oslo; {n}\"\n"))
        .collect();
    let file = format!("type;time;user;city\n{rows}login;never;u;x\n\n");
    let response = dry_run(&app, "time_zone=Europe/Berlin", &file).await;
    let reply = response.json();
    assert_eq!(response.status, 200, "{reply}");
    assert_eq!(reply["dry_run"], true);
    assert_eq!(reply["dialect"]["delimiter"], ";");
    assert_eq!(
        reply["columns"][0],
        json!({ "name": "type", "role": "event_type", "stored_as": "event_type" })
    );
    let sample = reply["sample"].as_array().expect("rows");
    assert_eq!(sample.len(), 20);
    assert_eq!(
        sample[19],
        json!({ "row": 20, "line": 21, "event_id": null, "event_type": "e20", "user_id": "u20",
            "timestamp": "2025-11-10T11:00:00Z", "attributes": { "city": "Oslo; 20" } })
    );
    assert_eq!(reply["errors_by_code"], json!({ "invalid-timestamp": 1 }));
    assert_eq!(reply["errors"][0]["line"], 32);
    assert_eq!(reply.get("batch_id"), None);
    assert_eq!(batches(&app).await, json!([]));

    let stored = app
        .upload("?time_zone=Europe/Berlin", file.into_bytes())
        .await;
    assert_eq!(
        stored.status, 201,
        "a dry run does not make the upload a duplicate"
    );
    let stored = stored.json();
    for same in [
        "received_count",
        "inserted_count",
        "failed_count",
        "blank_count",
        "file",
        "dialect",
        "columns",
        "identity",
        "event_time",
        "errors",
        "errors_by_code",
    ] {
        assert_eq!(reply[same], stored[same], "{same}");
    }
    app.stop().await;
}

#[tokio::test]
async fn dry_runs_are_rejected_like_uploads() {
    let app = TestApp::start().await;
    let header = "user_id,event_type,timestamp\n";
    for (query, file, code) in [
        ("", "a,b\n1,2\n".to_owned(), "missing-columns"),
        ("", format!("{header}u,login,never\n"), "no-valid-rows"),
        (
            "on_error=abort",
            format!("{header}u,login,never\nu,login,2025-11-10\n"),
            "too-many-errors",
        ),
        ("dry_run=perhaps", header.to_owned(), "bad-option"),
    ] {
        let (_, actual) = dry_run(&app, query, &file).await.problem();
        assert_eq!(actual, code);
    }
    assert_eq!(batches(&app).await, json!([]));
    app.stop().await;
}
