//! The limits on transfers of one sender, and the replies when a limit is reached.

use reqwest::Method;

use super::*;

fn retry_after(answer: &Answer) -> u64 {
    let seconds = answer.headers["retry-after"].to_str().expect("text");
    seconds.parse().expect("a number")
}

#[tokio::test]
async fn an_address_may_have_fifty_open_transfers() {
    let app = TestApp::with(&[("UPLOAD_LIMIT", "0")]).await;
    let mut last = String::new();
    for _ in 0..50 {
        // Their announced lengths exceed the limit of stored bytes, but no byte is stored.
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
async fn a_body_beyond_the_file_length_is_refused_before_it_is_stored() {
    let app = TestApp::start().await;
    let at = create(&app, 200_000, &[]).await;
    assert_eq!(patch(&app, &at, 0, "abcd").await.status, 204);
    // Its first chunks would fit.
    let long = patch(&app, &at, 4, "x".repeat(200_000)).await;
    assert_eq!(long.problem(), (400, "bad-upload".into()));
    assert_eq!((offset(&long), offset(&head(&app, &at).await)), (4, 4));
    let mismatch = patch(&app, &at, 3, "x").await;
    assert_eq!(mismatch.problem(), (409, "offset-mismatch".into()));
    assert_eq!(offset(&mismatch), 4);
    // Without a stated length, the reply says how many bytes are stored.
    let chunks = [150_000, 60_000].map(|bytes| Ok::<_, std::io::Error>("x".repeat(bytes)));
    let long = patch(&app, &at, 4, Body::wrap_stream(stream::iter(chunks))).await;
    assert_eq!(long.problem(), (400, "bad-upload".into()));
    assert_eq!(offset(&long), offset(&head(&app, &at).await));
    app.stop().await;
}

#[tokio::test]
async fn transfers_that_became_a_batch_cannot_be_terminated() {
    let app = TestApp::start().await;
    let csv = rows(5);
    let at = create(&app, csv.len(), &[]).await;
    let stored = batch(&patch(&app, &at, 0, csv).await);
    let complete = tus(&app, Method::DELETE, &at, &[], "").await;
    assert_eq!(complete.problem(), (409, "upload-complete".into()));
    assert!(
        complete.text.contains("DELETE /batches/"),
        "{}",
        complete.text
    );
    let shown = app.get(&format!("/batches/{stored}")).await;
    assert_eq!(shown.status, 200);
    let refused = create(&app, 3, &[]).await;
    assert_eq!(patch(&app, &refused, 0, "a,b").await.status, 422);
    let terminated = tus(&app, Method::DELETE, &refused, &[], "").await;
    assert_eq!(terminated.status, 204, "nothing of it is stored");
    app.stop().await;
}
