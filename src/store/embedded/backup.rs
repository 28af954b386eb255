//! Backup, restore and check of a data directory, by a process beside the service or without it.
//!
//! A backup is one point in time: the database is copied in one read transaction (SQLite's backup API), and event files
//! are copied before *and* after it. A file of a batch that was deleted before the second copy makes it start over.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use serde::de::DeserializeOwned;

use super::{DATABASE_FILE, batch::HAS_EVENTS, event::sync_directory, lock};
use crate::{
    model::{Batch, BatchId, EventDigest, Job},
    store::{Result, StoreError, claim_directory, corrupt, io, parquet_file::open_checked},
};

/// Attempts to copy a database and all files of its batches while batches are deleted.
const ATTEMPTS: usize = 10;
/// The directory of event files.
const BATCHES: &str = "batches";
/// What is added to the name of a backup until it is complete.
const UNFINISHED: &str = ".unfinished";

/// The extent of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupSummary {
    /// Batches with an event file.
    pub batches: usize,
    /// Bytes of database and files.
    pub bytes: u64,
}

/// What a check of a data directory found.
#[derive(Debug, Default)]
pub struct CheckReport {
    /// Batches with an event file.
    pub batches: usize,
    /// What is wrong, one line each. Empty if all is well.
    pub faults: Vec<String>,
    /// Event files that no batch needs.
    pub orphans: Vec<PathBuf>,
}

/// The batches of a database that need an event file, each with the digest of the file, if its seal recorded one.
type NeededFiles = BTreeMap<BatchId, Option<EventDigest>>;

/// Copies the data directory `dir` to a new directory `to`. The service may be running.
///
/// # Errors
/// [`StoreError::Setup`] if `dir` has no store, or `to` exists; [`StoreError::Corrupt`] if a file is damaged;
/// [`StoreError::Blocked`] or [`StoreError::Unavailable`] if a disk refuses. Nothing is at `to` then.
pub fn backup(dir: &Path, to: &Path) -> Result<BackupSummary> {
    require_store(dir)?;
    // Without a trailing slash, the unfinished copy stands beside the target.
    let to = &to.components().collect::<PathBuf>();
    if to.exists() {
        let to = to.display();
        return Err(StoreError::Setup(format!(
            "{to} exists already: name a new directory for the backup"
        )));
    }
    let unfinished = with_suffix(to);
    if unfinished.exists() {
        require_backup_files(&unfinished)?;
        // Of a backup that was killed.
        fs::remove_dir_all(&unfinished).map_err(|why| io("removing an unfinished backup", why))?;
    }
    fs::create_dir_all(unfinished.join(BATCHES)).map_err(|why| io("creating a backup", why))?;
    let needed = copy_point_in_time(dir, &unfinished)?;
    finish_database(&unfinished.join(DATABASE_FILE))?;
    let bytes = verify_files(&unfinished, &needed)?;
    sync_directory(&unfinished.join(BATCHES))?;
    sync_directory(&unfinished)?;
    fs::rename(&unfinished, to).map_err(|why| io("naming a backup", why))?;
    sync_directory(
        to.parent()
            .filter(|p| !p.as_os_str().is_empty())
            .unwrap_or(Path::new(".")),
    )?;
    Ok(BackupSummary {
        batches: needed.len(),
        bytes,
    })
}

/// Copies the backup `from` into the data directory `dir`, which must not have a store.
///
/// # Errors
/// As [`backup`]. A restore that fails leaves no database, so that the service refuses to start.
pub fn restore(from: &Path, dir: &Path) -> Result<BackupSummary> {
    require_store(from)?;
    claim_directory(dir)?;
    fs::create_dir_all(dir.join(BATCHES)).map_err(|why| io("creating the data directory", why))?;
    let _lock = lock::acquire(dir)?;
    for name in [DATABASE_FILE, "tallymill.db-wal", "tallymill.db-shm"] {
        if dir.join(name).exists() {
            let dir = dir.display();
            return Err(StoreError::Setup(format!(
                "{dir} has a store already ({name}): move it away, or set DATA_DIR to another directory"
            )));
        }
    }
    let source = open(&from.join(DATABASE_FILE))?;
    check_integrity(&source)?;
    let needed = needed_files(&source)?;
    drop(source);
    for id in needed.keys() {
        copy(&event_file(from, *id), &event_file(dir, *id))?;
    }
    let bytes = verify_files(dir, &needed)?;
    // The database last, by a rename: without it, the directory has no store.
    let unfinished = with_suffix(&dir.join(DATABASE_FILE));
    copy(&from.join(DATABASE_FILE), &unfinished)?;
    let length = fs::metadata(&unfinished)
        .map_err(|why| io("the database", why))?
        .len();
    sync_directory(&dir.join(BATCHES))?;
    fs::rename(&unfinished, dir.join(DATABASE_FILE))
        .map_err(|why| io("naming the database", why))?;
    sync_directory(dir)?;
    Ok(BackupSummary {
        batches: needed.len(),
        bytes: bytes + length,
    })
}

