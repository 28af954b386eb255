//! Claims: one table ordered by key, with the owner as an integer; inserts in key order are sequential in its tree.
//! Overlaps: a row per pair of loser and owner.

use std::collections::HashMap;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::{
    EmbeddedStore,
    batch::{id_of_seq, seq_of},
    db::Turn,
    from_json, to_json,
};
use crate::{
    model::{BatchId, Content, IdentityKey},
    store::{Claim, ClaimStore, ForeignClaim, Overlap, Result},
};

/// Overlaps deleted by one statement.
const DROP_ROWS: usize = 1_000;

/// Changes the owner of a claim (key, old owner, new owner, row, content).
const TAKE_OVER: &str =
    "UPDATE claims SET batch = ?3, row = ?4, content = ?5 WHERE key = ?1 AND batch = ?2";

#[async_trait]
impl ClaimStore for EmbeddedStore {
    async fn claim(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<ForeignClaim>> {
        self.claim_in_turns(id, None, claims).await
    }

    async fn take_over(
        &self,
        id: BatchId,
        from: BatchId,
        claims: &[Claim],
    ) -> Result<Vec<ForeignClaim>> {
        self.claim_in_turns(id, Some(from), claims).await
    }

    async fn release(&self, id: BatchId, keys: &[IdentityKey]) -> Result<()> {
        // What is left to release, from the end.
        let keys = keys.iter().rev().copied().collect::<Vec<_>>();
        let release = self.db.write_in_turns((id, keys), |db, (id, keys), turn| {
            let batch = seq_of(db, *id)?;
            let mut remove =
                db.prepare_cached("DELETE FROM claims WHERE key = ?1 AND batch = ?2")?;
            while let Some(key) = keys.pop() {
                remove.execute(params![key.0, batch])?;
                if turn.is_over() {
                    return Ok(false);
                }
            }
            Ok(true)
        });
        release.await.map(drop)
    }

    async fn put_overlaps(&self, overlaps: &[Overlap]) -> Result<()> {
        let overlaps = overlaps.to_vec();
        self.db
            .write(move |db| {
                let mut put = db.prepare_cached(
                    "INSERT INTO overlaps (loser, owner, duplicates, conflicts, samples) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (loser, owner) DO UPDATE
                     SET duplicates = excluded.duplicates, conflicts = excluded.conflicts, samples = excluded.samples",
                )?;
                for Overlap { loser, owner, duplicates, conflicts, samples } in &overlaps {
                    put.execute(params![loser.to_string(), owner.to_string(), duplicates, conflicts, to_json(samples)?])?;
                }
                Ok(())
            })
            .await
    }

    async fn overlaps_of_loser(
        &self,
        loser: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        let sql = "SELECT loser, owner, duplicates, conflicts, samples FROM overlaps WHERE loser = ?1 AND owner > ?2 ORDER BY owner LIMIT ?3";
        self.overlaps(sql, loser, after, limit).await
    }

    async fn overlaps_of_owner(
        &self,
        owner: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        let sql = "SELECT loser, owner, duplicates, conflicts, samples FROM overlaps WHERE owner = ?1 AND loser > ?2 ORDER BY loser LIMIT ?3";
        self.overlaps(sql, owner, after, limit).await
    }

    async fn unowned_claims(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<usize>> {
        let claims = claims.to_vec();
        self.db
            .read(move |db| {
                let batch = seq_of(db, id)?;
                let mut unowned = Vec::new();
                for (index, claim) in claims.iter().enumerate() {
                    let owned = owner(db, claim.key)?;
                    if owned.is_none_or(|(owner, row, _)| (owner, row) != (batch, claim.row)) {
                        unowned.push(index);
                    }
                }
                Ok(unowned)
            })
            .await
    }

    async fn drop_overlaps(&self, id: BatchId) -> Result<()> {
        let drop_some = |db: &Transaction<'_>, id: &mut String, turn: &Turn| {
            // Each side has an index of its own; an OR of both would read the whole table.
            for side in ["loser", "owner"] {
                let sql = format!(
                    "DELETE FROM overlaps WHERE (loser, owner) IN
                     (SELECT loser, owner FROM overlaps WHERE {side} = ?1 LIMIT {DROP_ROWS})"
                );
                let mut drop = db.prepare_cached(&sql)?;
                while drop.execute([&*id])? == DROP_ROWS {
                    if turn.is_over() {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        };
        let dropped = self.db.write_in_turns(id.to_string(), drop_some);
        dropped.await.map(drop)
    }
}

impl EmbeddedStore {
    /// Claims identities, after those of `from` among them have changed their owner.
    async fn claim_in_turns(
        &self,
        id: BatchId,
        from: Option<BatchId>,
        claims: &[Claim],
    ) -> Result<Vec<ForeignClaim>> {
        let request = ClaimRequest {
            id,
            from,
            claims: claims.to_vec(),
            next: 0,
            refused: Vec::new(),
        };
        let request = self
            .db
            .write_in_turns(request, ClaimRequest::advance)
            .await?;
        Ok(request.refused)
    }

    async fn overlaps(
        &self,
        sql: &'static str,
        batch: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.db
            .read(move |db| {
                let mut query = db.prepare_cached(sql)?;
                let mut rows = query.query(params![batch.to_string(), after, limit])?;
                let mut overlaps = Vec::new();
                while let Some(row) = rows.next()? {
                    overlaps.push(overlap(row)?);
                }
                Ok(overlaps)
            })
            .await
    }
}

fn overlap(row: &Row<'_>) -> Result<Overlap> {
    let id = |at: usize| -> Result<BatchId> {
        let text: String = row.get(at)?;
        text.parse()
            .map_err(|why| super::corrupt("an overlap", &why))
    };
    let samples: String = row.get(4)?;
    Ok(Overlap {
        loser: id(0)?,
        owner: id(1)?,
        duplicates: row.get(2)?,
        conflicts: row.get(3)?,
        samples: from_json("an overlap", &samples)?,
    })
}

/// Claims to insert.
struct ClaimRequest {
    id: BatchId,
    /// The batch whose claims change their owner.
    from: Option<BatchId>,
    claims: Vec<Claim>,
    /// The index of the first claim that is not inserted yet.
    next: usize,
    /// The claims that others hold.
    refused: Vec<ForeignClaim>,
}

impl ClaimRequest {
    fn advance(db: &Transaction<'_>, request: &mut Self, turn: &Turn) -> Result<bool> {
        let batch = seq_of(db, request.id)?;
        let from = request.from.map(|from| seq_of(db, from)).transpose()?;
        let mut add = db.prepare_cached("INSERT INTO claims (key, batch, row, content) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO NOTHING")?;
        let mut swap = db.prepare_cached(TAKE_OVER)?;
        let mut ids = HashMap::new();
        while let Some(claim) = request.claims.get(request.next) {
            let (index, content) = (request.next, claim.content.0.cast_signed());
            if let Some(from) = from {
                swap.execute(params![claim.key.0, from, batch, claim.row, content])?;
            }
            let added = add.execute(params![claim.key.0, batch, claim.row, content])?;
            if added == 0
                && let Some((owner, row, owned)) = owner(db, claim.key)?
                && (owner, row) != (batch, claim.row)
            {
                let id = match ids.get(&owner) {
                    Some(known) => *known,
                    None => *ids.entry(owner).or_insert(id_of_seq(db, owner)?),
                };
                match id {
                    Some(owner) => request.refused.push(ForeignClaim {
                        index,
                        owner,
                        row,
                        content: owned,
                    }),
                    // Its tombstone was removed: a missing owner is a deleted one.
                    None => {
                        swap.execute(params![claim.key.0, owner, batch, claim.row, content])?;
                    }
                }
            }
            request.next += 1;
            if turn.is_over() {
                break;
            }
        }
        Ok(request.next == request.claims.len())
    }
}

/// Returns the batch, row and content that own an identity.
fn owner(db: &Connection, key: IdentityKey) -> Result<Option<(i64, u32, Content)>> {
    let mut query = db.prepare_cached("SELECT batch, row, content FROM claims WHERE key = ?1")?;
    let owner = query.query_row([key.0], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            Content(row.get::<_, i64>(2)?.cast_unsigned()),
        ))
    });
    Ok(owner.optional()?)
}
