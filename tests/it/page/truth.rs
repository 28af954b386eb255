//! What the page shows is what the service knows: totals, days, zones, filters, and what applies to which file.

use fantoccini::Locator;
use serde_json::json;

use super::{OVERFLOW, choose, count};
use crate::helpers::{
    app::{TestApp, distributed},
    browser::{Browser, ENTER},
};

const TOTALS: &str = "return [
    document.querySelector('#chart svg').dataset.period,
    [...document.querySelectorAll('#chart .day')].reduce((sum, day) => sum + Number(day.dataset.total), 0),
    Number(document.querySelector('#metrics-totals [data-total=events] dd').textContent.replaceAll(/\\D/g, ''))];";

/// Events of `days` days, each with two of `types` event types.
fn csv(days: i64, types: i64) -> String {
    let mut csv = "user_id,event_type,timestamp\n".to_owned();
    let first = chrono::NaiveDate::from_ymd_opt(2015, 1, 31).expect("a day");
    for day in 0..days {
        let date = first + chrono::TimeDelta::days(day);
        for n in [day, day + 7] {
            csv += &format!("u{n},type-{},{date}\n", n % types);
        }
    }
    csv
}

#[tokio::test]
async fn bars_add_up_to_the_totals_whatever_the_range() {
    let browser = Browser::start().await;
    // Each day is a job, which the stand-in of MongoDB takes long for.
    let months = if distributed() { 440 } else { 3_700 };
    for (days, types, period) in [
        (1, 1, "day"),
        (30, 200, "day"),
        (62, 3, "day"),
        (365, 200, "week"),
        (months, 5, "month"),
    ] {
        let app = TestApp::start().await;
        let batch = app.uploaded("", csv(days, types)).await;
        app.process(&batch).await;
        for width in [320, 1280] {
            browser.resize(width, 900).await;
            browser.page.goto(&app.url).await.expect("opens");
            browser.see("#chart svg .day").await;
            let shown = browser.run(TOTALS).await;
            assert_eq!(shown, json!([period, days * 2, days * 2]), "{days} days");
        }
        if period != "day" {
            let note = browser.text("#chart-note").await;
            assert!(note.contains(&format!("A bar is a {period}")), "{note}");
        }
        app.stop().await;
    }
    drop(browser);
}

