//! A source that is no file: sections of a stream become batches by `BatchWriter`, and a section that is read again
//! counts no event twice.

use std::ops::Range;

use tallymill::{
    ingest::{BatchSummary, BatchWriter, Ingest},
    model::{BatchId, EventBlock, Identity, IdentityBy, Origin, StreamOrigin, receipt::RowCounts},
    store::Sealed,
};

use super::harness::Harness;
use crate::helpers::{
    now,
    store_fixtures::{block, columns},
};

/// Returns the summary of a batch of these events.
pub(super) fn summary(ingest: &Ingest, rows: u64, events: &EventBlock) -> BatchSummary {
    let columns = columns(&[]);
    let mut survey = ingest.survey();
    survey.set_identity(Identity::new("topic", &IdentityBy::EventId, &columns));
    survey.add(events).expect("few types and days");
    BatchSummary {
        rows: RowCounts {
            received: rows,
            inserted: rows,
            failed: 0,
            blank: 0,
        },
        statistics: survey.statistics(&columns),
        columns,
        identity: IdentityBy::EventId,
        proposals: Vec::new(),
        values: None,
        profile: None,
        parent: None,
        options: [].into(),
    }
}

pub(super) fn origin() -> Origin {
    Origin::Stream(StreamOrigin {
        name: "topic".into(),
    })
}

/// Sections are no files, so each has a key of its own; their event ids show what is in both.
pub(super) fn content_key(id: BatchId) -> [u8; 32] {
    let id = id.to_string();
    *id.as_bytes()
        .first_chunk()
        .expect("an id has 36 characters")
}

/// Writes the messages of a section as one batch, as the consumer of a topic would.
async fn store_section(harness: &Harness, offsets: Range<u64>) -> BatchId {
    let ingest = harness.ingest();
    let ids: Vec<_> = offsets.map(|offset| format!("0/{offset}")).collect();
    let event = |id| (id, "login", "ann", 0);
    let events: Vec<_> = ids.iter().map(String::as_str).map(event).collect();
    let events = block(&events);
    let summary = summary(&ingest, events.len() as u64, &events);

    let mut writer = BatchWriter::begin(&ingest, "topic", true)
        .await
        .expect("begins");
    writer.open(&summary.columns).await.expect("opens");
    writer.append(events).await.expect("appends");
    let id = writer.batch().id;
    let sealed = writer.seal(origin(), summary, content_key(id)).await;
    assert!(matches!(sealed, Ok(Sealed::Batch(_))), "{sealed:?}");
    id
}

#[test]
fn a_section_that_is_read_again_counts_no_event_twice() {
    let harness = Harness::new();
    for offsets in [0..3, 1..5] {
        let id = now(store_section(&harness, offsets));
        now(harness.service().process(id, false)).expect("the ledger is here");
        harness.drain();
    }
    assert_eq!(harness.figures(), [(0, "login".into(), 5, 1)]);
}
