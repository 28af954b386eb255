//! Uploads each file of `fixtures/` and compares the response with the expectation beside it. For `name.csv`, that is
//! `name.json`: `status` is the HTTP status, `reply` a part of the body, and the optional `options` are sent along.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::helpers::app::TestApp;

fn fixtures(sub: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(sub)
}

/// Adds where `actual` differs from `expected`. Objects may have further fields; lists must be equally long.
fn differences(expected: &Value, actual: &Value, at: &str, all: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            for (name, value) in expected {
                let actual = actual.get(name).unwrap_or(&Value::Null);
                differences(value, actual, &format!("{at}.{name}"), all);
            }
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            for (n, (expected, actual)) in expected.iter().zip(actual).enumerate() {
                differences(expected, actual, &format!("{at}[{n}]"), all);
            }
        }
        (expected, actual) if expected == actual => {}
        (expected, actual) => all.push(format!("{at} is {actual}, not {expected}")),
    }
}

/// Uploads every file of a directory, compares the responses, and returns the number of files.
async fn compare(dir: &Path) -> usize {
    let app = TestApp::start().await;
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a name").path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "csv"));
    files.sort();
    let mut failures = Vec::new();
    for file in &files {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let expectation = file.with_extension("json");
        let Ok(expected) = std::fs::read_to_string(&expectation) else {
            failures.push(format!("{name}: no expected reply in {name}.json"));
            continue;
        };
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        let csv = std::fs::read(file).expect("reads");
        // Each file has its own source, so that files with equal bytes do not count as duplicates.
        let mut query = reqwest::Url::parse("http://localhost").expect("a URL");
        query.query_pairs_mut().append_pair("source", &name);
        for (option, value) in expected["options"].as_object().into_iter().flatten() {
            let value = value.as_str().expect("a text");
            query.query_pairs_mut().append_pair(option, value);
        }
        let query = query.query().unwrap_or_default();
        let response = app.upload(&format!("?{query}"), csv).await;
        let mut all = Vec::new();
        let status = Value::from(response.status.as_u16());
        differences(&expected["status"], &status, "status", &mut all);
        differences(&expected["reply"], &response.json(), "reply", &mut all);
        failures.extend(
            all.into_iter()
                .map(|difference| format!("{name}: {difference}")),
        );
    }
    app.stop().await;
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    files.len()
}

#[tokio::test]
async fn valid_files_are_read_as_intended() {
    assert!(compare(&fixtures("good")).await >= 60);
}

#[tokio::test]
async fn invalid_files_are_reported_with_fault_and_position() {
    assert!(compare(&fixtures("bad")).await >= 50);
}

#[tokio::test]
async fn the_sample_file_has_five_valid_and_three_invalid_rows() {
    assert_eq!(compare(&fixtures("")).await, 1);
}