#[tokio::test]
async fn bars_are_read_by_keyboard() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    let batch = app.uploaded("", csv(3, 2)).await;
    app.process(&batch).await;
    browser.page.goto(&app.url).await.expect("opens");
    browser.see("#chart svg .day").await;
    browser.tab_to("#chart svg").await;
    browser.press('\u{E010}').await; // End
    let last = browser.text("#chart-note").await;
    assert!(
        last.contains("2 Feb 2015") || last.contains("Feb 2, 2015"),
        "{last}"
    );
    assert!(last.contains("2 events"), "{last}");
    browser.press('\u{E012}').await; // left
    let before = browser.text("#chart-note").await;
    assert!(
        before.contains("Feb 1, 2015") || before.contains("1 Feb 2015"),
        "{before}"
    );
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn days_and_times_are_those_of_the_service_wherever_the_reader_is() {
    let app = TestApp::with(&[("TIME_ZONE", "Asia/Tokyo")]).await;
    let browser = Browser::start().await;
    // 2025-11-11 01:30 in Tokyo, still the day before in Los Angeles.
    let csv = "user_id,event_type,timestamp\nu1,login,2025-11-10T16:30:00Z\n";
    let batch = app.uploaded("", csv).await;
    app.process(&batch).await;
    let mut latest = Vec::new();
    for zone in ["Asia/Tokyo", "America/Los_Angeles"] {
        browser.zone(zone).await;
        browser.page.goto(&app.url).await.expect("opens");
        browser.see("#chart svg .day[data-date='2025-11-11']").await;
        latest.push(browser.text("#metrics-totals [data-total=latest] dd").await);
        let note = browser.text("#metrics-zone").await;
        assert!(note.contains("Asia/Tokyo"), "{note}");
    }
    assert_eq!(latest[0], latest[1]);
    assert!(
        latest[0].contains("Nov 11") && latest[0].contains("GMT+9"),
        "{latest:?}"
    );
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn filters_of_rejected_rows_are_those_of_the_service() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    let mut csv = "user_id,event_type,timestamp\nu1,login,2025-11-10\n".to_owned();
    csv += &",login,2025-11-10\n".repeat(150);
    csv += &"u2,login,never\n".repeat(5);
    let batch = app.uploaded("", csv).await;
    browser
        .page
        .goto(&format!("{}/#batch/{batch}", app.url))
        .await
        .expect("opens");
    let rows = "return document.querySelectorAll('#errors-table tr[data-row]').length";
    browser
        .click("#receipt .chip[data-column='timestamp']")
        .await;
    browser.see("#errors-table tr[data-row='152']").await;
    assert_eq!(browser.run(rows).await, 5);
    browser
        .click("#receipt .chip[data-code='missing-value']")
        .await;
    browser.see("#errors-table tr[data-row='2']").await;
    assert_eq!(browser.run(rows).await, 100);
    let rejected = format!("/batches/{batch}/errors?column=timestamp&limit=3&counts=true");
    let page = app.get(&rejected).await.json();
    assert_eq!(page["data"].as_array().map(Vec::len), Some(3));
    let counts = json!({ "timestamp": 5, "user_id": 150 });
    assert_eq!(page["counts"]["by_column"], counts);
    let next = page["next_cursor"].as_str().expect("a cursor").to_owned();
    let rest = app.get(&format!("{rejected}&cursor={next}")).await.json();
    assert_eq!(rest["data"].as_array().map(Vec::len), Some(2));
    let csv = app
        .get(&format!("/batches/{batch}/errors.csv?column=timestamp"))
        .await;
    assert_eq!(csv.text.lines().count(), 6, "{}", csv.text);
    let unknown = app.get(&format!("/batches/{batch}/errors?code=none")).await;
    assert_eq!(unknown.problem(), (400, "bad-query".into()));
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn accepted_options_are_of_one_file_and_repeats_are_of_the_same() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, csv: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, csv).expect("writes");
        path.display().to_string()
    };
    browser.page.goto(&app.url).await.expect("opens");
    let odd = file(
        "odd.csv",
        "When,Who,What\n2025-11-10,u1,buy\n2025-11-11,u2,buy\n",
    );
    choose(&browser, &odd).await;
    browser.click("#upload-button").await;
    browser.see("#mapping-event_type").await;
    let map = "for (const [field, label] of [['timestamp', 'When'], ['user_id', 'Who'], ['event_type', 'What']]) {
        const select = document.getElementById(`mapping-${field}`);
        if (select) select.value = label;
    }";
    browser.run(map).await;
    browser.click("#mapping-button").await;
    browser.see("#receipt[data-file='odd.csv']").await;
    let columns = "return document.getElementById('option-columns').value";
    assert_eq!(
        browser.run(columns).await,
        "",
        "the next file has other columns"
    );

    let repeats = file(
        "repeats.csv",
        "event_id,user_id,event_type,timestamp\ne1,u1,buy,2025-11-10\ne1,u1,buy,2025-11-10\n",
    );
    choose(&browser, &repeats).await;
    browser.click("#upload-button").await;
    browser.see("#receipt[data-file='repeats.csv']").await;
    browser.click("#process-button").await;
    let told = browser.text("#receipt-overlaps li").await;
    assert!(
        told.contains("repeats an earlier row of this file"),
        "{told}"
    );
    assert!(!told.contains("another batch"), "{told}");
    assert_eq!(count(&browser, "duplicate").await, "1");
    let link = browser.page.find(Locator::Css("#receipt-overlaps a")).await;
    assert!(link.is_err(), "no link to itself");
    drop(browser);
    app.stop().await;
}

#[tokio::test]
async fn no_width_scrolls_sideways_and_cancel_keeps_the_focus() {
    let (app, browser) = (TestApp::start().await, Browser::start().await);
    let long = "a_name_of_120_characters_".repeat(5)[..120].to_owned();
    let csv = format!(
        "user_id,event_type,timestamp,{long}\nu1,{long},2025-11-10,x\n,{long},2025-11-10,{long}\n"
    );
    let batch = app.uploaded(&format!("?name={long}.csv"), csv).await;
    app.process(&batch).await;
    browser
        .page
        .goto(&format!("{}/#batch/{batch}", app.url))
        .await
        .expect("opens");
    browser.see("#errors-table tr[data-row]").await;
    browser.see("#chart svg .day").await;
    for scheme in ["light", "dark"] {
        browser.scheme(scheme).await;
        for width in [
            320, 360, 480, 560, 641, 700, 768, 820, 900, 999, 1024, 1280, 1920,
        ] {
            browser.resize(width, 900).await;
            assert_eq!(browser.run(OVERFLOW).await, json!([]), "{width} px");
            let undo = browser.see("#batches-table .undo").await;
            let (x, _, w, _) = undo.rectangle().await.expect("a place");
            assert!(
                x >= 0.0 && x + w <= width as f64,
                "Undo is cut off at {width} px"
            );
        }
    }
    browser.shoot("12-long-names").await;
    browser.resize(1280, 900).await;
    browser.see("#undo-button").await;
    browser.tab_to("#undo-button").await;
    browser.press(ENTER).await;
    browser.see("#confirm[open]").await;
    browser.click("#confirm-no").await;
    browser.miss("#confirm[open]").await;
    let focused = browser.run("return document.activeElement.id").await;
    assert_eq!(focused, "undo-button");
    assert_eq!(browser.complaints().await, [""; 0]);
    drop(browser);
    app.stop().await;
}
