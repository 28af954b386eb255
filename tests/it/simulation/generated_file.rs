//! The files that histories upload. A seed stands for a few rows, so the oracle knows the content of a batch.

use std::sync::{Arc, Mutex};

use chrono::TimeDelta;
use tallymill::{
    model::{
        Batch, BatchId, BatchStatus, ColumnRole, Columns, EventBlock, FileOrigin, Instant, Origin,
        Receipt,
    },
    store::{BatchFilter, Result, Sealed, Store},
};

use crate::helpers::store_fixtures;

pub(super) const DAY: i64 = 86_400_000_000;
/// Distinct identities: few, so that batches overlap.
const KEYS: u64 = 4;
/// Time after its upload at which a batch that was not processed may be deleted.
const EXPIRES_AFTER: TimeDelta = TimeDelta::seconds(120);
/// The type of events without identity.
pub(super) const PLAIN: &str = "plain";

/// `SplitMix64` (Steele, Lea, Flood 2014): small, seeded, good enough to choose with.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

pub(super) struct Row {
    pub(super) event_id: String,
    pub(super) event_type: String,
    pub(super) at: i64,
    user_id: String,
}

/// Returns some of few identities, sometimes with other content (another day), and rows without identity.
pub(super) fn rows(seed: u64) -> Vec<Row> {
    let mut random = Random(seed);
    (0..=random.below(4))
        .map(|_| {
            let key = random.below(KEYS + 1);
            let version = i64::from(random.chance(15));
            if key == KEYS {
                return Row {
                    event_id: String::new(),
                    event_type: PLAIN.into(),
                    user_id: "u".into(),
                    at: random.below(3) as i64 * DAY,
                };
            }
            Row {
                event_id: format!("e{key}"),
                // Two identities share a type and a day, so that a group may be there and yet be short.
                event_type: format!("t{}", key % 2),
                // A user per identity, so that the users of a group show which identities are in it.
                user_id: format!("u{key}v{version}"),
                at: (key as i64 % 2 + 2 * version) * DAY,
            }
        })
        .collect()
}

/// Returns the seed of a sealed batch.
pub(super) fn seed_of(batch: &Batch) -> u64 {
    let receipt = batch.receipt.as_ref();
    let file = receipt.and_then(|receipt| receipt.origin.file());
    file.map_or(0, |file| file.bytes)
}

/// Uploads the file of a seed. A result that no client may get is added to `complaints`.
pub(super) async fn upload(
    store: Arc<dyn Store>,
    unstaged: Arc<dyn Store>,
    id: BatchId,
    at: Instant,
    seed: u64,
    complaints: Arc<Mutex<Vec<String>>>,
) -> Result<()> {
    let batch = Batch::receiving(id, String::new(), true, "uploader".into(), at);
    store.create_batch(&batch).await?;
    let columns = columns();
    let mut writer = store.write_events(id, &columns).await?;
    let block = block(&rows(seed));
    let inserted = block.len() as u64;
    writer.append(block).await?;
    let event_digest = writer.finish().await?;
    let mut content = [0; 32];
    content[..8].copy_from_slice(&seed.to_be_bytes());
    let filter = BatchFilter {
        statuses: vec![BatchStatus::Deleting, BatchStatus::Deleted],
        parent: None,
        before: None,
    };
    let deleted = unstaged.list_batches(&filter, 100).await?;
    let receipt = Receipt {
        event_digest,
        expires_at: Some(at + EXPIRES_AFTER),
        ..receipt(seed, inserted, columns)
    };
    let sealed = store.seal(id, receipt, content).await?;
    if let Sealed::DuplicateOf(first) = sealed
        && deleted.iter().any(|b| b.id == first)
    {
        let what = format!("{id} is called a copy of {first}, which had been taken away");
        complaints.lock().expect("one thread").push(what);
    }
    Ok(())
}

fn columns() -> Columns {
    Columns {
        labels: ["event_id", "user_id", "event_type", "timestamp"]
            .map(str::to_owned)
            .to_vec(),
        roles: vec![
            ColumnRole::EventId,
            ColumnRole::UserId,
            ColumnRole::EventType,
            ColumnRole::Timestamp,
        ],
        hint: None,
    }
}

fn block(rows: &[Row]) -> EventBlock {
    let mut block = EventBlock::default();
    for (number, row) in (1..).zip(rows) {
        block.rows.push(number);
        block.lines.push(number + 1);
        block.event_id.push(row.event_id.as_bytes());
        block.user_id.push(row.user_id.as_bytes());
        block.event_type.push(row.event_type.as_bytes());
        block.timestamp.push(row.at);
    }
    block
}

fn receipt(seed: u64, inserted: u64, columns: Columns) -> Receipt {
    Receipt {
        origin: Origin::File(FileOrigin {
            name: None,
            sha256: format!("{seed:x}"),
            ..store_fixtures::file(seed)
        }),
        columns,
        event_time: (0, 4 * DAY),
        ..store_fixtures::receipt(inserted)
    }
}
