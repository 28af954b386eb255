//! What an upload is told when the store fails during its seal.

use std::{
    future::Future,
    task::{Context, Waker},
    time::Duration,
};

use tallymill::{
    clock::Clock,
    ingest::{BatchWriter, IngestError},
    job::NudgeResult,
    model::{Batch, BatchChange, BatchStatus, JobId, Slot},
    store::Sealed,
};

use super::{
    harness::{Fault, Harness},
    stream::{content_key, origin, summary},
};
use crate::helpers::{
    now,
    store_fixtures::{at, block, columns},
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

fn seal_file(harness: &Harness, writer: &mut BatchWriter) -> Result<Sealed, IngestError> {
    now(sealing(harness, writer))
}

async fn sealing(harness: &Harness, writer: &mut BatchWriter) -> Result<Sealed, IngestError> {
    let summary = summary(&harness.ingest(), 1, &block(&[("e1", "login", "ann", 0)]));
    writer.seal(origin(), summary, [7; 32]).await
}

fn sealed_batch(sealed: Result<Sealed, IngestError>) -> Batch {
    match sealed {
        Ok(Sealed::Batch(batch)) => *batch,
        other => panic!("not a new batch: {other:?}"),
    }
}

fn clean_up(harness: &Harness) {
    let slot = JobId::Cleanup(Slot(harness.clock.now().timestamp()));
    now(harness.jobs().arm_once(slot)).expect("the ledger is here");
    assert_eq!(harness.run(slot), NudgeResult::Settled);
}

#[test]
fn a_batch_expires_by_the_time_of_its_seal_and_as_its_receipt_says() {
    let harness = Harness::new();
    let mut writer = written(&harness);
    // The upload takes longer than a batch is kept.
    harness.clock.advance(Duration::from_secs(7_200));
    let batch = sealed_batch(seal_file(&harness, &mut writer));
    let expires_at = batch.expires_at().expect("expires");
    assert_eq!(expires_at, at(7_200 + 3_600));
    clean_up(&harness);
    assert_eq!(harness.status(batch.id), BatchStatus::Uploaded);
    harness.clock.advance(Duration::from_secs(3_599));
    clean_up(&harness);
    assert_eq!(harness.status(batch.id), BatchStatus::Uploaded);
    harness.clock.advance(Duration::from_secs(1));
    clean_up(&harness);
    assert_eq!(harness.status(batch.id), BatchStatus::Deleted);
}

#[test]
fn known_bytes_renew_the_expiry_of_an_unprocessed_batch() {
    let harness = Harness::new();
    let first = sealed_batch(seal_file(&harness, &mut written(&harness))).id;
    harness.clock.advance(Duration::from_secs(3_000));
    let mut writer = written(&harness);
    let again = seal_file(&harness, &mut writer).expect("seals");
    assert_eq!(again, Sealed::DuplicateOf(first));
    now(writer.abandon());
    assert_eq!(harness.batch(first).expires_at(), Some(at(6_600)));
    harness.clock.advance(Duration::from_secs(3_599));
    clean_up(&harness);
    assert_eq!(harness.status(first), BatchStatus::Uploaded);
    let asked = now(harness.service().process(first, false)).expect("the ledger is here");
    assert!(asked.done().is_some());
    let again = seal_file(&harness, &mut written(&harness)).expect("seals");
    assert_eq!(again, Sealed::DuplicateOf(first), "processed, not renewed");
    assert_eq!(harness.batch(first).expires_at(), Some(at(6_600)));
}

#[test]
fn bytes_of_a_batch_that_expires_meanwhile_become_a_batch() {
    let harness = Harness::new();
    let first = sealed_batch(seal_file(&harness, &mut written(&harness))).id;
    harness.clock.advance(Duration::from_secs(3_600));
    let mut writer = written(&harness);
    harness.script.freeze(Some("change_batch"));
    let mut sealing = Box::pin(sealing(&harness, &mut writer));
    let mut context = Context::from_waker(Waker::noop());
    assert!(sealing.as_mut().poll(&mut context).is_pending());
    let expire = BatchChange::Expire { at: at(3_600) };
    let expired = now(harness.store().change_batch(first, &expire)).expect("answers");
    assert!(expired.done().is_some());
    harness.script.freeze(None);
    let second = sealed_batch(now(sealing)).id;
    assert_ne!(first, second);
    assert_eq!(harness.status(second), BatchStatus::Uploaded);
}
