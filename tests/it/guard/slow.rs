//! Bodies that stall or take too long.

use std::time::Duration;

use super::Attacker;
use crate::helpers::app::TestApp;

#[tokio::test]
async fn a_body_that_stalls_is_given_up() {
    let app = TestApp::with(&[("STALL_SECONDS", "1")]).await;
    let mut upload = Attacker::begin_upload(&app, "user_id,").await;
    let reply = upload.read_until("STALL_SECONDS").await;
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    app.stop().await;
}

#[tokio::test]
async fn a_body_that_takes_too_long_in_all_is_given_up() {
    let app = TestApp::with(&[("UPLOAD_SECONDS", "2")]).await;
    let mut upload = Attacker::begin_upload(&app, "user_id,event_type,timestamp\n").await;
    let reply = loop {
        let row = "u1,click,2025-11-10\n".repeat(1_000);
        let sent = tokio::io::AsyncWriteExt::write_all(&mut upload.0, row.as_bytes()).await;
        let reply = upload.read_until("UPLOAD_SECONDS");
        let reply = tokio::time::timeout(Duration::from_millis(100), reply).await;
        match reply {
            Ok(reply) => break reply,
            Err(_) => sent.expect("the upload is neither refused nor cut off"),
        }
    };
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    app.stop().await;
}
