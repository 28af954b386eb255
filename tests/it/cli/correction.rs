//! Dry runs of `import`, and rejected rows that are saved, corrected and imported.

use super::Workspace;

#[test]
fn rejected_rows_are_saved_corrected_and_imported() {
    let workspace = Workspace::new();
    let bad = workspace.dir.path().join("bad.csv").display().to_string();
    let first = workspace.run(
        &[],
        &["import", "--errors", &bad, &workspace.file("events.csv")],
    );
    assert_eq!(first.code, Some(0), "{}", first.err);
    let parent = first
        .out
        .split("batch ")
        .nth(1)
        .and_then(|rest| rest.split_whitespace().next());
    let parent = parent.expect("names the batch");
    assert!(
        first
            .out
            .contains(&format!("import that file with --parent {parent}")),
        "{}",
        first.out
    );
    let rows = std::fs::read_to_string(&bad).expect("was written");
    assert_eq!(rows.lines().count(), 4, "{rows}");
    // Each row lacks one of three values: a cell that is empty gets one that fits any of them.
    let mended = rows.replace("\"\",", "\"2025-11-10\",");
    std::fs::write(&bad, mended).expect("writes");
    let second = workspace.run(&[], &["import", "--parent", parent, &bad]);
    assert_eq!(second.code, Some(0), "{}{}", second.out, second.err);
    assert!(
        second.out.contains("inserted              3"),
        "{}",
        second.out
    );
    let two = workspace.run(
        &[],
        &[
            "import",
            "--errors",
            &bad,
            &workspace.file("events.csv"),
            &workspace.file("events.csv"),
        ],
    );
    assert_eq!(two.code, Some(2), "{}", two.err);
    let over = workspace.run(&[], &["import", "--errors", &bad, &bad]);
    assert_eq!(over.code, Some(2), "{}", over.err);
    let directory = workspace.run(&[], &["import", "."]);
    assert_eq!(directory.code, Some(2), "{}", directory.err);
}

#[test]
fn a_file_can_be_looked_at() {
    let workspace = Workspace::new();
    let dry_run = workspace.run(&[], &["import", "--dry-run", &workspace.file("events.csv")]);
    assert_eq!(dry_run.code, Some(0), "{}", dry_run.err);
    assert!(
        dry_run
            .out
            .starts_with("events.csv: dry run, nothing stored"),
        "{}",
        dry_run.out
    );
    assert_eq!(
        dry_run.out.matches("test_started").count(),
        2,
        "{}",
        dry_run.out
    );
    assert!(!dry_run.out.contains("counted"), "{}", dry_run.out);
}
