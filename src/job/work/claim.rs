//! Claims the identities of one batch in key order, and finds the rows whose identity another row holds.

use std::{
    collections::{BTreeMap, HashMap},
    iter::Peekable,
};

use roaring::RoaringBitmap;

use super::blocking::run_blocking;
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
        let mut records = Vec::with_capacity(block.rows.len());
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
                records.push(record);
            }
        }
        // A push may sort and write megabytes.
        sorter = run_blocking(move || {
            records
                .into_iter()
                .try_for_each(|record| sorter.push(record))?;
            Ok(sorter)
        })
        .await?;
        let sorted = block.rows.last().copied().unwrap_or(0).into();
        context.progress.report(JobPhase::Sort, sorted, total);
        tokio::task::consume_budget().await;
    }
    run_blocking(|| sorter.finish()).await
}

/// Claims of distinct identities, in key order, and the rows that repeat them. The lowest row of an identity claims it.
pub(super) struct ClaimPage {
    /// The claims.
    pub(super) claims: Vec<Claim>,
    /// The other rows with the same identities.
    pub(super) repeats: Vec<Repeat>,
    /// Whether the first claim was on the page before too, which ended among its repeats.
    continues: bool,
}

/// A row whose identity a lower row of the same file has.
pub(super) struct Repeat {
    /// The index of the claim of the lowest row.
    claim: usize,
    /// The row.
    pub(super) row: u32,
    /// The digest of the row's content.
    content: Content,
}

impl ClaimPage {
    /// Returns the rows that the batch does not count, given the owners of the claims that were refused: those rows, and
    /// all repeats. A repeat is compared with the row that is counted, which may be in another batch.
    fn losses(
        &self,
        batch: BatchId,
        owners: &HashMap<usize, ForeignClaim>,
    ) -> Vec<(BatchId, Loss)> {
        let lose = |row, content, original: ForeignClaim| {
            let loss = Loss {
                row,
                original_row: original.row,
                conflict: content != original.content,
            };
            (original.owner, loss)
        };
        let own = |index: usize| ForeignClaim {
            index,
            owner: batch,
            row: self.claims[index].row,
            content: self.claims[index].content,
        };
        let refused = owners
            .iter()
            .filter(|(index, _)| **index > 0 || !self.continues);
        let claims = refused.map(|(index, owner)| {
            let Claim { row, content, .. } = self.claims[*index];
            lose(row, content, *owner)
        });
        let repeats = self.repeats.iter().map(|repeat| {
            let owner = owners.get(&repeat.claim).copied();
            lose(
                repeat.row,
                repeat.content,
                owner.unwrap_or_else(|| own(repeat.claim)),
            )
        });
        claims.chain(repeats).collect()
    }
}

/// Reads sorted records as pages of claims.
pub(super) struct DistinctClaims<I: Iterator> {
    records: Peekable<I>,
    /// The claim whose repeats continue on the next page.
    head: Option<Claim>,
    /// Most rows of a page.
    rows: usize,
}

impl<I: Iterator<Item = std::io::Result<[u8; RECORD]>>> DistinctClaims<I> {
    pub(super) fn new(records: I, rows: usize) -> Self {
        Self {
            records: records.peekable(),
            head: None,
            rows,
        }
    }

    /// Returns the next page; without claims at the end.
    fn next(&mut self) -> std::io::Result<ClaimPage> {
        let head = self.head.take();
        let mut page = ClaimPage {
            continues: head.is_some(),
            claims: head.into_iter().collect(),
            repeats: Vec::new(),
        };
        let mut rows = 0;
        while rows < self.rows {
            let Some(record) = self.records.next().transpose()? else {
                return Ok(page);
            };
            let next = decode(&record);
            match page.claims.last() {
                Some(first) if first.key == next.key => page.repeats.push(Repeat {
                    claim: page.claims.len() - 1,
                    row: next.row,
                    content: next.content,
                }),
                Some(_) | None => page.claims.push(next),
            }
            rows += 1;
        }
        if let (Some(last), Some(Ok(record))) = (page.claims.last(), self.records.peek())
            && decode(record).key == last.key
        {
            self.head = Some(*last);
        }
        Ok(page)
    }
}

