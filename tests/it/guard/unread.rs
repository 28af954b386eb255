//! Replies that nobody reads.

use super::{Attacker, eventually};
use crate::helpers::app::TestApp;

/// Bytes of the receive buffer of a client that does not read.
const BUFFER: usize = 4 << 10;

/// Uploads a file with many rejected rows. Returns the path of their CSV, of some 20 MB.
async fn rejected_rows(app: &TestApp) -> String {
    let mut csv = String::from("user_id,event_type,timestamp,note\nu1,click,2025-11-10,x\n");
    let note = "x".repeat(400);
    for n in 0..40_000 {
        csv += &format!("u{n},click,never,{note}\n");
    }
    let batch = app.uploaded("", csv).await;
    format!("/batches/{batch}/errors.csv")
}

async fn request(app: &TestApp, path: &str) -> Attacker {
    let mut client = Attacker::with_buffer(app, Some(BUFFER)).await;
    client
        .send(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
        .await;
    client
}

#[tokio::test]
async fn unread_downloads_are_closed_and_hold_their_share_until_then() {
    // Longer than a busy machine takes for the requests below.
    let app = TestApp::with(&[("STALL_SECONDS", "10")]).await;
    let path = rejected_rows(&app).await;
    let mut unread = Vec::new();
    for _ in 0..4 {
        let mut client = request(&app, &path).await;
        let begun = client.read_until("HTTP/1.1").await;
        assert!(begun.starts_with("HTTP/1.1 200 "), "{begun}");
        unread.push(client);
    }
    let mut fifth = request(&app, &path).await;
    let refused = fifth.read_until("read replies to their end").await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    // Others have the other places.
    let good = app.get(&path).await;
    assert_eq!(good.status, 200);
    assert!(good.text.lines().count() > 40_000);
    // Their places are free once they are closed.
    eventually(async || {
        let mut next = request(&app, &path).await;
        let begun = next.read_until("HTTP/1.1").await;
        begun.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
    for mut client in unread {
        let rest = client.read_to_end().await;
        assert!(rest.len() < good.text.len(), "the reply was cut off");
    }
    app.stop().await;
}

#[tokio::test]
async fn unread_queries_of_one_address_leave_places_to_others() {
    let app = TestApp::with(&[]).await;
    let mut csv = String::from("user_id,event_type,timestamp,note\n");
    let note = "x".repeat(8_000);
    for n in 0..1_000 {
        csv += &format!("u{n},click,2025-11-10,{note}\n");
    }
    app.uploaded("", csv).await;
    let path = "/events?limit=1000";
    let mut unread = Vec::new();
    for _ in 0..2 {
        let mut client = request(&app, path).await;
        client.read_until("HTTP/1.1").await;
        unread.push(client);
    }
    let mut third = request(&app, path).await;
    // Another client is answered while it waits for a place.
    assert_eq!(app.get(path).await.status, 200);
    let refused = third.read_until("read replies to their end").await;
    assert!(refused.starts_with("HTTP/1.1 429 "), "{refused}");
    drop(unread);
    app.stop().await;
}
