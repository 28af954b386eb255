//! Claims the identities of one batch in key order, and finds the rows whose identity another row holds.

use std::collections::{BTreeMap, HashMap};

use roaring::RoaringBitmap;

use crate::{
    job::{JobContext, RunError},
    model::{Batch, BatchId, Content, IdentityKey, JobPhase},
    sort::{Sorted, Sorter},
    store::{Attributes, Claim, ForeignClaim, Loss, Overlap, Projection, StoreError},
};

/// Bytes of a sort record: key, row, content. In this layout the bytes sort by key, then by row.
const RECORD: usize = 28;

/// The rows of a batch that are not counted, since another row holds their identity.
#[derive(Debug, Default)]
pub(super) struct LostRows {
    /// The rows.
    pub(super) rows: RoaringBitmap,
    /// The losses by the batch that holds the identities.
    pub(super) overlaps: BTreeMap<BatchId, Overlap>,
}

impl LostRows {
    fn add(&mut self, loser: BatchId, owner: BatchId, loss: Loss) {
        self.rows.insert(loss.row);
        let overlap = self.overlaps.entry(owner).or_insert_with(|| Overlap {
            loser,
            owner,
            duplicates: 0,
            conflicts: 0,
            samples: Vec::new(),
        });
        if loss.conflict {
            overlap.conflicts += 1;
        } else {
            overlap.duplicates += 1;
        }
        // Losses arrive in the order of their hashes. The samples list conflicts first, then the lowest rows.
        let rank = |loss: &Loss| (!loss.conflict, loss.row);
        let at = overlap
            .samples
            .partition_point(|sample| rank(sample) < rank(&loss));
        if at < Overlap::SAMPLES {
            overlap.samples.insert(at, loss);
            overlap.samples.truncate(Overlap::SAMPLES);
        }
    }

    /// Returns the numbers of duplicates (equal content) and conflicts (other content).
    pub(super) fn counts(&self) -> (u64, u64) {
        self.overlaps
            .values()
            .fold((0, 0), |(d, c), o| (d + o.duplicates, c + o.conflicts))
    }
}

/// Sorts all identities of a batch by key, then by row.
pub(super) async fn sort_identities(
    context: &JobContext<'_>,
    batch: &Batch,
) -> Result<Sorted<RECORD>, RunError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let mut identity = batch.identity().ok_or_else(|| StoreError::Corrupt {
        what: format!("batch {}", batch.id),
        why: "its receipt does not say what tells its events apart".into(),
    })?;
    let mut sorter =
        Sorter::<RECORD>::new(context.limits.scratch.clone(), context.limits.sort_memory);
    let projection = Projection {
        line: false,
        event_id: identity.reads_event_id(),
        user_id: true,
        attributes: Attributes::Only(identity.attributes()),
    };
    let mut scan = context.store.scan_events(batch.id, projection).await?;
    while let Some(block) = scan.next().await? {
        for (at, &row) in block.rows.iter().enumerate() {
            if let Some(IdentityKey(key)) = identity.key(&block, at) {
                let Content(content) = Content::of(
                    block.event_type.get(at),
                    block.timestamp[at],
                    block.user_id.get(at),
                );
                let mut record = [0; RECORD];
                record[..16].copy_from_slice(&key);
                record[16..20].copy_from_slice(&row.to_be_bytes());
                record[20..].copy_from_slice(&content.to_be_bytes());
                sorter.push(record)?;
            }
        }
        let sorted = block.rows.last().copied().unwrap_or(0).into();
        context.progress.report(JobPhase::Sort, sorted, total);
        tokio::task::consume_budget().await;
    }
    Ok(sorter.finish()?)
}

/// Reads sorted records as claims, one per distinct key. Of the rows of one key the lowest claims it; the others are
/// lost to it.
pub(super) struct DistinctClaims<I> {
    records: I,
    head: Option<Claim>,
    page: usize,
    batch: BatchId,
}

impl<I: Iterator<Item = std::io::Result<[u8; RECORD]>>> DistinctClaims<I> {
    pub(super) fn new(records: I, page: usize, batch: BatchId) -> Self {
        Self {
            records,
            head: None,
            page,
            batch,
        }
    }

