//! The web page in a real browser: upload, dry run, rejected rows, processing, undo and dead letters, by mouse and by
//! keyboard.

mod truth;

use std::path::Path;

use fantoccini::Locator;
use serde_json::json;

use crate::helpers::{
    app::{TOKEN, TestApp},
    browser::{Browser, ENTER},
};

const CSV: &str = "user_id,event_type,timestamp\nu1,login,2025-11-10\n";

fn sample() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/events.csv");
    path.display().to_string()
}

/// The elements that stand out of the page to the right, if it scrolls sideways.
const OVERFLOW: &str = "const { scrollWidth, clientWidth } = document.documentElement;
    return scrollWidth <= clientWidth ? [] : [...document.querySelectorAll('body *')]
        .filter(node => node.getBoundingClientRect().right > clientWidth)
        .map(node => `${node.tagName} ${node.id} ${node.className}`);";

async fn choose(browser: &Browser, file: &str) {
    let input = browser.page.find(Locator::Css("#file")).await;
    let input = input.expect("an input");
    input.send_keys(file).await.expect("chooses");
}

async fn count(browser: &Browser, name: &str) -> String {
    let cell = browser
        .see(&format!("#receipt-counts [data-count={name}]"))
        .await;
    let value = cell.attr("data-value").await.expect("answers");
    value.expect("a value")
}

