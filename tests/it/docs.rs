//! The documents agree with the code, and their links lead somewhere.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use tallymill::{http::Code, model::FaultCode};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).expect("a document")
}

/// Every Markdown file of the repository root and of `docs`.
fn documents() -> Vec<PathBuf> {
    let mut dirs = vec![root().join("docs")];
    let mut found = Vec::new();
    let entries = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).expect("a directory");
        entries
            .map(|entry| entry.expect("an entry").path())
            .collect()
    };
    found.extend(entries(root()));
    while let Some(dir) = dirs.pop() {
        for path in entries(&dir) {
            if path.is_dir() {
                dirs.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.retain(|path| path.extension().is_some_and(|kind| kind == "md"));
    found
}

/// The anchor that a heading has, as code hosts make it.
fn anchor(heading: &str) -> String {
    let kept = heading.to_lowercase();
    kept.chars()
        .filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-')
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

#[test]
fn every_code_is_documented() {
    let documents = read("docs/errors.md") + &read("docs/files.md");
    let faults = FaultCode::ALL.map(FaultCode::as_str);
    let problems = Code::ALL.iter().map(|code| code.slug());
    let missing: Vec<_> = faults
        .into_iter()
        .chain(problems)
        .filter(|code| !documents.contains(&format!("`{code}`")))
        .collect();
    assert_eq!(missing, [""; 0], "not in docs/errors.md or docs/files.md");
}

/// The text of every source file.
fn sources() -> String {
    let (mut dirs, mut text) = (vec![root().join("src")], String::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                text += &fs::read_to_string(&path).expect("text");
            }
        }
    }
    text
}

#[test]
fn every_log_line_worth_an_alert_is_one_of_the_code() {
    let (page, sources) = (read("docs/operations.md"), sources());
    let (_, table) = page.split_once("Lines worth an alert:").expect("a table");
    let rows: Vec<_> = table.lines().filter(|row| row.starts_with("| `")).collect();
    assert!(rows.len() > 10, "the table is found");
    for row in rows {
        let line = row.split('`').nth(1).expect("a message");
        for part in line
            .split('…')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            assert!(sources.contains(part), "no line of the log has `{part}`");
        }
    }
}

#[test]
fn every_link_within_the_documents_leads_somewhere() {
    let mut broken = BTreeSet::new();
    for document in documents() {
        let text = fs::read_to_string(&document).expect("text");
        let dir = document.parent().expect("a directory");
        for link in text.split("](").skip(1) {
            let link = link.split(')').next().unwrap_or_default();
            if link.contains("://") {
                continue;
            }
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() {
                document.clone()
            } else {
                dir.join(path)
            };
            let leads = target.exists()
                && (heading.is_empty() || {
                    let target = fs::read_to_string(&target).expect("text");
                    let mut headings = target.lines().filter(|line| line.starts_with('#'));
                    headings.any(|line| anchor(line.trim_start_matches('#').trim()) == heading)
                });
            if !leads {
                broken.insert(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn readme_and_architecture_stay_short() {
    for (path, lines) in [("README.md", 120), ("ARCHITECTURE.md", 120)] {
        let found = read(path).lines().count();
        assert!(
            found <= lines,
            "{path} has {found} lines, not at most {lines}"
        );
    }
}

#[test]
fn architecture_lists_the_modules_in_the_order_of_lib() {
    let declared: Vec<String> = read("src/lib.rs")
        .lines()
        .filter_map(|line| {
            line.strip_prefix("pub mod ")?
                .strip_suffix(';')
                .map(str::to_owned)
        })
        .collect();
    let map = read("ARCHITECTURE.md");
    let listed: Vec<&str> = map
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|name| declared.iter().any(|module| module == name))
        .collect();
    assert_eq!(listed, declared, "the module table of ARCHITECTURE.md");
}
