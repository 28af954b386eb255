//! Claims: a document per identity, whose unique `_id` is the identity.
//! Overlaps: a document per pair of loser and owner.

use std::collections::HashMap;

use async_trait::async_trait;
use mongodb::bson::{
    Bson, Document, RawDocumentBuf, deserialize_from_bson, doc, raw::cstr, serialize_to_bson,
};

use super::{
    MongoStore,
    db::Find,
    document::{binary, corrupt, count, number, parsed},
};
use crate::{
    model::{BatchId, Content, IdentityKey},
    store::{Claim, ClaimStore, ForeignClaim, Overlap, Result, StoreError},
};

/// Attempts to claim identities that are released between the refused insert and the read of their owner.
const ATTEMPTS: usize = 20;

/// The owner of an identity.
struct Owner {
    batch: BatchId,
    row: u32,
    content: Content,
}

#[async_trait]
impl ClaimStore for MongoStore {
    async fn claim(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<ForeignClaim>> {
        let mut refused = Vec::new();
        let mut open: Vec<usize> = (0..claims.len()).collect();
        for _ in 0..ATTEMPTS {
            if open.is_empty() {
                refused.sort_unstable_by_key(|claim: &ForeignClaim| claim.index);
                return Ok(refused);
            }
            let documents = open.iter().map(|at| document(id, &claims[*at])).collect();
            let existing = self.db.insert("claims", documents).await?;
            let existing: Vec<usize> = existing.into_iter().map(|at| open[at]).collect();
            let owners = self
                .owners(existing.iter().map(|at| claims[*at].key))
                .await?;
            open.clear();
            for index in existing {
                let Claim { key, row, .. } = claims[index];
                match owners.get(&key) {
                    Some(owner) if (owner.batch, owner.row) == (id, row) => {}
                    Some(owner) => refused.push(ForeignClaim {
                        index,
                        owner: owner.batch,
                        row: owner.row,
                        content: owner.content,
                    }),
                    // Released since the insert: claimed again in the next round.
                    None => open.push(index),
                }
            }
        }
        Err(StoreError::Unavailable {
            what: "claiming identities",
            source: "others keep claiming and releasing them".into(),
        })
    }

    async fn take_over(
        &self,
        id: BatchId,
        from: BatchId,
        claims: &[Claim],
    ) -> Result<Vec<ForeignClaim>> {
        let theirs = from.to_string();
        let changes = claims.iter().map(|claim| {
            let filter = doc! { "_id": id_of(claim.key), "batch": &theirs };
            let Claim { row, content, .. } = claim;
            let mine = doc! {
                "batch": id.to_string(), "row": i64::from(*row), "content": content.0.cast_signed(),
            };
            (filter, doc! { "$set": mine }, false)
        });
        self.db.update_each("claims", changes.collect()).await?;
        self.claim(id, claims).await
    }

    async fn release(&self, id: BatchId, keys: &[IdentityKey]) -> Result<()> {
        for chunk in keys.chunks(self.db.options.bulk_documents) {
            let ids: Vec<Bson> = chunk.iter().map(|key| id_of(*key)).collect();
            let mine = doc! { "_id": { "$in": ids }, "batch": id.to_string() };
            self.db.delete("claims", mine).await?;
        }
        Ok(())
    }

    async fn put_overlaps(&self, overlaps: &[Overlap]) -> Result<()> {
        let put = |overlap: &Overlap| {
            let Overlap {
                loser,
                owner,
                duplicates,
                conflicts,
                samples,
            } = overlap;
            let samples = serialize_to_bson(samples).map_err(|why| corrupt("an overlap", &why))?;
            let fields = doc! {
                "loser": loser.to_string(), "owner": owner.to_string(),
                "duplicates": count(*duplicates), "conflicts": count(*conflicts), "samples": samples,
            };
            Ok((
                doc! { "_id": format!("{loser}/{owner}") },
                doc! { "$set": fields },
                true,
            ))
        };
        let changes = overlaps.iter().map(put).collect::<Result<_>>()?;
        self.db.update_each("overlaps", changes).await
    }

    async fn overlaps_of_loser(
        &self,
        loser: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        self.overlaps("loser", "owner", loser, after, limit).await
    }

    async fn overlaps_of_owner(
        &self,
        owner: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        self.overlaps("owner", "loser", owner, after, limit).await
    }

    async fn unowned_claims(&self, id: BatchId, claims: &[Claim]) -> Result<Vec<usize>> {
        let owners = self.owners(claims.iter().map(|claim| claim.key)).await?;
        let mine = |claim: &Claim| {
            let owner = owners.get(&claim.key);
            owner.is_some_and(|owner| (owner.batch, owner.row) == (id, claim.row))
        };
        Ok((0..claims.len()).filter(|at| !mine(&claims[*at])).collect())
    }

    async fn drop_overlaps(&self, id: BatchId) -> Result<()> {
        let id = id.to_string();
        for side in ["loser", "owner"] {
            let of_batch = doc! { side: &id };
            while self
                .db
                .delete_some("overlaps", of_batch.clone(), doc! {})
                .await?
            {}
        }
        Ok(())
    }
}

impl MongoStore {
    /// Returns the owners of those of these identities that have one.
    async fn owners(
        &self,
        keys: impl Iterator<Item = IdentityKey>,
    ) -> Result<HashMap<IdentityKey, Owner>> {
        let ids: Vec<Bson> = keys.map(id_of).collect();
        let mut owners = HashMap::new();
        for chunk in ids.chunks(self.db.options.bulk_documents) {
            let find = Find {
                filter: doc! { "_id": { "$in": chunk } },
                ..Find::default()
            };
            for found in self.db.find("claims", find).await? {
                let (key, owner) = owner(&found)?;
                owners.insert(key, owner);
            }
        }
        Ok(owners)
    }