    /// Returns the next claims in key order, at most a page of them; none at the end.
    pub(super) fn next(&mut self, lost: &mut LostRows) -> Result<Vec<Claim>, RunError> {
        let mut claims = Vec::with_capacity(self.page);
        while claims.len() < self.page {
            let Some(record) = self.records.next().transpose()? else {
                claims.extend(self.head.take());
                break;
            };
            let next = decode(&record);
            match self.head {
                Some(first) if first.key == next.key => {
                    let conflict = first.content != next.content;
                    lost.add(
                        self.batch,
                        self.batch,
                        Loss {
                            row: next.row,
                            original_row: first.row,
                            conflict,
                        },
                    );
                }
                Some(first) => {
                    claims.push(first);
                    self.head = Some(next);
                }
                None => self.head = Some(next),
            }
        }
        Ok(claims)
    }
}

fn decode(record: &[u8; RECORD]) -> Claim {
    let (key, rest) = record
        .split_first_chunk::<16>()
        .expect("a record has 28 bytes");
    let (row, content) = rest.split_first_chunk::<4>().expect("12 are left");
    let content = content.first_chunk::<8>().expect("8 are left");
    Claim {
        key: IdentityKey(*key),
        row: u32::from_be_bytes(*row),
        content: Content(u64::from_be_bytes(*content)),
    }
}

/// Claims all identities of a batch and stores its overlaps. Then reads the status of each owner once more: an owner
/// deleted before the overlap was stored did not requeue this batch, so its identities are claimed again.
pub(super) async fn claim_all(
    context: &JobContext<'_>,
    batch: &Batch,
) -> Result<LostRows, RunError> {
    loop {
        let lost = claim_once(context, batch).await?;
        let overlaps: Vec<Overlap> = lost.overlaps.values().cloned().collect();
        if !overlaps.is_empty() {
            context.store.put_overlaps(&overlaps).await?;
        }
        let mut has_void_owner = false;
        for owner in overlaps
            .iter()
            .map(|o| o.owner)
            .filter(|owner| *owner != batch.id)
        {
            has_void_owner |= is_void(context, owner).await?;
        }
        if !has_void_owner {
            return Ok(lost);
        }
    }
}

async fn claim_once(context: &JobContext<'_>, batch: &Batch) -> Result<LostRows, RunError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let records = sort_identities(context, batch).await?;
    let mut distinct = DistinctClaims::new(records, context.limits.claims_at_once, batch.id);
    let mut lost = LostRows::default();
    let mut void_owners = HashMap::new();
    let mut done = 0;
    loop {
        let claims = distinct.next(&mut lost)?;
        if claims.is_empty() {
            return Ok(lost);
        }
        let held = context.store.claim(batch.id, &claims).await?;
        resolve_held(
            context,
            batch.id,
            &claims,
            held,
            &mut void_owners,
            &mut lost,
        )
        .await?;
        done += claims.len() as u64;
        context.progress.report(JobPhase::Claim, done, total);
    }
}

/// Takes over the identities that void owners still hold; the others are lost.
async fn resolve_held(
    context: &JobContext<'_>,
    batch: BatchId,
    claims: &[Claim],
    held: Vec<ForeignClaim>,
    void_owners: &mut HashMap<BatchId, bool>,
    lost: &mut LostRows,
) -> Result<(), RunError> {
    let mut open: Vec<(Claim, ForeignClaim)> =
        held.into_iter().map(|h| (claims[h.index], h)).collect();
    while !open.is_empty() {
        let mut from_void: BTreeMap<BatchId, Vec<Claim>> = BTreeMap::new();
        for (
            claim,
            ForeignClaim {
                owner,
                row,
                content,
                ..
            },
        ) in open.drain(..)
        {
            let owner_is_void = match void_owners.get(&owner) {
                Some(known) => *known,
                None => *void_owners
                    .entry(owner)
                    .or_insert(owner != batch && is_void(context, owner).await?),
            };
            if owner_is_void {
                from_void.entry(owner).or_default().push(claim);
            } else {
                lost.add(
                    batch,
                    owner,
                    Loss {
                        row: claim.row,
                        original_row: row,
                        conflict: content != claim.content,
                    },
                );
            }
        }
        for (owner, claims) in from_void {
            let held = context.store.take_over(batch, owner, &claims).await?;
            open.extend(held.into_iter().map(|h| (claims[h.index], h)));
        }
    }
    Ok(())
}

/// Returns whether a batch is deleted, or in a state that only leads there.
async fn is_void(context: &JobContext<'_>, owner: BatchId) -> Result<bool, RunError> {
    Ok(context
        .store
        .batch(owner)
        .await?
        .is_none_or(|b| b.status.is_void()))
}
