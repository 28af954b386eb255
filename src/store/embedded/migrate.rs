//! Schema migrations: numbered steps, each applied once and recorded; all pending ones in one transaction.

use rusqlite::{Connection, TransactionBehavior};

use crate::store::{Result, StoreError};

/// All steps, oldest first. A released step is never edited.
const STEPS: [(&str, &str); 9] = [
    (
        "0001_start",
        include_str!("../../../migrations/sqlite/0001_start.sql"),
    ),
    (
        "0002_keys",
        include_str!("../../../migrations/sqlite/0002_keys.sql"),
    ),
    (
        "0003_event_times",
        include_str!("../../../migrations/sqlite/0003_event_times.sql"),
    ),
    (
        "0004_profiles",
        include_str!("../../../migrations/sqlite/0004_profiles.sql"),
    ),
    (
        "0005_transfers",
        include_str!("../../../migrations/sqlite/0005_transfers.sql"),
    ),
    (
        "0006_parents",
        include_str!("../../../migrations/sqlite/0006_parents.sql"),
    ),
    (
        "0007_wanted",
        include_str!("../../../migrations/sqlite/0007_wanted.sql"),
    ),
    (
        "0008_retention",
        include_str!("../../../migrations/sqlite/0008_retention.sql"),
    ),
    (
        "0009_day_sums",
        include_str!("../../../migrations/sqlite/0009_day_sums.sql"),
    ),
];

/// Applies the pending steps.
pub(super) fn run(connection: &mut Connection) -> Result<()> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    change.execute_batch(
        "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY) WITHOUT ROWID, STRICT",
    )?;
    let applied: Vec<String> = change
        .prepare("SELECT name FROM migrations ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    if let Some(unknown) = applied
        .iter()
        .find(|name| !STEPS.iter().any(|(known, _)| known == name))
    {
        return Err(StoreError::Setup(format!(
            "the database has migration `{unknown}`, which this version does not know: start a version at least as new as the one that wrote it"
        )));
    }
    for (name, sql) in STEPS {
        if !applied.iter().any(|known| known == name) {
            change.execute_batch(sql)?;
            change.execute("INSERT INTO migrations (name) VALUES (?1)", [name])?;
        }
    }
    change.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_of_the_first_version_get_their_event_times() {
        let mut connection = Connection::open_in_memory().expect("memory");
        connection
            .execute_batch(STEPS[0].1)
            .expect("the first version");
        let old = "CREATE TABLE migrations (name TEXT PRIMARY KEY) WITHOUT ROWID, STRICT;
            INSERT INTO migrations VALUES ('0001_start');
            INSERT INTO batches (id, status, sealed, fence, checked_at, purges, doc) VALUES
                ('a', 'completed', 1, 1, 0, 0, '{\"receipt\":{\"event_time\":[5,7]}}'),
                ('b', 'deleted', 1, 1, 0, 0, '{\"receipt\":{\"event_time\":[5,7]}}'),
                ('c', 'receiving', 0, 1, 0, 0, '{\"receipt\":null}')";
        connection.execute_batch(old).expect("old batches");
        run(&mut connection).expect("to this version");
        let sql = "SELECT id, first_event, last_event FROM batches WHERE last_event IS NOT NULL";
        let found =
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        assert_eq!(found.expect("one row"), ("a".to_owned(), 5, 7));
    }

    #[test]
    fn published_runs_of_older_versions_are_listed_by_day() {
        let mut connection = Connection::open_in_memory().expect("memory");
        let mut applied =
            "CREATE TABLE migrations (name TEXT PRIMARY KEY) WITHOUT ROWID, STRICT;".to_owned();
        for (name, sql) in STEPS
            .iter()
            .take_while(|(name, _)| *name != "0009_day_sums")
        {
            connection.execute_batch(sql).expect("an older version");
            applied += &format!("INSERT INTO migrations VALUES ('{name}');");
        }
        let old = "INSERT INTO batches (id, status, sealed, fence, checked_at, purges, published_token, doc) VALUES
                ('a', 'completed', 1, 3, 0, 0, 3, '{}'), ('b', 'processing', 1, 2, 0, 0, NULL, '{}');
            INSERT INTO partials (day, batch, token, event_type, data)
                SELECT 7, seq, 3, type, x'' FROM batches, (SELECT 'x' AS type UNION SELECT 'y') WHERE id = 'a';
            INSERT INTO partials (day, batch, token, event_type, data)
                SELECT 8, seq, 2, 'x', x'' FROM batches;";
        connection
            .execute_batch(&(applied + old))
            .expect("old partials");
        run(&mut connection).expect("to this version");
        let mut query = connection
            .prepare("SELECT day, id, token FROM day_batches JOIN batches ON seq = batch")
            .expect("a query");
        let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let found: Vec<(i32, String, i64)> = found
            .expect("rows")
            .map(|row| row.expect("a row"))
            .collect();
        assert_eq!(found, [(7, "a".to_owned(), 3)]);
    }

    #[test]
    fn each_step_runs_once_and_a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().expect("memory");
        run(&mut connection).expect("from nothing");
        run(&mut connection).expect("again");
        connection
            .execute("INSERT INTO migrations VALUES ('9999_later')", [])
            .expect("insert");
        assert!(
            matches!(run(&mut connection), Err(StoreError::Setup(why)) if why.contains("9999_later"))
        );
    }
}