/// Checks database and event files of a data directory. The service may be running.
///
/// # Errors
/// [`StoreError::Setup`] if `dir` has no store; [`StoreError`] if the database can't be read at all.
pub fn check(dir: &Path) -> Result<CheckReport> {
    require_store(dir)?;
    let mut report = CheckReport::default();
    let database = open(&dir.join(DATABASE_FILE))?;
    if let Err(fault) = check_integrity(&database) {
        report.faults.push(fault.to_string());
    }
    report
        .faults
        .extend(undecodable::<Batch>(&database, "batches")?);
    report.faults.extend(undecodable::<Job>(&database, "jobs")?);
    let needed = needed_files(&database)?;
    report.batches = needed.len();
    for (id, digest) in &needed {
        if let Err(fault) = open_checked(&event_file(dir, *id), digest.as_ref())
            // Deleted since the database was read.
            && needed_files(&database)?.contains_key(id)
        {
            report.faults.push(fault.to_string());
        }
    }
    for file in event_files(dir)? {
        if batch_of(&file).is_none_or(|id| !needed.contains_key(&id))
            && !is_known(&database, &file)?
        {
            report.orphans.push(file);
        }
    }
    Ok(report)
}

/// Copies files, database, and the files that the database needs beside them.
fn copy_point_in_time(dir: &Path, to: &Path) -> Result<NeededFiles> {
    for _ in 0..ATTEMPTS {
        for file in event_files(dir)? {
            if let Some(id) = batch_of(&file) {
                copy_if_new(&file, &event_file(to, id))?;
            }
        }
        let copied = to.join(DATABASE_FILE);
        copy_database(&dir.join(DATABASE_FILE), &copied)?;
        let needed = needed_files(&open(&copied)?)?;
        let mut complete = true;
        for id in needed.keys() {
            complete &= copy_if_new(&event_file(dir, *id), &event_file(to, *id))?;
        }
        if complete || is_lost(dir, &needed)? {
            remove_others(to, &needed)?;
            return Ok(needed);
        }
    }
    Err(StoreError::Unavailable {
        what: "a backup",
        source: "batches are deleted faster than their files can be copied: try again later".into(),
    })
}

/// Whether the service itself misses a file, so that another attempt would miss it too. The backup then fails by its name.
fn is_lost(dir: &Path, needed: &NeededFiles) -> Result<bool> {
    let now = needed_files(&open(&dir.join(DATABASE_FILE))?)?;
    let mut missing = needed.keys().filter(|id| !event_file(dir, **id).exists());
    Ok(missing.any(|id| now.contains_key(id)))
}

fn remove_others(to: &Path, needed: &NeededFiles) -> Result<()> {
    for file in event_files(to)? {
        if batch_of(&file).is_none_or(|id| !needed.contains_key(&id)) {
            fs::remove_file(&file).map_err(|why| io("removing a file of a backup", why))?;
        }
    }
    Ok(())
}

/// Copies a database in one read transaction, which writers do not wait for.
fn copy_database(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_file(to).map_err(|why| io("replacing a database", why))?;
    }
    let source = open(from)?;
    let mut target = Connection::open(to)?;
    let copy = Backup::new(&source, &mut target)?;
    // In one step: with several, each write of the service would start the copy anew.
    match copy.step(-1)? {
        StepResult::Done => Ok(()),
        other => Err(StoreError::Unavailable {
            what: "copying the database",
            source: format!("another program holds it: {other:?}").into(),
        }),
    }
}

/// Removes what a backup does not have (files in progress), and makes the copy one durable file.
fn finish_database(path: &Path) -> Result<()> {
    let database = Connection::open(path)?;
    database.execute_batch(
        "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; DELETE FROM parts; DELETE FROM transfers WHERE open = 1;",
    )?;
    check_integrity(&database)?;
    drop(database);
    let file = fs::File::open(path).map_err(|why| io("the database", why))?;
    file.sync_all().map_err(|why| io("the database", why))
}

