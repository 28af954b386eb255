//! What an upload is told when the store fails during its seal.

use tallymill::{
    ingest::{BatchWriter, IngestError},
    model::{BatchChange, BatchStatus},
    store::Sealed,
};

use super::{
    harness::{Fault, Harness},
    stream::{content_key, origin, summary},
};
use crate::helpers::{
    now,
    store_fixtures::{block, columns},
};

/// Writes one event through a store that fails as the script says.
fn written(harness: &Harness) -> BatchWriter {
    now(async {
        let mut writer = BatchWriter::begin(&harness.scripted_ingest(), "", true)
            .await
            .expect("begins");
        writer.open(&columns(&[])).await.expect("opens");
        let events = block(&[("e1", "login", "ann", 0)]);
        writer.append(events).await.expect("appends");
        writer.finish().await.expect("finishes");
        writer
    })
}

fn seal(harness: &Harness, writer: &mut BatchWriter) -> Result<Sealed, IngestError> {
    let (id, ingest) = (writer.batch().id, harness.ingest());
    let summary = summary(&ingest, 1, &block(&[("e1", "login", "ann", 0)]));
    now(writer.seal(origin(), summary, content_key(id)))
}

#[test]
fn a_seal_that_surely_failed_stores_nothing() {
    let harness = Harness::new();
    let mut writer = written(&harness);
    let id = writer.batch().id;
    harness.script.fail("seal", Some(Fault::Unavailable));
    let sealed = seal(&harness, &mut writer);
    assert!(matches!(sealed, Err(IngestError::Store(_))), "{sealed:?}");
    assert_eq!(harness.status(id), BatchStatus::Deleted);
}

#[test]
fn a_seal_whose_reply_was_lost_succeeds() {
    let harness = Harness::new();
    let mut writer = written(&harness);
    let id = writer.batch().id;
    let receipt = crate::helpers::store_fixtures::receipt(1);
    now(harness
        .store()
        .change_batch(id, &BatchChange::Seal(Box::new(receipt))))
    .expect("seals");
    harness.script.fail("seal", Some(Fault::Unavailable));
    let sealed = seal(&harness, &mut writer);
    assert!(
        matches!(&sealed, Ok(Sealed::Batch(batch)) if batch.id == id),
        "{sealed:?}"
    );
    assert_eq!(harness.status(id), BatchStatus::Uploaded);
}

#[test]
fn a_seal_into_a_store_that_went_away_has_an_unknown_outcome() {
    let harness = Harness::new();
    let mut writer = written(&harness);
    let id = writer.batch().id;
    harness.script.fail("seal", Some(Fault::Unavailable));
    harness
        .script
        .fail("change_batch", Some(Fault::Unavailable));
    let sealed = seal(&harness, &mut writer);
    assert!(
        matches!(&sealed, Err(IngestError::OutcomeUnknown { id: named, .. }) if *named == id),
        "{sealed:?}"
    );
    assert_eq!(harness.status(id), BatchStatus::Receiving);
}
