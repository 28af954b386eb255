//! What the real binary prints when its data directory can't be used: the path, the cause in words, and a remedy.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use crate::helpers::process::tallymill;

/// Asserts exit code 2 and one sentence with these parts; no clause of it stands twice.
fn is_refused_with(output: &Output, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.starts_with("tallymill: can't "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for part in parts {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let mut clauses: Vec<_> = said.trim().split([':', ';']).map(str::trim).collect();
    let all = clauses.len();
    clauses.sort_unstable();
    clauses.dedup();
    assert_eq!(clauses.len(), all, "a clause stands twice: {said}");
}

fn start(data: &Path, command: &str) -> Output {
    let mut serve = tallymill(data, &[]);
    serve.arg(command).stdin(Stdio::null());
    serve.output().expect("runs")
}

#[test]
fn a_start_names_path_cause_and_remedy() {
    let home = tempfile::tempdir().expect("a directory");
    let directory = |path: &Path| fs::create_dir_all(path).expect("made");
    let file = |path: &Path| {
        directory(path.parent().expect("a parent"));
        fs::write(path, "no database, but some text that is longer than a header of one hundred bytes: it fills two lines\n").expect("written");
    };
    type Fault<'a> = (&'a str, &'a dyn Fn(&Path), &'a [&'a str]);
    let faults: [Fault<'_>; 6] = [
        ("", &file, &["Not a directory", "set DATA_DIR"]),
        ("batches", &file, &["File exists", "move it away"]),
        ("parts", &file, &["File exists", "move it away"]),
        (
            "tallymill.lock",
            &directory,
            &["tallymill.lock: Is a directory", "move it away"],
        ),
        (
            "tallymill.db",
            &directory,
            &["tallymill.db: Is a directory", "move it away"],
        ),
        (
            "tallymill.db",
            &file,
            &["file is not a database", "restore it from a backup"],
        ),
    ];
    for (at, (name, damage, parts)) in faults.into_iter().enumerate() {
        let data = home.path().join(format!("data-{at}"));
        let damaged = if name.is_empty() {
            data.clone()
        } else {
            data.join(name)
        };
        damage(&damaged);
        let path = data.display().to_string();
        for command in ["serve", "migrate"] {
            let parts = [&[path.as_str()], parts].concat();
            is_refused_with(&start(&data, command), &parts);
        }
    }
}

#[test]
fn a_disk_without_space_is_named_at_the_start() {
    let home = tempfile::tempdir().expect("a directory");
    let data = home.path().join("data");
    let path = data.display().to_string();
    is_refused_with(
        &start_without_space(&data),
        &[&path, "File too large", "free space"],
    );
    fs::write(data.join(".tallymill"), "").expect("marks it");
    is_refused_with(
        &start_without_space(&data),
        &[&path, "tallymill.db", "disk I/O error", "check the disk"],
    );
}

/// Starts the service where the system refuses every write to a file, as a full disk does.
fn start_without_space(data: &Path) -> Output {
    let mut serve = Command::new("sh");
    serve.args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" serve"]);
    let bare = tallymill(data, &[]);
    serve.arg(bare.get_program()).env_clear();
    serve.envs(
        bare.get_envs()
            .filter_map(|(key, value)| Some((key, value?))),
    );
    let home = data.parent().expect("a parent");
    serve.current_dir(home).output().expect("runs")
}
