//! The sample files, each with its reply beside it: `name.csv` and `name.json`, whose `status` is the HTTP status and
//! whose `reply` is a part of the body; `options`, where there are any, are sent with the file. What an analyst sees of a
//! file is pinned here.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::helpers::app::TestApp;

fn fixtures(sub: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(sub)
}

/// Where `found` lacks what is expected; objects may have more, lists may not.
fn differences(expected: &Value, found: &Value, at: &str, all: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (name, value) in expected {
                let within = found.get(name).unwrap_or(&Value::Null);
                differences(value, within, &format!("{at}.{name}"), all);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (n, (expected, found)) in expected.iter().zip(found).enumerate() {
                differences(expected, found, &format!("{at}[{n}]"), all);
            }
        }
        (expected, found) if expected == found => {}
        (expected, found) => all.push(format!("{at} is {found}, not {expected}")),
    }
}

/// Uploads every file of a directory and compares; gives how many there were.
async fn compare(dir: &Path) -> usize {
    let app = TestApp::start().await;
    let entries = std::fs::read_dir(dir).expect("a directory");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a name").path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "csv"));
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_stem().expect("a name").to_string_lossy();
        let beside = file.with_extension("json");
        let Ok(expected) = std::fs::read_to_string(&beside) else {
            wrong.push(format!("{name}: no expected reply in {name}.json"));
            continue;
        };
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        let csv = std::fs::read(file).expect("reads");
        // By a source of its own each: files that are equal byte for byte are not one batch here.
        let mut query = reqwest::Url::parse("http://localhost").expect("a URL");
        query.query_pairs_mut().append_pair("source", &name);
        for (option, value) in expected["options"].as_object().into_iter().flatten() {
            let value = value.as_str().expect("a text");
            query.query_pairs_mut().append_pair(option, value);
        }
        let query = query.query().unwrap_or_default();
        let answer = app.upload(&format!("?{query}"), csv).await;
        let mut all = Vec::new();
        let status = Value::from(answer.status.as_u16());
        differences(&expected["status"], &status, "status", &mut all);
        differences(&expected["reply"], &answer.json(), "reply", &mut all);
        wrong.extend(
            all.into_iter()
                .map(|difference| format!("{name}: {difference}")),
        );
    }
    app.stop().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    files.len()
}

#[tokio::test]
async fn good_files_are_read_as_their_authors_meant_them() {
    assert!(compare(&fixtures("good")).await >= 60);
}

#[tokio::test]
async fn bad_files_are_told_what_is_wrong_and_where() {
    assert!(compare(&fixtures("bad")).await >= 50);
}

#[tokio::test]
async fn the_sample_file_has_five_good_rows_and_three_bad_ones() {
    assert_eq!(compare(&fixtures("")).await, 1);
}
