//! Connections of one address.

use super::{Attacker, eventually, one_row};
use crate::helpers::app::TestApp;

/// Opens a connection that the service has admitted.
async fn answered(app: &TestApp) -> Attacker {
    let mut connection = Attacker::connect(app).await;
    let request = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
    connection.send(request).await;
    let reply = connection.read_until("uptime").await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    connection
}

#[tokio::test]
async fn idle_connections_of_one_address_leave_room_for_others() {
    let app = TestApp::with(&[("CONNECTIONS_PER_CLIENT", "8")]).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        idle.push(answered(&app).await);
    }
    let mut refused = Attacker::connect(&app).await;
    let reply = refused.read_to_end().await;
    assert!(reply.starts_with("HTTP/1.1 429 "), "{reply}");
    assert!(reply.contains("CONNECTIONS_PER_CLIENT"), "{reply}");
    assert_eq!(app.upload("", one_row("good")).await.status, 201);
    idle.pop();
    eventually(async || {
        let mut next = Attacker::connect(&app).await;
        let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        // The service may close it before.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut next.0, request.as_bytes()).await;
        let reply = next.read_to_end().await;
        reply.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
    drop(idle);
    app.stop().await;
}

#[tokio::test]
async fn proxies_have_as_many_connections_as_they_need() {
    let settings = [
        ("CONNECTIONS_PER_CLIENT", "2"),
        ("TRUSTED_PROXIES", "127.0.0.2/32"),
    ];
    let app = TestApp::with(&settings).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        open.push(answered(&app).await);
    }
    drop(open);
    app.stop().await;
}
