//! What one sender may take up, and what an upload says when it goes no further.

use reqwest::Method;

use super::*;

fn retry_after(answer: &Answer) -> u64 {
    let seconds = answer.headers["retry-after"].to_str().expect("text");
    seconds.parse().expect("a number")
}

#[tokio::test]
async fn one_address_has_fifty_unfinished_uploads_and_is_told_how_long() {
    let app = TestApp::with(&[("UPLOAD_LIMIT", "0")]).await;
    let mut last = String::new();
    for _ in 0..50 {
        // More is announced in all than may be kept, which takes nothing from anybody.
        last = create(&app, 4 << 30, &[]).await;
    }
    let headers = [("Upload-Length", "5")];
    let refused = tus(&app, Method::POST, "/uploads/tus", &headers, "").await;
    assert_eq!(refused.problem(), (429, "rate-limited".into()));
    assert!((3_500..=3_601).contains(&retry_after(&refused)));
    assert_eq!(tus(&app, Method::DELETE, &last, &[], "").await.status, 204);
    create(&app, 5, &[]).await;
    app.stop().await;
}

#[tokio::test]
async fn a_piece_that_is_too_long_is_refused_before_a_byte_of_it_is_kept() {
    let app = TestApp::start().await;
    let at = create(&app, 200_000, &[]).await;
    assert_eq!(patch(&app, &at, 0, "abcd").await.status, 204);
    // Of many chunks, the first of which would fit.
    let much = patch(&app, &at, 4, "x".repeat(200_000)).await;
    assert_eq!(much.problem(), (400, "bad-upload".into()));
    assert_eq!((offset(&much), offset(&head(&app, &at).await)), (4, 4));
    let elsewhere = patch(&app, &at, 3, "x").await;
    assert_eq!(elsewhere.problem(), (409, "offset-mismatch".into()));
    assert_eq!(offset(&elsewhere), 4);
    // One that does not say how long it is: the reply says what is kept of it.
    let pieces = [150_000, 60_000].map(|bytes| Ok::<_, std::io::Error>("x".repeat(bytes)));
    let much = patch(&app, &at, 4, Body::wrap_stream(stream::iter(pieces))).await;
    assert_eq!(much.problem(), (400, "bad-upload".into()));
    assert_eq!(offset(&much), offset(&head(&app, &at).await));
    app.stop().await;
}

#[tokio::test]
async fn an_upload_that_became_a_batch_can_not_be_given_up() {
    let app = TestApp::start().await;
    let csv = rows(5);
    let at = create(&app, csv.len(), &[]).await;
    let stored = batch(&patch(&app, &at, 0, csv).await);
    let kept = tus(&app, Method::DELETE, &at, &[], "").await;
    assert_eq!(kept.problem(), (409, "upload-complete".into()));
    assert!(kept.text.contains("DELETE /batches/"), "{}", kept.text);
    let shown = app.get(&format!("/batches/{stored}")).await;
    assert_eq!(shown.status, 200);
    let refused = create(&app, 3, &[]).await;
    assert_eq!(patch(&app, &refused, 0, "a,b").await.status, 422);
    let gone = tus(&app, Method::DELETE, &refused, &[], "").await;
    assert_eq!(gone.status, 204, "nothing of it is stored");
    app.stop().await;
}
