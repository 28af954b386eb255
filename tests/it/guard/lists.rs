//! Lists end early when their items are large.

use crate::helpers::app::TestApp;

#[tokio::test]
async fn a_page_of_batches_has_a_bound_in_bytes() {
    let app = TestApp::start().await;
    let columns: Vec<String> = (0..500).map(|n| format!("{n:0>240}")).collect();
    let (columns, cells) = (columns.join(","), ",".repeat(499));
    for n in 0..40 {
        let csv =
            format!("user_id,event_type,timestamp,{columns}\nu{n},click,2025-11-10,{cells}\n");
        app.uploaded("", csv).await;
    }
    let (mut pages, mut seen, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let answer = app.get(&format!("/batches?limit=1000{cursor}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        let page = answer.json();
        pages += 1;
        let batches = page["data"].as_array().expect("a list");
        seen.extend(batches.iter().map(|batch| batch["batch_id"].to_string()));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let listed = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((listed, seen.len()), (40, 40));
    assert!(pages > 1, "one page has all of them");
    app.stop().await;
}
