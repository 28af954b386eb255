//! Transfers: a row each, with a row and a file per part. A part exists once its row does; a file without a row is an
//! orphan of a crash or a race and is deleted at the next start.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, params, params_from_iter};

use super::{
    EmbeddedStore, Mode, event::sync_directory, from_json, io_at, millis, startup::log_foreign,
    to_json,
};
use crate::{
    model::{
        Instant, Transfer, TransferId, TransferOutcome,
        transfer::{EMPTY_TTL, TTL},
    },
    store::{
        AppendPartOutcome, OpenTransfer, OpenTransferOutcome, Result, TransferLimits, TransferPart,
        TransferStore, corrupt,
        directory::{is_part, part_name},
        run_blocking,
    },
};

/// Rows of parts read in one step.
const PAGE: usize = 1_000;

#[async_trait]
impl TransferStore for EmbeddedStore {
    async fn open_transfer(
        &self,
        transfer: &Transfer,
        limits: TransferLimits,
    ) -> Result<OpenTransferOutcome> {
        let transfer = transfer.clone();
        self.db
            .write(move |db| {
                let outcome = limits.check_open(&open_transfers(db)?, transfer.sender.as_deref());
                if outcome != OpenTransferOutcome::Opened {
                    return Ok(outcome);
                }
                db.prepare_cached(
                    "INSERT INTO transfers (id, length, open, moved_at, doc) VALUES (?1, ?2, 1, ?3, ?4)",
                )?
                .execute(params![
                    transfer.id.to_string(),
                    transfer.length,
                    millis(transfer.moved_at),
                    to_json(&transfer)?
                ])?;
                Ok(OpenTransferOutcome::Opened)
            })
            .await
    }

    async fn transfer(&self, id: TransferId) -> Result<Option<(Transfer, u64)>> {
        self.db
            .read(move |db| {
                let Some(transfer) = read(db, id)? else {
                    return Ok(None);
                };
                Ok(Some((transfer, end(db, id)?)))
            })
            .await
    }

    async fn append_part(
        &self,
        id: TransferId,
        part: TransferPart,
        limits: TransferLimits,
    ) -> Result<AppendPartOutcome> {
        let TransferPart {
            start,
            bytes,
            arrived_at,
        } = part;
        let name = part_name(id, start, TransferId::at(arrived_at));
        let row = PartRow {
            transfer: id,
            start,
            length: bytes.len() as u64,
            file: name.clone(),
        };
        let path = self.part_path(&name);
        let durable = self.mode == Mode::Durable;
        // Whoever waits may go at any time: the file is removed by whatever holds it then, unless its row is written.
        let write = move || {
            let file = PartFile {
                path,
                has_row: false,
            };
            write(&file.path, &bytes, durable)?;
            Ok(file)
        };
        let file = self.run_on_files(write).await?;
        let append = move |db: &Transaction<'_>| {
            let mut file = file;
            let outcome = append(db, &row, arrived_at, limits)?;
            file.has_row = matches!(outcome, AppendPartOutcome::Appended(_));
            Ok(outcome)
        };
        self.db.write(append).await
    }

    async fn part(&self, id: TransferId, start: u64) -> Result<Option<Bytes>> {
        let name = self.db.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT file FROM parts WHERE transfer = ?1 AND start = ?2")?;
            let name = query.query_row(params![id.to_string(), start], |row| row.get(0));
            Ok(name.optional()?)
        });
        let Some(name): Option<String> = name.await? else {
            return Ok(None);
        };
        let path = self.part_path(&name);
        let read = move || fs::read(&path).map_err(|why| io_at("reading a part", &path, why));
        let bytes = run_blocking(read).await?;
        Ok(Some(bytes.into()))
    }

    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool> {
        let outcome = outcome.clone();
        self.db.write(move |db| settle(db, id, outcome)).await
    }

    async fn drop_parts(&self, id: TransferId) -> Result<()> {
        while self
            .drop_some_parts("WHERE transfer = ?1", Some(id.to_string()))
            .await?
        {}
        Ok(())
    }

    async fn prune_transfers(&self, now: Instant) -> Result<bool> {
        let Some(id) = self.db.write(move |db| terminate_expired(db, now)).await? else {
            let orphaned = "WHERE transfer NOT IN (SELECT id FROM transfers WHERE open = 1)";
            while self.drop_some_parts(orphaned, None).await? {}
            return Ok(false);
        };
        self.drop_parts(id).await?;
        self.db
            .write(move |db| {
                db.execute("DELETE FROM transfers WHERE id = ?1", [id.to_string()])?;
                Ok(true)
            })
            .await
    }
}