    async fn overlaps(
        &self,
        side: &str,
        other: &str,
        batch: BatchId,
        after: Option<BatchId>,
        limit: usize,
    ) -> Result<Vec<Overlap>> {
        let mut filter = doc! { side: batch.to_string() };
        if let Some(after) = after {
            filter.insert(other, doc! { "$gt": after.to_string() });
        }
        let find = Find {
            filter,
            sort: doc! { other: 1 },
            limit,
            ..Find::default()
        };
        let found = self.db.find("overlaps", find).await?;
        found.into_iter().map(overlap).collect()
    }
}

fn id_of(key: IdentityKey) -> Bson {
    Bson::Binary(binary(key.0.to_vec()))
}

fn document(id: BatchId, claim: &Claim) -> RawDocumentBuf {
    let Claim { key, row, content } = claim;
    let mut document = RawDocumentBuf::new();
    document.append(cstr!("_id"), binary(key.0.to_vec()));
    document.append(cstr!("batch"), id.to_string());
    document.append(cstr!("row"), i64::from(*row));
    document.append(cstr!("content"), content.0.cast_signed());
    document
}

fn owner(found: &Document) -> Result<(IdentityKey, Owner)> {
    let what = "a claim";
    let key = found.get_binary_generic("_id");
    let key = key.map_err(|why| corrupt(what, &why))?.as_slice();
    let key = key.try_into().map_err(|why| corrupt(what, &why))?;
    let row = u32::try_from(number(found, "row")?).map_err(|why| corrupt(what, &why))?;
    let owner = Owner {
        batch: parsed(found, "batch")?,
        row,
        content: Content(number(found, "content")?.cast_unsigned()),
    };
    Ok((IdentityKey(key), owner))
}

fn overlap(mut found: Document) -> Result<Overlap> {
    let what = "an overlap";
    let samples = found.remove("samples").unwrap_or(Bson::Null);
    let rows = |name: &str| u64::try_from(number(&found, name)?).map_err(|why| corrupt(what, &why));
    Ok(Overlap {
        loser: parsed(&found, "loser")?,
        owner: parsed(&found, "owner")?,
        duplicates: rows("duplicates")?,
        conflicts: rows("conflicts")?,
        samples: deserialize_from_bson(samples).map_err(|why| corrupt(what, &why))?,
    })
}
