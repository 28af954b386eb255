//! Who counts which identity: claims those of one batch, in key order, and finds the rows that are not its own.

use std::collections::{BTreeMap, HashMap};

use roaring::RoaringBitmap;

use crate::{
    job::{
        WorkError,
        engine::runner::{Claimed, Runner},
    },
    model::{Batch, BatchId, Content, IdentityKey, job::Phase},
    sort::{Sorted, Sorter},
    store::{Attributes, Claim, Held, Loss, Overlap, Projection, StoreError},
};

/// Key, row, content: in this order the bytes sort by key, then row.
const RECORD: usize = 28;

/// Rows whose identity is counted elsewhere.
#[derive(Debug, Default)]
pub(super) struct Lost {
    /// The rows.
    pub(super) rows: RoaringBitmap,
    /// To whom, how many, and the first of them.
    pub(super) overlaps: BTreeMap<BatchId, Overlap>,
}

impl Lost {
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
        // Claims come in the order of their hashes: of all losses the conflicts are listed first, then the lowest rows.
        let rank = |loss: &Loss| (!loss.conflict, loss.row);
        let at = overlap
            .samples
            .partition_point(|kept| rank(kept) < rank(&loss));
        if at < Overlap::SAMPLES {
            overlap.samples.insert(at, loss);
            overlap.samples.truncate(Overlap::SAMPLES);
        }
    }

    /// Rows with equal content elsewhere, and rows with other content.
    pub(super) fn counts(&self) -> (u64, u64) {
        self.overlaps
            .values()
            .fold((0, 0), |(d, c), o| (d + o.duplicates, c + o.conflicts))
    }
}

/// All identities of a batch, by key, then row.
pub(super) async fn identities(
    runner: &Runner,
    claimed: &Claimed<'_>,
    batch: &Batch,
) -> Result<Sorted<RECORD>, WorkError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let mut identity = batch.identity().ok_or_else(|| StoreError::Corrupt {
        what: format!("batch {}", batch.id),
        why: "its receipt does not say what tells its events apart".into(),
    })?;
    let mut sorter =
        Sorter::<RECORD>::new(runner.limits.scratch.clone(), runner.limits.sort_memory);
    let projection = Projection {
        line: false,
        event_id: identity.reads_event_id(),
        user_id: true,
        attributes: Attributes::These(identity.attributes()),
    };
    let mut scan = runner.store.scan_events(batch.id, projection).await?;
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
        claimed.at(
            Phase::Sort,
            block.rows.last().copied().unwrap_or(0).into(),
            total,
        );
        tokio::task::consume_budget().await;
    }
    Ok(sorter.finish()?)
}

/// One claim per different key, `at_once` at a time; repeats within the file are lost to its lowest row.
pub(super) struct Distinct<I> {
    records: I,
    head: Option<Claim>,
    at_once: usize,
    batch: BatchId,
}

impl<I: Iterator<Item = std::io::Result<[u8; RECORD]>>> Distinct<I> {
    pub(super) fn new(records: I, at_once: usize, batch: BatchId) -> Self {
        Self {
            records,
            head: None,
            at_once,
            batch,
        }
    }

    /// The next claims in key order, empty at the end.
    pub(super) fn next(&mut self, lost: &mut Lost) -> Result<Vec<Claim>, WorkError> {
        let mut claims = Vec::with_capacity(self.at_once);
        while claims.len() < self.at_once {
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

/// Claims everything, writes to whom what was lost, and then looks once more whether one of those is gone:
/// an owner that goes later finds the overlap and asks for a new run.
pub(super) async fn claim_all(
    runner: &Runner,
    claimed: &Claimed<'_>,
    batch: &Batch,
) -> Result<Lost, WorkError> {
    loop {
        let lost = claim_once(runner, claimed, batch).await?;
        let overlaps: Vec<Overlap> = lost.overlaps.values().cloned().collect();
        if !overlaps.is_empty() {
            runner.store.put_overlaps(&overlaps).await?;
        }
        let mut gone = false;
        for owner in overlaps
            .iter()
            .map(|o| o.owner)
            .filter(|owner| *owner != batch.id)
        {
            gone |= is_void(runner, owner).await?;
        }
        if !gone {
            return Ok(lost);
        }
    }
}

async fn claim_once(
    runner: &Runner,
    claimed: &Claimed<'_>,
    batch: &Batch,
) -> Result<Lost, WorkError> {
    let total = batch.receipt.as_ref().map_or(0, |r| r.rows.inserted);
    let records = identities(runner, claimed, batch).await?;
    let mut distinct = Distinct::new(records, runner.limits.claims_at_once, batch.id);
    let mut lost = Lost::default();
    let mut void = HashMap::new();
    let mut done = 0;
    loop {
        let claims = distinct.next(&mut lost)?;
        if claims.is_empty() {
            return Ok(lost);
        }
        let held = runner.store.claim(batch.id, &claims).await?;
        settle_held(runner, batch.id, &claims, held, &mut void, &mut lost).await?;
        done += claims.len() as u64;
        claimed.at(Phase::Claim, done, total);
    }
}

/// Takes over what owners that are gone still hold; the rest is lost.
async fn settle_held(
    runner: &Runner,
    batch: BatchId,
    claims: &[Claim],
    held: Vec<Held>,
    void: &mut HashMap<BatchId, bool>,
    lost: &mut Lost,
) -> Result<(), WorkError> {
    let mut open: Vec<(Claim, Held)> = held.into_iter().map(|h| (claims[h.index], h)).collect();
    while !open.is_empty() {
        let mut gone: BTreeMap<BatchId, Vec<Claim>> = BTreeMap::new();
        for (
            claim,
            Held {
                owner,
                row,
                content,
                ..
            },
        ) in open.drain(..)
        {
            let is_gone = match void.get(&owner) {
                Some(known) => *known,
                None => *void
                    .entry(owner)
                    .or_insert(owner != batch && is_void(runner, owner).await?),
            };
            if is_gone {
                gone.entry(owner).or_default().push(claim);
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
        for (owner, claims) in gone {
            let held = runner.store.take_over(batch, owner, &claims).await?;
            open.extend(held.into_iter().map(|h| (claims[h.index], h)));
        }
    }
    Ok(())
}

/// Whether nothing comes back from where a batch is.
async fn is_void(runner: &Runner, owner: BatchId) -> Result<bool, WorkError> {
    Ok(runner
        .store
        .batch(owner)
        .await?
        .is_none_or(|b| b.status.is_void()))
}