impl EmbeddedStore {
    fn part_path(&self, name: &str) -> PathBuf {
        self.dir.join("parts").join(name)
    }

    /// Deletes some parts that match. Returns whether more may remain.
    async fn drop_some_parts(
        &self,
        filter: &'static str,
        transfer: Option<String>,
    ) -> Result<bool> {
        let sql = format!("SELECT file FROM parts {filter} LIMIT {PAGE}");
        let names: Vec<String> = self
            .db
            .read(move |db| {
                let mut query = db.prepare_cached(&sql)?;
                let names = query.query_map(params_from_iter(transfer), |row| row.get(0))?;
                Ok(names.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        // Files before rows: after a crash the rows still list what to delete.
        let paths: Vec<_> = names.iter().map(|name| self.part_path(name)).collect();
        self.run_on_files(move || paths.iter().try_for_each(|path| remove(path)))
            .await?;
        let more = names.len() == PAGE;
        self.db
            .write(move |db| {
                let mut drop = db.prepare_cached("DELETE FROM parts WHERE file = ?1")?;
                for name in &names {
                    drop.execute([name])?;
                }
                Ok(more)
            })
            .await
    }

    /// Deletes orphaned part files, and truncates transfers before a missing one (a restored backup may lack it): their
    /// senders resume there.
    pub(super) async fn check_parts(&self) -> Result<()> {
        let dir = self.dir.join("parts");
        let unreadable = |why| io_at("reading a directory", &dir, why);
        for entry in fs::read_dir(&dir).map_err(unreadable)? {
            let file = entry.map_err(unreadable)?;
            let name = file.file_name().to_string_lossy().into_owned();
            if !is_part(&name) {
                log_foreign(&file.path());
                continue;
            }
            let has_row = self.db.read(move |db| {
                let mut query = db.prepare_cached("SELECT 1 FROM parts WHERE file = ?1")?;
                Ok(query.exists([name])?)
            });
            if !has_row.await? {
                tracing::info!(file = %file.path().display(), "deleting a part of an upload that has ended");
                remove(&file.path())?;
            }
        }
        let mut after = (String::new(), 0);
        loop {
            let rows = self.parts_after(after).await?;
            for (transfer, start, file) in &rows {
                if !self.part_path(file).exists() {
                    self.truncate(transfer.clone(), *start).await?;
                }
            }
            match rows.into_iter().nth(PAGE - 1) {
                Some((transfer, start, _)) => after = (transfer, start),
                None => return Ok(()),
            }
        }
    }

    /// Lists (transfer, start, file) of all parts, after a (transfer, start).
    async fn parts_after(&self, after: (String, u64)) -> Result<Vec<(String, u64, String)>> {
        let sql = format!(
            "SELECT transfer, start, file FROM parts WHERE (transfer, start) > (?1, ?2)
             ORDER BY transfer, start LIMIT {PAGE}"
        );
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(&sql)?;
                let rows = query.query_map(params![after.0, after.1], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
                Ok(rows.collect::<rusqlite::Result<_>>()?)
            })
            .await
    }

    /// Deletes the parts of a transfer from an offset on.
    async fn truncate(&self, transfer: String, start: u64) -> Result<()> {
        tracing::warn!(
            transfer,
            start,
            "a part of upload {transfer} is missing: the upload is truncated to {start} bytes, its sender resumes there"
        );
        self.db
            .write(move |db| {
                let sql = "DELETE FROM parts WHERE transfer = ?1 AND start >= ?2";
                db.execute(sql, params![transfer, start])?;
                Ok(())
            })
            .await
    }
}

fn read(db: &Connection, id: TransferId) -> Result<Option<Transfer>> {
    let mut query = db.prepare_cached("SELECT doc, moved_at FROM transfers WHERE id = ?1")?;
    let row: Option<(String, i64)> = query
        .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((doc, moved_at)) = row else {
        return Ok(None);
    };
    Ok(Some(Transfer {
        moved_at: Instant::from_timestamp_millis(moved_at).unwrap_or_default(),
        ..from_json("a transfer", &doc)?
    }))
}

/// Returns the end of a file.
fn end(db: &Connection, id: TransferId) -> Result<u64> {
    let sql = "SELECT start + length FROM parts WHERE transfer = ?1 ORDER BY start DESC LIMIT 1";
    let mut query = db.prepare_cached(sql)?;
    let end = query.query_row([id.to_string()], |row| row.get(0));
    Ok(end.optional()?.unwrap_or(0))
}

/// Returns the transfers without an outcome.
fn open_transfers(db: &Connection) -> Result<Vec<OpenTransfer>> {
    let sql = "SELECT json_extract(doc, '$.sender'), moved_at, coalesce((
                   SELECT start + parts.length FROM parts WHERE transfer = id ORDER BY start DESC LIMIT 1
               ), 0) FROM transfers WHERE open = 1";
    let mut query = db.prepare_cached(sql)?;
    let transfers = query.query_map([], |row| {
        Ok(OpenTransfer {
            sender: row.get(0)?,
            moved_at: Instant::from_timestamp_millis(row.get(1)?).unwrap_or_default(),
            end: row.get(2)?,
        })
    })?;
    Ok(transfers.collect::<rusqlite::Result<_>>()?)
}