fn check_integrity(database: &Connection) -> Result<()> {
    let result: String = database.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if result == "ok" {
        Ok(())
    } else {
        Err(corrupt(super::db::DATABASE, &result))
    }
}

fn needed_files(database: &Connection) -> Result<NeededFiles> {
    // A damaged document must not keep the others from being saved or checked.
    let mut query = database.prepare(&format!(
        "SELECT id, CASE WHEN json_valid(doc) THEN json_extract(doc, '$.receipt.event_digest') END FROM batches
         WHERE {HAS_EVENTS}"
    ))?;
    let files = query.query_map([], |row| {
        let digest: Option<String> = row.get(1)?;
        Ok((super::batch::id_of(row)?, digest.map(EventDigest)))
    })?;
    Ok(files.collect::<rusqlite::Result<_>>()?)
}

/// Returns a fault for each row of a table whose document can't be decoded.
fn undecodable<T: DeserializeOwned>(database: &Connection, table: &str) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut query = database.prepare(&format!("SELECT id, doc FROM {table}"))?;
    let mut rows = query.query([])?;
    while let Some(row) = rows.next()? {
        let (id, doc): (String, String) = (row.get(0)?, row.get(1)?);
        if let Err(why) = serde_json::from_str::<T>(&doc) {
            faults.push(format!("{id} of `{table}` can't be decoded: {why}"));
        }
    }
    Ok(faults)
}

/// Whether the database has any batch of the file's name: a deleted one, or one that is being received.
fn is_known(database: &Connection, file: &Path) -> Result<bool> {
    let Some(id) = batch_of(file) else {
        return Ok(false);
    };
    let mut query = database.prepare_cached("SELECT 1 FROM batches WHERE id = ?1")?;
    Ok(query.exists([id.to_string()])?)
}

/// Checks all files against their digests. Returns their bytes.
fn verify_files(dir: &Path, needed: &NeededFiles) -> Result<u64> {
    let mut bytes = 0;
    for (id, digest) in needed {
        let file = open_checked(&event_file(dir, *id), digest.as_ref())?;
        file.sync_all().map_err(|why| io("an event file", why))?;
        bytes += file
            .metadata()
            .map_err(|why| io("an event file", why))?
            .len();
    }
    Ok(bytes)
}

/// Opens a database that another process may be writing.
fn open(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let database = Connection::open_with_flags(path, flags)?;
    database.execute_batch("PRAGMA query_only = ON")?;
    Ok(database)
}

fn require_store(dir: &Path) -> Result<()> {
    if dir.join(DATABASE_FILE).is_file() && dir.join(BATCHES).is_dir() {
        return Ok(());
    }
    let dir = dir.display();
    Err(StoreError::Setup(format!(
        "{dir} has no store: it needs {DATABASE_FILE} and the directory {BATCHES}"
    )))
}

/// Refuses to replace a directory with files that no backup has.
fn require_backup_files(dir: &Path) -> Result<()> {
    let is_own = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name == BATCHES || name.starts_with(DATABASE_FILE)
    };
    match super::startup::list(dir)?.iter().find(|file| !is_own(file)) {
        None => Ok(()),
        Some(file) => Err(StoreError::Setup(format!(
            "{} is not of a backup that was cut short, so its directory is not replaced: move it away, or name another directory",
            file.display()
        ))),
    }
}

fn event_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = super::startup::list(&dir.join(BATCHES))?;
    files.retain(|file| super::startup::is_event_file(file));
    Ok(files)
}

fn event_file(dir: &Path, id: BatchId) -> PathBuf {
    dir.join(BATCHES).join(format!("{id}.parquet"))
}

fn batch_of(file: &Path) -> Option<BatchId> {
    file.file_stem()?.to_str()?.parse().ok()
}

/// Copies a file unless the copy exists: event files never change. Returns false if there is no such file.
fn copy_if_new(from: &Path, to: &Path) -> Result<bool> {
    if to.exists() {
        return Ok(true);
    }
    match copy(from, to) {
        Err(StoreError::Missing { .. }) => Ok(false),
        copied => copied.map(|()| true),
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let unfinished = with_suffix(to);
    match fs::copy(from, &unfinished) {
        Ok(_) => fs::rename(&unfinished, to).map_err(|why| io("naming a copy", why)),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound && !from.exists() => {
            Err(StoreError::Missing {
                what: from.display().to_string(),
            })
        }
        Err(why) => Err(io("copying a file", why)),
    }
}

fn with_suffix(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}
