//! Bodies made to exhaust memory.

use crate::{
    corpus::case::{gzip, zip, zstd},
    helpers::app::TestApp,
};

#[tokio::test]
async fn decompression_bombs_are_rejected_with_limit_and_setting() {
    let app = TestApp::with(&[("BODY_LIMIT_BYTES", "1000000")]).await;
    let mut text = b"user_id,event_type,timestamp\nu1,click,2025-11-10\n".to_vec();
    text.resize(101_500_000, b'\n');
    for (name, bomb) in [
        ("gzip", gzip(&text)),
        ("zstd", zstd(&text)),
        ("zip", zip(&text)),
    ] {
        assert!(bomb.len() <= 102_400, "{name}: {} bytes", bomb.len());
        let response = app.upload("", bomb).await;
        assert_eq!(response.problem(), (413, "too-large".into()), "{name}");
        let problem = response.json();
        assert_eq!(problem["limit"], 1_000_000);
        assert_eq!(problem["setting"], "BODY_LIMIT_BYTES");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("1000000 bytes when unpacked"), "{detail}");
    }
    assert_eq!(app.batches_with_events().await, 0);
    assert_eq!(
        app.get("/batches").await.json()["data"],
        serde_json::json!([])
    );
    app.stop().await;
}