/// Records the outcome of a transfer that has none. Returns whether it did.
fn settle(db: &Transaction<'_>, id: TransferId, outcome: TransferOutcome) -> Result<bool> {
    let Some(mut transfer) = read(db, id)?.filter(|t| t.outcome.is_none()) else {
        return Ok(false);
    };
    transfer.outcome = Some(outcome);
    db.prepare_cached("UPDATE transfers SET open = 0, doc = ?2 WHERE id = ?1")?
        .execute(params![id.to_string(), to_json(&transfer)?])?;
    Ok(true)
}

/// Returns an expired transfer, now closed for appends.
fn terminate_expired(db: &Transaction<'_>, now: Instant) -> Result<Option<TransferId>> {
    let sql = "SELECT id FROM transfers WHERE moved_at < ?1
               OR (open = 1 AND moved_at < ?2 AND NOT EXISTS (SELECT 1 FROM parts WHERE transfer = id))
               LIMIT 1";
    let (before, empty_before) = (millis(now - TTL), millis(now - EMPTY_TTL));
    let expired = db
        .prepare_cached(sql)?
        .query_row([before, empty_before], |row| row.get::<_, String>(0));
    let Some(id) = expired.optional()? else {
        return Ok(None);
    };
    let id = id.parse().map_err(|why| corrupt("a transfer", &why))?;
    settle(db, id, TransferOutcome::Terminated)?;
    Ok(Some(id))
}

/// The file of a part, removed when this is dropped before its row is written.
struct PartFile {
    path: PathBuf,
    has_row: bool,
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.has_row {
            // A file that stays is an orphan, which the next start removes.
            let _ = remove(&self.path);
        }
    }
}

/// The row of a part.
struct PartRow {
    transfer: TransferId,
    start: u64,
    length: u64,
    file: String,
}

/// Adds the row of a part, if it starts at the end of the file and the limits allow it.
fn append(
    db: &Transaction<'_>,
    part: &PartRow,
    at: Instant,
    limits: TransferLimits,
) -> Result<AppendPartOutcome> {
    let (id, name) = (part.transfer, part.transfer.to_string());
    if read(db, id)?.is_none_or(|transfer| transfer.outcome.is_some()) {
        return Ok(AppendPartOutcome::Closed);
    }
    let end = end(db, id)?;
    if end != part.start {
        return Ok(AppendPartOutcome::WrongStart(end));
    }
    let parts: u64 = db
        .prepare_cached("SELECT count(*) FROM parts WHERE transfer = ?1")?
        .query_row([&name], |row| row.get(0))?;
    if parts >= limits.parts_per_transfer {
        return Ok(AppendPartOutcome::TooManyParts);
    }
    if let Some(until) = limits.bytes_refused_until(&open_transfers(db)?, part.length) {
        return Ok(AppendPartOutcome::Full(until));
    }
    db.prepare_cached("INSERT INTO parts (transfer, start, length, file) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![name, part.start, part.length, part.file])?;
    db.prepare_cached("UPDATE transfers SET moved_at = ?2 WHERE id = ?1")?
        .execute(params![name, millis(at)])?;
    Ok(AppendPartOutcome::Appended(end + part.length))
}

/// Creates a part file. Deletes it if the write fails.
fn write(path: &Path, bytes: &[u8], durable: bool) -> Result<()> {
    let written = fs::File::create_new(path).and_then(|mut file| {
        file.write_all(bytes)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    if let Err(why) = written {
        remove(path)?;
        return Err(io_at("writing a part", path, why));
    }
    match path.parent() {
        Some(dir) if durable => sync_directory(dir),
        Some(_) | None => Ok(()),
    }
}

/// Deletes a part file, if it exists.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            Err(io_at("removing a part", path, why))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
