//! The commands as a user runs them: output, refusals, exit codes.

mod correction;
mod tls;

use std::{
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::helpers::{
    http_client,
    process::{Service, tallymill},
};

const IMPORTED: &str = "\
events.csv: batch ID
  received              8
  inserted              5
  failed                3
  blank                 0
  line 7, column candidate_id: `candidate_id` is empty (missing-value)
    → fill in the cell, or remove the row; `--anonymous keep` counts rows without a user as events
  line 8, column event_type: `event_type` is empty (missing-value)
    → fill in the cell, or remove the row
  line 9, column timestamp: `timestamp` is empty (missing-value)
  counted               5
  duplicate             0
  conflict              0

date        event type         count  unique users
2025-11-08  question_answered      1             1
2025-11-08  test_abandoned         1             1
2025-11-08  test_started           1             1
2025-11-08  total                  3             2
2025-11-09  test_started           1             1
2025-11-09  total                  1             1
2025-11-10  test_completed         1             1
2025-11-10  total                  1             1

";

struct Workspace {
    dir: TempDir,
}

impl Workspace {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().expect("a directory"),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs a command in this directory.
    fn run(&self, settings: &[(&str, &str)], arguments: &[&str]) -> CommandResult {
        let mut command = tallymill(&self.data(), settings);
        command.stdin(Stdio::null()).args(arguments);
        CommandResult::of(&command.output().expect("runs"))
    }

    /// Copies a sample file to this directory.
    fn file(&self, sample: &str) -> String {
        let from = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fixtures")
            .join(sample);
        let name = from.file_name().expect("a name").to_owned();
        std::fs::copy(from, self.dir.path().join(&name)).expect("copies");
        name.to_string_lossy().into_owned()
    }
}

#[derive(Debug)]
struct CommandResult {
    code: Option<i32>,
    out: String,
    err: String,
}

impl CommandResult {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            code: output.status.code(),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// Returns the output with every batch id replaced by `ID`.
    fn masked(&self) -> String {
        let mut lines = Vec::new();
        for line in self.out.split('\n') {
            lines.push(match line.split_once(": batch ") {
                Some((name, _)) => format!("{name}: batch ID"),
                None => line.to_owned(),
            });
        }
        lines.join("\n")
    }
}

#[test]
fn import_prints_counts_errors_and_days() {
    let workspace = Workspace::new();
    let file = workspace.file("events.csv");
    let ran = workspace.run(&[], &["import", &file]);
    assert_eq!((ran.code, ran.masked().as_str()), (Some(0), IMPORTED));
    assert_eq!(ran.err, "");
    let again = workspace.run(&[], &["import", &file]);
    let said = "events.csv: batch ID\n  the same file was uploaded before, as this batch\n";
    assert!(again.masked().starts_with(said), "{again:?}");
    let table = IMPORTED.split("\n\n").nth(1).expect("a table");
    assert!(again.out.contains(table), "counted once: {again:?}");
}

#[test]
fn a_refused_file_exits_with_2_and_a_remedy() {
    let workspace = Workspace::new();
    for (sample, said) in [
        ("bad/misspelt-columns.csv", "pass `--columns event_type:"),
        (
            "bad/events-missing-timestamp.csv",
            "missing column `timestamp`",
        ),
        ("bad/gzip-cut-off.csv", "damaged or cut off"),
        ("bad/xlsx.csv", "export the sheet as CSV"),
        ("bad/empty.csv", "the file is empty"),
        (
            "bad/no-valid-rows.csv",
            "line 4, column timestamp: `timestamp` is in no accepted form: yesterday",
        ),
    ] {
        let file = workspace.file(sample);
        let ran = workspace.run(&[], &["import", &file]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(
            ran.err.starts_with(&format!("tallymill: {file}: ")),
            "{ran:?}"
        );
        assert!(ran.err.contains(said), "{ran:?}");
    }
    let ran = workspace.run(&[], &["import", "nowhere.csv"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err
            .starts_with("tallymill: nowhere.csv: can't be read: "),
        "{ran:?}"
    );
}

#[test]
fn dialect_options_are_passed_on() {
    let workspace = Workspace::new();
    let file = workspace.file("good/windows-1252.csv");
    let stated = ["--encoding", "windows-1252", "--delimiter", "comma"];
    let ran = workspace.run(&[], &[&["import", &*file], &stated[..]].concat());
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let bad = workspace.file("bad/missing-values.csv");
    let ran = workspace.run(&[], &["import", &bad, "--on-error", "abort"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("on_error=abort"), "{ran:?}");
}

#[tokio::test]
async fn import_uses_the_server_of_its_directory() {
    let workspace = Workspace::new();
    let file = workspace.file("events.csv");
    let service = Service::start(&workspace.data(), &[]).await;
    let mut command = tallymill(&workspace.data(), &[]);
    command.args(["import", &file]);
    let ran = tokio::task::spawn_blocking(move || command.output().expect("runs"));
    let ran = CommandResult::of(&ran.await.expect("no panic"));
    assert_eq!(
        (ran.code, ran.masked().as_str()),
        (Some(0), IMPORTED),
        "{ran:?}"
    );
    let request = http_client().get(format!("{}/batches", service.url));
    let answer = request.send().await;
    let list: Value = answer.expect("answers").json().await.expect("JSON");
    assert_eq!(list["data"][0]["file"]["name"], "events.csv");
    assert_eq!(list["data"][0]["status"], "completed");
}

#[test]
fn equal_seeds_generate_equal_files_that_import() {
    let workspace = Workspace::new();
    let generate = |seed| workspace.run(&[], &["generate", "--rows", "2000", "--seed", seed]);
    let csv = generate("7").out;
    assert_eq!(csv, generate("7").out);
    assert_ne!(csv, generate("8").out);
    assert_eq!(csv.lines().count(), 2_001);
    let path = workspace.dir.path().join("sample.csv");
    std::fs::write(path, &csv).expect("writes");
    let ran = workspace.run(&[], &["import", "sample.csv"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let count = |name: &str| -> u64 {
        let line = ran
            .out
            .lines()
            .find_map(|line| line.trim().strip_prefix(name));
        let digits = line.unwrap_or_default().trim().replace(',', "");
        digits
            .parse()
            .unwrap_or_else(|_| panic!("no {name} in {ran:?}"))
    };
    assert_eq!(count("received"), 2_000);
    assert_eq!(count("inserted") + count("failed"), 2_000);
    assert!(count("failed") < 20, "few rows are bad");
    assert!((1..=60).contains(&count("duplicate")), "some rows repeat");
    assert_eq!(count("conflict"), 0);
    let to_file = [
        "generate", "--rows", "2000", "--seed", "7", "--output", "b.csv",
    ];
    assert_eq!(workspace.run(&[], &to_file).code, Some(0));
    let written = std::fs::read_to_string(workspace.dir.path().join("b.csv"));
    assert_eq!(written.expect("reads"), csv);
}

#[test]
fn every_wrong_setting_is_named_at_start() {
    let workspace = Workspace::new();
    let wrong = [
        ("PORT", "http"),
        ("TIME_ZONE", "Mars"),
        ("WORKER_CONCURRENCY", "0"),
        ("REDIS_URL", "redis://:secret@cache"),
    ];
    for command in ["serve", "migrate"] {
        let ran = workspace.run(&wrong, &[command]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(
            ran.err.starts_with("tallymill: 4 of the settings"),
            "{ran:?}"
        );
        for (name, _) in wrong {
            assert!(ran.err.contains(name), "{ran:?}");
        }
        assert!(!ran.err.contains("secret"), "{ran:?}");
    }
    let ran = workspace.run(&[("REPROCESS_CRON", "61 * * * *")], &["serve"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("REPROCESS_CRON `61 * * * *`"), "{ran:?}");
    assert!(
        !workspace.data().join("tallymill.db").exists(),
        "nothing was made"
    );
}

#[test]
fn a_worker_needs_a_store_to_share() {
    let ran = Workspace::new().run(&[], &["worker"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.err.contains("MONGO_URI") && ran.err.contains("tallymill serve"),
        "{ran:?}"
    );
}

#[test]
fn migrate_is_repeatable() {
    let workspace = Workspace::new();
    for _ in 0..2 {
        let ran = workspace.run(&[], &["migrate"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let said =
            "the embedded store is at the schema of this version; its days are counted in UTC";
        assert!(ran.out.contains(said), "{ran:?}");
    }
    let ran = workspace.run(&[("TIME_ZONE", "Europe/Berlin")], &["migrate"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.err.contains("set TIME_ZONE=UTC"), "{ran:?}");
}

#[test]
fn help_names_every_option_with_an_example() {
    let workspace = Workspace::new();
    for (arguments, said) in [
        (
            &["--help"][..],
            &[
                "serve",
                "worker",
                "import",
                "generate",
                "migrate",
                "healthcheck",
                "Examples:",
                "Exit codes:",
            ][..],
        ),
        (
            &["serve", "--help"],
            &["--no-worker", "SIGTERM", "DRAIN_SECONDS", "Examples:"],
        ),
        (&["worker", "--help"], &["MONGO_URI"]),
        (
            &["import", "--help"],
            &[
                "--source",
                "--dedupe",
                "--timestamp-format",
                "--time-zone",
                "--columns",
                "--server",
                "--force",
                "Examples:",
            ],
        ),
        (
            &["generate", "--help"],
            &["--rows", "--seed", "--ordered-ids", "--output", "Examples:"],
        ),
        (&["migrate", "--help"], &["DATA_DIR"]),
        (&["healthcheck", "--help"], &["DATA_DIR", "SWEEP_SECONDS"]),
    ] {
        let ran = workspace.run(&[], arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for said in said {
            assert!(
                ran.out.contains(said),
                "{arguments:?} does not mention {said}: {}",
                ran.out
            );
        }
    }
    for wrong in [
        &["import"][..],
        &["generate"],
        &["swim"],
        &["import", "--dedupe", "x", "y.csv"],
    ] {
        let ran = workspace.run(&[], wrong);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
        assert!(ran.err.contains("--help"), "{ran:?}");
    }
}
