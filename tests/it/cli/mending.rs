//! Dry runs of `import`, and rejected rows that are saved, corrected and imported.

use super::TestStore;

#[test]
fn rejected_rows_are_saved_corrected_and_imported() {
    let home = TestStore::new();
    let bad = home.dir.path().join("bad.csv").display().to_string();
    let first = home.run(&[], &["import", "--errors", &bad, &home.file("events.csv")]);
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
    let second = home.run(&[], &["import", "--parent", parent, &bad]);
    assert_eq!(second.code, Some(0), "{}{}", second.out, second.err);
    assert!(
        second.out.contains("inserted              3"),
        "{}",
        second.out
    );
    let two = home.run(
        &[],
        &[
            "import",
            "--errors",
            &bad,
            &home.file("events.csv"),
            &home.file("events.csv"),
        ],
    );
    assert_eq!(two.code, Some(2), "{}", two.err);
    let over = home.run(&[], &["import", "--errors", &bad, &bad]);
    assert_eq!(over.code, Some(2), "{}", over.err);
    let directory = home.run(&[], &["import", "."]);
    assert_eq!(directory.code, Some(2), "{}", directory.err);
}

#[test]
fn a_file_can_be_looked_at() {
    let home = TestStore::new();
    let looked = home.run(&[], &["import", "--dry-run", &home.file("events.csv")]);
    assert_eq!(looked.code, Some(0), "{}", looked.err);
    assert!(
        looked
            .out
            .starts_with("events.csv: dry run, nothing stored"),
        "{}",
        looked.out
    );
    assert_eq!(
        looked.out.matches("test_started").count(),
        2,
        "{}",
        looked.out
    );
    assert!(!looked.out.contains("counted"), "{}", looked.out);
}
