//! Files that arrive in parts: a row each, a row and a file a part. A part counts from its row on; a file without a row
//! is what a crash or a race left, and goes at the next start.

use std::{collections::HashSet, fs, io::Write, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{EmbeddedStore, Mode, events::sync_directory, from_json, io, list, millis, to_json};
use crate::{
    model::{Instant, Transfer, TransferId, TransferOutcome},
    store::{Appended, Result, Room, TransferStore, aside},
};

#[async_trait]
impl TransferStore for EmbeddedStore {
    async fn open_transfer(&self, transfer: &Transfer, room: Room) -> Result<bool> {
        let transfer = transfer.clone();
        self.db
            .write(move |db| {
                let (open, bytes): (u64, u64) = db
                    .prepare_cached(
                        "SELECT count(*), coalesce(sum(length), 0) FROM transfers WHERE open = 1",
                    )?
                    .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
                if open >= room.transfers || bytes.saturating_add(transfer.length) > room.bytes {
                    return Ok(false);
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
                Ok(true)
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
        start: u64,
        bytes: Bytes,
        now: Instant,
    ) -> Result<Appended> {
        let name = format!("{id}-{start}-{}", TransferId::at(now));
        let (path, length) = (self.part_file(&name), bytes.len() as u64);
        let durable = self.mode == Mode::Durable;
        let written = path.clone();
        aside(move || write(&written, &bytes, durable)).await?;
        let append = move |db: &Transaction<'_>| append(db, (id, start, length), &name, now);
        let appended = self.db.write(append).await;
        if !matches!(appended, Ok(Appended::Until(_)) | Err(_)) {
            remove(&path)?;
        }
        appended
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
        let path = self.part_file(&name);
        let bytes = aside(move || fs::read(path).map_err(|why| io("a part", why))).await?;
        Ok(Some(bytes.into()))
    }

    async fn settle_transfer(&self, id: TransferId, outcome: &TransferOutcome) -> Result<bool> {
        let outcome = outcome.clone();
        self.db
            .write(move |db| {
                let Some(mut transfer) = read(db, id)?.filter(|t| t.outcome.is_none()) else {
                    return Ok(false);
                };
                transfer.outcome = Some(outcome);
                db.prepare_cached("UPDATE transfers SET open = 0, doc = ?2 WHERE id = ?1")?
                    .execute(params![id.to_string(), to_json(&transfer)?])?;
                Ok(true)
            })
            .await
    }

    async fn drop_parts(&self, id: TransferId) -> Result<()> {
        let names: Vec<String> = self
            .db
            .read(move |db| {
                let mut query = db.prepare_cached("SELECT file FROM parts WHERE transfer = ?1")?;
                let names = query.query_map([id.to_string()], |row| row.get(0))?;
                Ok(names.collect::<rusqlite::Result<_>>()?)
            })
            .await?;
        // The files first: a row whose file is gone says what is still to be removed.
        for name in &names {
            remove(&self.part_file(name))?;
        }
        self.db
            .write(move |db| {
                db.prepare_cached("DELETE FROM parts WHERE transfer = ?1")?
                    .execute([id.to_string()])?;
                Ok(())
            })
            .await
    }

    async fn prune_transfers(&self, before: Instant) -> Result<bool> {
        let oldest = self.db.read(move |db| {
            let mut query = db.prepare_cached(
                "SELECT doc FROM transfers WHERE moved_at < ?1 ORDER BY moved_at LIMIT 1",
            )?;
            let doc = query.query_row([millis(before)], |row| row.get(0));
            let doc: Option<String> = doc.optional()?;
            doc.map(|doc| from_json::<Transfer>("a transfer", &doc))
                .transpose()
        });
        let Some(Transfer { id, .. }) = oldest.await? else {
            return Ok(false);
        };
        // From here on nothing is appended.
        self.settle_transfer(id, &TransferOutcome::Terminated)
            .await?;
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
    fn part_file(&self, name: &str) -> PathBuf {
        self.dir.join("parts").join(name)
    }

    /// Removes parts that no row names, and lets files end before a part that is not there, as after a backup was
    /// put back: their senders go on from there.
    pub(super) async fn look_after_parts(&self) -> Result<()> {
        let rows = self.db.read(|db| {
            let mut query = db.prepare("SELECT transfer, start, file FROM parts")?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
            Ok(rows.collect::<rusqlite::Result<Vec<(String, u64, String)>>>()?)
        });
        let rows = rows.await?;
        let named: HashSet<&str> = rows.iter().map(|(_, _, file)| file.as_str()).collect();
        for file in list(&self.dir.join("parts"))? {
            let name = file.file_name().and_then(|name| name.to_str());
            if name.is_none_or(|name| !named.contains(name)) {
                remove(&file)?;
            }
        }
        for (transfer, start, file) in rows {
            if self.part_file(&file).exists() {
                continue;
            }
            tracing::warn!(
                transfer,
                start,
                "a part of upload {transfer} is missing: it goes on from there"
            );
            let cut = move |db: &Transaction<'_>| {
                let sql = "DELETE FROM parts WHERE transfer = ?1 AND start >= ?2";
                db.execute(sql, params![transfer, start])?;
                Ok(())
            };
            self.db.write(cut).await?;
        }
        Ok(())
    }
}

fn read(db: &Connection, id: TransferId) -> Result<Option<Transfer>> {
    let mut query = db.prepare_cached("SELECT doc, moved_at FROM transfers WHERE id = ?1")?;
    let found: Option<(String, i64)> = query
        .query_row([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((doc, moved_at)) = found else {
        return Ok(None);
    };
    Ok(Some(Transfer {
        moved_at: Instant::from_timestamp_millis(moved_at).unwrap_or_default(),
        ..from_json("a transfer", &doc)?
    }))
}

/// Where a file ends so far.
fn end(db: &Connection, id: TransferId) -> Result<u64> {
    let sql = "SELECT start + length FROM parts WHERE transfer = ?1 ORDER BY start DESC LIMIT 1";
    let mut query = db.prepare_cached(sql)?;
    let end = query.query_row([id.to_string()], |row| row.get(0));
    Ok(end.optional()?.unwrap_or(0))
}

fn append(
    db: &Transaction<'_>,
    (id, start, length): (TransferId, u64, u64),
    file: &str,
    now: Instant,
) -> Result<Appended> {
    if read(db, id)?.is_none_or(|transfer| transfer.outcome.is_some()) {
        return Ok(Appended::Closed);
    }
    let end = end(db, id)?;
    if end != start {
        return Ok(Appended::Elsewhere(end));
    }
    db.prepare_cached("INSERT INTO parts (transfer, start, length, file) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![id.to_string(), start, length, file])?;
    db.prepare_cached("UPDATE transfers SET moved_at = ?2 WHERE id = ?1")?
        .execute(params![id.to_string(), millis(now)])?;
    Ok(Appended::Until(start + length))
}

fn write(path: &std::path::Path, bytes: &[u8], durable: bool) -> Result<()> {
    let written = fs::File::create_new(path).and_then(|mut file| {
        file.write_all(bytes)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    if let Err(why) = written {
        remove(path)?;
        return Err(io("a part", why));
    }
    match path.parent() {
        Some(dir) if durable => sync_directory(dir),
        Some(_) | None => Ok(()),
    }
}

fn remove(path: &std::path::Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => Err(io("removing a part", why)),
        Ok(()) | Err(_) => Ok(()),
    }
}