impl DistinctClaims<Sorted<RECORD>> {
    /// Reads the next page, without claims at the end, and returns the reader for those after it.
    pub(super) async fn next_page(mut self) -> Result<(ClaimPage, Self), RunError> {
        run_blocking(move || Ok((self.next()?, self))).await
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
    let mut distinct = DistinctClaims::new(records, context.limits.claims_at_once);
    let mut lost = LostRows::default();
    let mut void_owners = HashMap::new();
    let mut done = 0;
    loop {
        let page;
        (page, distinct) = distinct.next_page().await?;
        if page.claims.is_empty() {
            return Ok(lost);
        }
        let held = context.store.claim(batch.id, &page.claims).await?;
        let owners = resolve_held(context, batch.id, &page.claims, held, &mut void_owners).await?;
        for (owner, loss) in page.losses(batch.id, &owners) {
            lost.add(batch.id, owner, loss);
        }
        done += (page.claims.len() + page.repeats.len()) as u64;
        context.progress.report(JobPhase::Claim, done, total);
    }
}

/// Takes over the identities that void owners still hold. Returns the owners of the others, by the index of the claim.
async fn resolve_held(
    context: &JobContext<'_>,
    batch: BatchId,
    claims: &[Claim],
    held: Vec<ForeignClaim>,
    void_owners: &mut HashMap<BatchId, bool>,
) -> Result<HashMap<usize, ForeignClaim>, RunError> {
    let mut owners = HashMap::new();
    let mut open = held;
    while !open.is_empty() {
        let mut from_void: BTreeMap<BatchId, Vec<usize>> = BTreeMap::new();
        for foreign in open.drain(..) {
            let ForeignClaim { index, owner, .. } = foreign;
            let owner_is_void = match void_owners.get(&owner) {
                Some(known) => *known,
                None => *void_owners
                    .entry(owner)
                    .or_insert(owner != batch && is_void(context, owner).await?),
            };
            if owner_is_void {
                from_void.entry(owner).or_default().push(index);
            } else {
                owners.insert(index, foreign);
            }
        }
        for (owner, indices) in from_void {
            let taken: Vec<Claim> = indices.iter().map(|index| claims[*index]).collect();
            let held = context.store.take_over(batch, owner, &taken).await?;
            open.extend(held.into_iter().map(|foreign| ForeignClaim {
                index: indices[foreign.index],
                ..foreign
            }));
        }
    }
    Ok(owners)
}

/// Returns whether a batch is deleted, or in a state that only leads there.
async fn is_void(context: &JobContext<'_>, owner: BatchId) -> Result<bool, RunError> {
    Ok(context
        .store
        .batch(owner)
        .await?
        .is_none_or(|b| b.status.is_void()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: u8, row: u32, content: u64) -> std::io::Result<[u8; RECORD]> {
        let mut record = [key; RECORD];
        record[16..20].copy_from_slice(&row.to_be_bytes());
        record[20..].copy_from_slice(&content.to_be_bytes());
        Ok(record)
    }

    /// Returns (row, owner's row, conflict) of all losses. Another batch owns key 1 by its row 9, with content 5.
    fn losses(page_rows: usize) -> Vec<(u32, u32, bool)> {
        let records = [
            record(1, 1, 5),
            record(1, 2, 6),
            record(1, 3, 5),
            record(2, 4, 7),
            record(2, 5, 7),
            record(2, 6, 8),
            record(3, 7, 1),
        ];
        let (this, other) = (BatchId::from_bytes([1; 16]), BatchId::from_bytes([2; 16]));
        let mut distinct = DistinctClaims::new(records.into_iter(), page_rows);
        let (mut all, mut pages) = (Vec::new(), 0);
        loop {
            let page = distinct.next().expect("reads");
            if page.claims.is_empty() {
                assert!(pages <= 7_usize.div_ceil(page_rows) + 1);
                all.sort_unstable();
                return all;
            }
            pages += 1;
            let foreign = |index| ForeignClaim {
                index,
                owner: other,
                row: 9,
                content: Content(5),
            };
            let held = page.claims.iter().position(|claim| claim.key.0[0] == 1);
            let owners = held.map(|index| (index, foreign(index)));
            let lost = page.losses(this, &owners.into_iter().collect());
            let figures = |(_, loss): (BatchId, Loss)| (loss.row, loss.original_row, loss.conflict);
            all.extend(lost.into_iter().map(figures));
        }
    }

    #[test]
    fn repeats_are_compared_with_the_row_that_is_counted() {
        let expected = [
            (1, 9, false),
            (2, 9, true),
            (3, 9, false),
            (5, 4, false),
            (6, 4, true),
        ];
        for page_rows in 1..9 {
            assert_eq!(losses(page_rows), expected, "pages of {page_rows} rows");
        }
    }
}
