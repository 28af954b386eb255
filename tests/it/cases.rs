//! Files as people have them: uploads each file of `fixtures/cases/`, follows the options that the replies propose, and
//! compares what is stored or said in the end. `cases.json` has one case a line:
//!
//! | field | |
//! |---|---|
//! | `steps` | the uploads, each with its `options`. Those of a later step that the first lacks have to be proposed by the reply before; `how` is `send`, `undo` (what is stored is deleted first) or `mend` (`errors.csv` is sent with `parent`) |
//! | `events` | type, user, instant and attributes of all that is stored in the end |
//! | `failed`, `warnings` | rejected rows and the codes of warnings of the last upload |
//! | `refused` | the code of the last reply, and a part of its `detail` |
//! | `settings` | of the server |

use std::{collections::BTreeSet, path::PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::helpers::app::{Answer, TestApp};

#[derive(Debug, Deserialize)]
struct Case {
    file: String,
    kind: String,
    #[serde(default)]
    settings: Map<String, Value>,
    steps: Vec<Step>,
    #[serde(default)]
    events: Vec<(String, String, String, Value)>,
    #[serde(default)]
    failed: u64,
    #[serde(default)]
    warnings: Vec<String>,
    refused: Option<Refused>,
}

#[derive(Debug, Deserialize)]
struct Step {
    how: String,
    options: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
struct Refused {
    code: String,
    says: String,
}

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/cases")
}

fn cases() -> Vec<Case> {
    let text = std::fs::read_to_string(dir().join("cases.json")).expect("reads");
    serde_json::from_str(&text).expect("is JSON")
}

/// Returns the values that a reply proposes for each option, in words and in objects.
fn proposed(reply: &Value, all: &mut BTreeSet<(String, String)>) {
    match reply {
        Value::Object(fields) => {
            if let (Some(option), Some(value)) = (fields.get("option"), fields.get("value")) {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                all.insert((text(option), text(value)));
            }
            fields.values().for_each(|value| proposed(value, all));
        }
        Value::Array(items) => items.iter().for_each(|item| proposed(item, all)),
        _ => {}
    }
}

/// Whether a reply proposes an option, or lacks a column that only a person can name.
fn is_proposed(reply: &Value, option: &str, value: &str) -> bool {
    let mut all = BTreeSet::new();
    proposed(reply, &mut all);
    let asks = reply["missing"]
        .as_array()
        .is_some_and(|missing| !missing.is_empty());
    all.contains(&(option.to_owned(), value.to_owned())) || option == "columns" && asks
}

async fn upload(app: &TestApp, case: &Case, options: &Map<String, Value>, body: Vec<u8>) -> Answer {
    let mut url = reqwest::Url::parse("http://localhost").expect("a URL");
    url.query_pairs_mut().append_pair("source", &case.file);
    for (option, value) in options {
        url.query_pairs_mut()
            .append_pair(option, value.as_str().expect("a text"));
    }
    app.upload(&format!("?{}", url.query().unwrap_or_default()), body)
        .await
}

/// Goes the way of a case. Returns how it differs from what is expected.
async fn differences(app: &TestApp, case: &Case) -> Vec<String> {
    let file = std::fs::read(dir().join(&case.file)).expect("reads");
    let (mut live, mut last, mut all) = (Vec::<String>::new(), Value::Null, Vec::new());
    let mut status = 0;
    for (at, step) in case.steps.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| &case.steps[before].options);
        for (option, value) in &step.options {
            let is_new = before.is_some_and(|before| before.get(option) != Some(value));
            let value = value.as_str().unwrap_or_default();
            if is_new && !is_proposed(&last, option, value) {
                all.push(format!("`{option}={value}` is not proposed by {last}"));
            }
        }
        let mut options = step.options.clone();
        let body = match step.how.as_str() {
            "mend" => {
                let batch = live.last().cloned().unwrap_or_default();
                options.insert("parent".into(), Value::from(batch.clone()));
                app.get(&format!("/batches/{batch}/errors.csv"))
                    .await
                    .text
                    .into_bytes()
            }
            _ => file.clone(),
        };
        if step.how == "undo"
            && let Some(batch) = live.pop()
        {
            app.undo(&batch).await;
        }
        let answer = upload(app, case, &options, body).await;
        status = answer.status.as_u16();
        last = answer.json();
        live.extend(last["batch_id"].as_str().map(str::to_owned));
    }
    match &case.refused {
        Some(Refused { code, says }) => {
            let detail = last["detail"].as_str().unwrap_or_default();
            if last["code"] != code.as_str() || !detail.contains(says) {
                all.push(format!("{status}: {last}"));
            }
        }
        None => all.extend(stored_differences(app, case, &live, &last).await),
    }
    for batch in live {
        app.undo(&batch).await;
    }
    all
}

async fn stored_differences(
    app: &TestApp,
    case: &Case,
    live: &[String],
    last: &Value,
) -> Vec<String> {
    let (mut all, mut found) = (Vec::new(), Vec::new());
    for batch in live {
        let page = app
            .get(&format!("/batches/{batch}/events?limit=1000"))
            .await
            .json();
        let mut events = page["data"].as_array().cloned().unwrap_or_default();
        events.sort_by_key(|event| event["row"].as_u64());
        found.extend(events.into_iter().map(|event| {
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            (
                text("event_type"),
                text("user_id"),
                text("timestamp"),
                event["attributes"].clone(),
            )
        }));
    }
    let sorted = |events: &[(String, String, String, Value)]| {
        let mut lines: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
        lines.sort_unstable();
        lines
    };
    if sorted(&found) != sorted(&case.events) {
        all.push(format!("stored: {found:?}, in the end {last}"));
    }
    if last["failed_count"] != case.failed {
        all.push(format!("failed: {}", last["failed_count"]));
    }
    let warnings = last["warnings"].as_array().into_iter().flatten();
    let codes: Vec<_> = warnings
        .map(|warning| warning["code"].as_str().unwrap_or_default())
        .collect();
    if codes != case.warnings {
        all.push(format!("warned of {codes:?}"));
    }
    all
}

async fn compare(settings: &[(&str, &str)]) {
    let app = TestApp::with(settings).await;
    let mut failures = Vec::new();
    let is_set = |case: &&Case| {
        let set = settings
            .iter()
            .all(|(name, value)| case.settings.get(*name) == Some(&Value::from(*value)));
        set && case.settings.len() == settings.len()
    };
    let all = cases();
    for case in all.iter().filter(is_set) {
        let found = differences(&app, case).await;
        failures.extend(
            found
                .into_iter()
                .map(|found| format!("{} ({}): {found}", case.file, case.kind)),
        );
    }
    app.stop().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[tokio::test]
async fn files_are_read_or_asked_about_as_expected() {
    compare(&[]).await;
}

#[tokio::test]
async fn local_times_and_days_are_those_of_the_service() {
    compare(&[("TIME_ZONE", "America/New_York")]).await;
}

#[test]
fn every_file_is_a_case_and_every_kind_has_several() {
    let cases = cases();
    let files = std::fs::read_dir(dir()).expect("a directory").count() - 1;
    assert_eq!(cases.len(), files);
    for kind in [
        "timestamp",
        "column",
        "identity",
        "values",
        "dialect",
        "encoding",
        "not-csv",
    ] {
        let several = cases.iter().filter(|case| case.kind == kind).count();
        assert!(several > 1, "{kind}");
    }
}