#[tokio::test]
async fn a_file_can_be_uploaded_processed_and_undone() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    browser.page.goto(&app.url).await.expect("opens");
    browser.see("#metrics-empty").await;
    browser.shoot("1-empty").await;
    choose(&browser, &sample()).await;
    browser.click("#upload-button").await;
    browser.see("#receipt[data-batch] #process-button").await;
    assert_eq!(count(&browser, "inserted").await, "5");
    assert_eq!(count(&browser, "failed").await, "3");
    for (row, line, column) in [
        (6, "7", "candidate_id"),
        (7, "8", "event_type"),
        (8, "9", "timestamp"),
    ] {
        let shown = format!("#errors-table tr[data-row='{row}'][data-code='missing-value']");
        let text = browser.text(&shown).await;
        let words: Vec<&str> = text.split_whitespace().collect();
        assert!(words.contains(&line) && words.contains(&column), "{text}");
    }
    browser.see("#metrics-empty").await;
    browser.shoot("2-receipt").await;

    browser.click("#process-button").await;
    browser.see("#batch-status[data-status=completed]").await;
    for (day, total) in [("2025-11-08", 3), ("2025-11-09", 1), ("2025-11-10", 1)] {
        let bar = format!("#chart svg .day[data-date='{day}'][data-total='{total}']");
        browser.see(&bar).await;
    }
    let row = "#metrics-table tr[data-date='2025-11-08'][data-type='test_started']";
    let text = browser.text(row).await;
    assert!(text.ends_with("1 1"), "one event, one user: {text}");
    assert_eq!(
        browser.text("#batches-table tr[data-batch] .badge").await,
        "completed"
    );
    browser.shoot("3-figures").await;

    browser.click("#batches-table tr[data-batch] .undo").await;
    browser.see("#confirm").await;
    browser.shoot("4-confirm").await;
    browser.click("#confirm-yes").await;
    browser.see("#batch-status[data-status=deleted]").await;
    browser.see("#metrics-empty").await;
    browser.miss("#chart").await;
    assert_eq!(app.figures("").await, []);
    assert_eq!(browser.complaints().await, [""; 0]);
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn all_actions_work_with_the_keyboard() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    browser.page.goto(&app.url).await.expect("opens");
    browser.tab_to("#file").await;
    // The dialog of the system is not part of the page.
    choose(&browser, &sample()).await;
    browser.tab_to("#upload-button").await;
    browser.press(ENTER).await;
    browser.see("#receipt[data-batch] #process-button").await;
    browser.tab_to("#process-button").await;
    browser.press(ENTER).await;
    browser.see("#batch-status[data-status=completed]").await;
    browser.tab_to("#undo-button").await;
    browser.press(ENTER).await;
    browser.see("#confirm").await;
    assert_eq!(
        browser.run("return document.activeElement.id").await,
        "confirm-no",
        "Enter alone undoes nothing"
    );
    browser.tab_to("#confirm-yes").await;
    browser.press(ENTER).await;
    browser.see("#batch-status[data-status=deleted]").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn receipts_show_the_detected_properties_of_the_file() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    browser.page.goto(&app.url).await.expect("opens");
    let good = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/good");
    for (file, expected) in [
        ("gzip.csv", &["unpacked from gzip", "utf-8 (detected)"][..]),
        ("windows-1252.csv", &["windows-1252 (guessed)", "comma"]),
        (
            "comments-above-the-header.csv",
            &["Above the header", "3 lines"],
        ),
    ] {
        choose(&browser, &good.join(file).display().to_string()).await;
        browser.click("#upload-button").await;
        browser
            .see(&format!("#receipt[data-file='{file}'] .file-facts"))
            .await;
        browser.click("#receipt .file-facts summary").await;
        let facts = browser.text("#receipt .file-facts dl").await;
        assert!(expected.iter().all(|text| facts.contains(text)), "{facts}");
    }
    browser.shoot("7-file-properties").await;
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn refusals_are_explained_and_file_contents_are_escaped() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    browser.page.goto(&app.url).await.expect("opens");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("hostile.csv");
    let csv = "user_id,event_type,timestamp\nu1,<b>x</b>,2025-11-10\n<img src=x onerror=alert(1)>,login,<script>alert(2)</script>\n";
    std::fs::write(&path, csv).expect("writes");
    choose(&browser, &path.display().to_string()).await;
    browser.click("#upload-button").await;
    let text = browser.text("#errors-table tr[data-row='2']").await;
    assert!(text.contains("<script>alert(2)</script>"), "{text}");
    browser.click("#process-button").await;
    browser.see("#metrics-table tr[data-type='<b>x</b>']").await;

    let missing =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bad/events-missing-timestamp.csv");
    choose(&browser, &missing.display().to_string()).await;
    browser.click("#upload-button").await;
    let problem = browser.text("#upload-problem").await;
    assert!(problem.contains("missing column timestamp"), "{problem}");
    assert!(!problem.contains('{'), "no JSON: {problem}");
    browser.shoot("5-refused").await;
    // The browser logs the status of the refusal, and nothing else.
    let complaints = browser.complaints().await;
    assert!(
        complaints.iter().all(|line| line.contains("422")),
        "{complaints:?}"
    );
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn remedies_of_a_refusal_are_applied_with_one_click() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    browser.page.goto(&app.url).await.expect("opens");
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, csv: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, csv).expect("writes");
        path.display().to_string()
    };
    // One refusal settles columns and format.
    let both = "Who;event_type;timestamp\nu1;login;10/11/2025\nu2;login;25/11/2025\n";
    choose(&browser, &file("both.csv", both)).await;
    browser.click("#upload-button").await;
    browser
        .see("#mapping-user_id option:checked[value='Who']")
        .await;
    browser.shoot("8-column-mapping").await;
    browser.click("#mapping-button").await;
    browser.see("#receipt[data-file='both.csv']").await;
    assert_eq!(count(&browser, "inserted").await, "2");

    let slashes = "user_id;event_type;timestamp\nu1;login;10/11/2025\nu2;login;25/11/2025\n";
    choose(&browser, &file("slashes.csv", slashes)).await;
    browser.click("#upload-button").await;
    let label = browser.text("#upload-problem .retry-format").await;
    assert!(label.contains("%d/%m/%Y"), "{label}");
    browser.shoot("9-timestamp-format").await;
    browser.click("#upload-problem .retry-format").await;
    browser.see("#receipt[data-file='slashes.csv']").await;
    assert_eq!(count(&browser, "inserted").await, "2");

    let rounded = "user_id,event_type,timestamp\n9.91E+15,login,2025-11-10\n=1,login,never\n";
    choose(&browser, &file("rounded.csv", rounded)).await;
    for field in ["columns", "format"] {
        browser
            .run(&format!(
                "document.getElementById('option-{field}').value = ''"
            ))
            .await;
    }
    browser.click("#upload-button").await;
    browser.see("#receipt[data-file='rounded.csv']").await;
    let warning = browser.text("#receipt-notice [data-warning]").await;
    assert!(warning.contains("9.91E+15"), "{warning}");
    browser.see("#errors-csv[href$='/errors.csv']").await;
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn a_file_can_be_dry_run_profiled_and_its_rejected_rows_retried() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    browser.page.goto(&app.url).await.expect("opens");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("orders.csv");
    let csv =
        "When,Who,What,Order\n2025-11-10,u1,buy,7\n25/11/2025,u2,buy,8\n26/11/2025,u3,buy,9\n";
    std::fs::write(&path, csv).expect("writes");
    let file = path.display().to_string();
    choose(&browser, &file).await;
    browser.click("#options summary").await;
    let set = "document.getElementById('option-columns').value = 'timestamp:When,user_id:Who,event_type:What';
        document.getElementById('option-key').value = 'Order'; document.getElementById('profile-name').value = 'orders';";
    browser.run(set).await;
    browser.click("#profile-save").await;
    browser.see("#option-profile option[value='orders']").await;
    browser
        .run("for (const id of ['columns', 'key']) document.getElementById(`option-${id}`).value = ''")
        .await;

    browser.click("#dry-run-button").await;
    let summary = browser.text("#dry-run-body").await;
    assert!(
        summary.contains("1 would be stored, 2 rejected"),
        "{summary}"
    );
    assert!(browser.text("#dry-run-table").await.contains("Order: 7"));
    browser.shoot("10-dry-run").await;
    let none = app.get("/batches").await.json();
    assert_eq!(none["data"], serde_json::json!([]));

    browser.click("#dry-run-upload").await;
    browser.see("#receipt[data-file='orders.csv']").await;
    assert_eq!(count(&browser, "inserted").await, "1");
    let facts = "document.querySelector('#receipt .file-facts').open = true";
    browser.run(facts).await;
    let facts = browser.text("#receipt .file-facts dl").await;
    assert!(
        facts.contains("same Order") && facts.contains("orders"),
        "{facts}"
    );
    browser.shoot("11-rejected-rows").await;
    browser.resize(360, 800).await;
    assert_eq!(browser.run(OVERFLOW).await, json!([]));
    browser.click("#receipt .retry-rejected").await;
    browser.see("#receipt[data-file^='errors-']").await;
    assert_eq!(count(&browser, "inserted").await, "2");
    assert_eq!(count(&browser, "failed").await, "0");
    browser
        .run("document.querySelector('#receipt .file-facts').open = true")
        .await;
    let facts = browser.text("#receipt .file-facts dl").await;
    assert!(facts.contains("that batch"), "{facts}");
    assert_eq!(browser.complaints().await, [""; 0]);
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn long_uploads_show_their_progress() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    browser.page.goto(&app.url).await.expect("opens");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("long.csv");
    let row = format!(
        "u1,login,2025-11-10T12:00:00Z,{}\n",
        "a long note ".repeat(2_500)
    );
    let rows = row.repeat(2_000);
    std::fs::write(&path, format!("user_id,event_type,timestamp,note\n{rows}")).expect("writes");
    choose(&browser, &path.display().to_string()).await;
    let watch = "window.texts = []; const text = document.getElementById('progress-text');
        new MutationObserver(() => window.texts.push(text.textContent)).observe(text, { childList: true, characterData: true, subtree: true });";
    browser.run(watch).await;
    browser.click("#upload-button").await;
    browser.see("#receipt[data-file='long.csv']").await;
    let updates = browser
        .run("return window.texts.filter(text => /of .* %/.test(text)).length")
        .await;
    assert!(
        updates.as_u64().is_some_and(|count| count >= 1),
        "{updates}"
    );
    assert_eq!(count(&browser, "inserted").await, "2000");
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn narrow_screens_have_no_horizontal_scroll() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    let csv = std::fs::read(sample()).expect("reads");
    let batch = app.uploaded("", csv).await;
    app.process(&batch).await;
    // Enough days to fill the chart, and long event types.
    let mut csv = "user_id,event_type,timestamp\n".to_owned();
    for day in 10..30 {
        for kind in [
            "a_rather_long_event_type_name",
            "test_question_answered",
            "x",
        ] {
            csv += &format!("u1,{kind},2025-11-{day}\n");
        }
    }
    let other = app.uploaded("", csv).await;
    app.process(&other).await;
    browser.resize(360, 800).await;
    let url = format!("{}/#batch/{batch}", app.url);
    browser.page.goto(&url).await.expect("opens");
    browser.see("#chart svg .day[data-total='3']").await;
    browser.see("#errors-table tr[data-row]").await;
    let overflow = "return [...document.querySelectorAll('html, .scroll')].filter(n => n.scrollWidth > n.clientWidth).map(n => `${n.className || n.tagName} ${n.ariaLabel ?? n.getAttribute('aria-labelledby') ?? ''} ${n.scrollWidth} ${n.clientWidth}`)";
    assert_eq!(browser.run(overflow).await, json!([]));
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn dead_letters_can_be_retried_and_discarded() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    let (first, remedy) = app.dead_letter("1", CSV).await;
    let (second, _) = app.dead_letter("2", CSV).await;
    let (third, remedy_third) = app.dead_letter("3", CSV).await;
    browser.page.goto(&app.url).await.expect("opens");
    let token = browser.see("#token").await;
    token.send_keys(TOKEN).await.expect("types");
    browser.press(ENTER).await;
    let row = |batch: &str| format!("#dlq-table tr[data-job='process:{batch}']");
    let text = browser.text(&row(&first)).await;
    assert!(
        text.contains("damaged") || text.contains("is missing"),
        "{text}"
    );
    browser.shoot("6-dead-letters").await;

    app.repair(&first, remedy).await;
    browser.click(&format!("{} .retry", row(&first))).await;
    browser.miss(&row(&first)).await;
    app.until(&first, "completed").await;
    browser.click(&format!("{} .discard", row(&second))).await;
    browser.click("#confirm-yes").await;
    browser.miss(&row(&second)).await;

    // A job that fails again returns by itself.
    browser.click("#retry-all").await;
    app.until_died(&format!("process:{third}"), 2).await;
    browser.see("#retry-all:not([aria-disabled])").await;
    browser.see(&row(&third)).await;
    assert_eq!(browser.text("#dlq-count").await, "1");
    app.repair(&third, remedy_third).await;
    browser.click("#retry-all").await;
    browser.see("#dlq-empty").await;
    app.until(&third, "completed").await;
    app.until(&second, "failed").await;
    browser.see("#chart svg .day[data-total='2']").await;
    assert_eq!(browser.complaints().await, [""; 0]);
    drop(browser);
    app.stop().await;
}
