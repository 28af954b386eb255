//! Event files that rot while the service runs: what is published stays, the damage is named, and other batches are served.

use std::{fs, path::PathBuf};

use crate::helpers::app::TestApp;

const CSV: &str = "event_id,event_type,timestamp,user_id\ne1,click,2025-03-04T05:06:07Z,u1\n";

fn event_file(app: &TestApp, batch: &str) -> PathBuf {
    app.dir
        .path()
        .join("batches")
        .join(format!("{batch}.parquet"))
}

/// Flips one bit of the file at a share of its length.
fn flip(app: &TestApp, batch: &str, share: usize) {
    let path = event_file(app, batch);
    let mut bytes = fs::read(&path).expect("reads");
    let at = (bytes.len() - 1) * share / 10;
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("writes");
}

#[tokio::test]
async fn nothing_of_a_rotten_file_is_published() {
    let app = TestApp::start().await;
    // From the header over pages and statistics to the footer.
    for share in 0..=10 {
        let csv = format!("{CSV}f{share},view,2025-03-04T05:06:08Z,u{share}\n");
        let batch = app.uploaded(&format!("?source=s{share}"), csv).await;
        app.process(&batch).await;
        let published = app.get("/metrics").await.json()["data"].clone();
        flip(&app, &batch, share);
        let forced = app
            .post(&format!("/batches/{batch}/process?force=true"))
            .await;
        assert_eq!(forced.status, 202);
        app.until(&batch, "failed").await;
        let failed = app.get(&format!("/batches/{batch}")).await.json();
        let failure = failed["failure"].as_str().expect("a reason");
        assert!(
            failure.contains(&format!("batches/{batch}.parquet is damaged")),
            "{failure}"
        );
        assert!(failure.contains("restore it from a backup"), "{failure}");
        let now = app.get("/metrics").await.json()["data"].clone();
        let counts =
            |data: &serde_json::Value| (data[0]["total"].clone(), data[0]["unique_users"].clone());
        assert_eq!(counts(&now), counts(&published), "share {share}");
        flip(&app, &batch, share);
        app.until_job(&format!("process:{batch}"), "dead").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_damaged_batch_is_named_and_the_others_are_served() {
    let app = TestApp::start().await;
    let well = app.uploaded("?source=well", CSV).await;
    let cut = app.uploaded("?source=cut", CSV).await;
    let gone = app.uploaded("?source=gone", CSV).await;
    let clean = app.get("/events").await.json();
    assert!(clean.get("unreadable_batches").is_none(), "{clean}");
    let bytes = fs::read(event_file(&app, &cut)).expect("reads");
    fs::write(event_file(&app, &cut), &bytes[..bytes.len() / 2]).expect("writes");
    fs::remove_file(event_file(&app, &gone)).expect("removes");
    let events = app.get("/events").await;
    assert_eq!(events.status, 200, "{}", events.text);
    let events = events.json();
    let data = events["data"].as_array().expect("a list");
    assert_eq!(
        (data.len(), &data[0]["batch_id"]),
        (1, &well.as_str().into())
    );
    let mut named: Vec<_> = events["unreadable_batches"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|id| id.as_str().expect("text").to_owned())
        .collect();
    let mut expected = [cut, gone];
    named.sort_unstable();
    expected.sort_unstable();
    assert_eq!(named, expected);
    app.stop().await;
}

#[tokio::test]
async fn a_rotten_file_is_not_downloaded_to_its_end() {
    let app = TestApp::start().await;
    let batch = app.uploaded("", CSV).await;
    let url = format!("{}/batches/{batch}/events.parquet", app.url);
    // Broken off early, the reply may lack even its head.
    let download = async || app.client.get(&url).send().await?.bytes().await;
    assert!(download().await.is_ok());
    flip(&app, &batch, 5);
    // Its head needs no read of the file.
    let head = app.client.head(&url).send().await.expect("answers");
    assert_eq!(head.status(), 200);
    assert!(download().await.is_err(), "it is broken off");
    app.stop().await;
}
