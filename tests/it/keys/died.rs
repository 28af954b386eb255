//! Requests with an idempotency key that die at any step: the next request with the key finds what they left, and has
//! no second effect.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tallymill::{
    clock::Fixed,
    ingest::{BodyError, IngestError, UploadOptions, UploadOutcome},
    job::{Dispatch, DispatchError, JobService, KeyedOutcome},
    model::{BatchChange, BatchStatus, Day, IdempotencyKey, JobId},
    store::{Changed, Store},
};

use crate::helpers::{
    crash_point::{
        CrashPoint, StoreUnderTest, abandon_crashed_uploads, all, ingest, run_until_crash,
    },
    store_fixtures::{change, publish, uploaded},
};

const CSV: &str = "user_id,event_type,timestamp\nu1,login,2025-11-10\n";
/// More steps than any request has.
const MAX_STEPS: usize = 200;

fn key() -> IdempotencyKey {
    IdempotencyKey::new(b"a test", "POST /uploads", "k")
}

fn body() -> impl Stream<Item = std::result::Result<Bytes, BodyError>> {
    stream::iter([Ok(Bytes::from(CSV))])
}

async fn upload(store: Arc<dyn Store>) -> std::result::Result<UploadOutcome, IngestError> {
    let options = UploadOptions::default();
    ingest(store).upload(&options, Some(key()), body()).await
}

/// The same outcome as that of a replayed request.
fn replayed(mut outcome: UploadOutcome) -> UploadOutcome {
    match &mut outcome {
        UploadOutcome::Stored { replayed, .. } | UploadOutcome::Duplicate { replayed, .. } => {
            *replayed = true;
        }
        UploadOutcome::DryRun(_) => {}
    }
    outcome
}

/// Kills an upload after each number of steps, and checks the next upload with its key. Returns the steps of a complete
/// upload. `is_duplicate` says whether the file was uploaded before without the key.
async fn kill_at_each_step(
    under_test: impl AsyncFn() -> StoreUnderTest,
    is_duplicate: bool,
) -> usize {
    for steps in 0..MAX_STEPS {
        let under_test = under_test().await;
        let store = under_test.store();
        let first = if is_duplicate {
            let options = UploadOptions::default();
            let stored = ingest(store.clone()).upload(&options, None, body()).await;
            Some(stored.expect("is stored"))
        } else {
            None
        };
        let crash_point = CrashPoint::after(steps);
        let done =
            run_until_crash(&crash_point, upload(under_test.crashing_at(&crash_point))).await;
        let sealed = all(&*store, BatchStatus::Uploaded).await;
        abandon_crashed_uploads(&*store).await;
        let next = upload(store.clone()).await.expect("succeeds");
        let batches = all(&*store, BatchStatus::Uploaded).await;
        assert_eq!(batches.len(), 1, "step {steps}: {next:?}");
        if let [before] = sealed[..] {
            assert_eq!(batches, [before], "step {steps}");
        }
        match (&first, &next) {
            (
                Some(UploadOutcome::Stored { batch: earlier, .. }),
                UploadOutcome::Duplicate { first, .. },
            ) => assert_eq!(*first, earlier.id, "step {steps}"),
            (None, UploadOutcome::Stored { batch, .. }) => {
                assert_eq!(batch.id, batches[0], "step {steps}");
            }
            other => panic!("step {steps}: {other:?}"),
        }
        let again = upload(store).await.expect("succeeds");
        assert_eq!(again, replayed(next), "step {steps}");
        if done.is_some() {
            return steps;
        }
    }
    panic!("it has more than {MAX_STEPS} steps");
}

#[tokio::test]
async fn uploads_killed_at_any_verb_are_stored_once_by_the_next_request() {
    let steps = kill_at_each_step(StoreUnderTest::embedded, false).await;
    assert!(steps > 5, "{steps} verbs");
    let steps = kill_at_each_step(StoreUnderTest::embedded, true).await;
    assert!(steps > 5, "{steps} verbs");
}

#[tokio::test]
async fn uploads_killed_at_any_mongodb_command_are_stored_once() {
    let steps = kill_at_each_step(StoreUnderTest::mongo, false).await;
    assert!(steps > 6, "{steps} commands");
    let steps = kill_at_each_step(StoreUnderTest::mongo, true).await;
    assert!(steps > 6, "{steps} commands");
}

#[tokio::test]
async fn the_key_of_a_stalled_upload_is_busy_until_its_lease_expires() {
    for under_test in [
        StoreUnderTest::embedded().await,
        StoreUnderTest::mongo().await,
    ] {
        let store = under_test.store();
        let stalled = ingest(store.clone());
        let (sender, chunks) = tokio::sync::mpsc::channel::<Bytes>(1);
        let silent = stream::unfold(chunks, |mut chunks| async {
            let chunk = chunks.recv().await?;
            Some((Ok::<_, BodyError>(chunk), chunks))
        });
        let options = UploadOptions::default();
        let mut first = std::pin::pin!(stalled.upload(&options, Some(key()), silent));
        let busy = async {
            let sent = sender.send(Bytes::from(CSV)).await;
            sent.expect("the upload is under way");
            // Once there is room again, the chunk was received.
            let room = sender.reserve().await.map(drop);
            room.expect("the upload is under way");
            upload(store.clone()).await
        };
        let second = tokio::select! {
            first = &mut first => panic!("the body has not ended: {first:?}"),
            second = busy => second,
        };
        assert!(matches!(second, Err(IngestError::KeyBusy)), "{second:?}");
        abandon_crashed_uploads(&*store).await;
        let third = upload(store.clone()).await.expect("succeeds");
        let UploadOutcome::Stored {
            batch,
            replayed: false,
        } = &third
        else {
            panic!("{third:?}");
        };
        // The stalled upload continues: its key has another batch now, which has the same file.
        drop(sender);
        let late = first.await.expect("succeeds");
        let duplicate = UploadOutcome::Duplicate {
            first: batch.id,
            replayed: false,
        };
        assert_eq!(late, duplicate);
        let again = upload(store).await.expect("succeeds");
        assert_eq!(again, replayed(third));
    }
}

/// A queue that accepts every nudge and delivers none.
struct NoQueue;

#[async_trait]
impl Dispatch for NoQueue {
    async fn nudge(&self, _: JobId) -> std::result::Result<(), DispatchError> {
        Ok(())
    }
}

#[tokio::test]
async fn process_requests_killed_at_any_step_are_recorded_once() {
    for steps in 0..MAX_STEPS {
        let mut done = 0;
        for under_test in [
            StoreUnderTest::embedded().await,
            StoreUnderTest::mongo().await,
        ] {
            let (store, clock) = (under_test.store(), Fixed::default());
            let batch = uploaded(&*store, 1, &[("e", "a", "u", 5)]).await;
            let service =
                |store| JobService::new(store, Arc::new(clock.clone()), Arc::new(NoQueue));
            let crash_point = CrashPoint::after(steps);
            let crashing = service(under_test.crashing_at(&crash_point));
            let first =
                run_until_crash(&crash_point, crashing.process_once(key(), batch, true)).await;
            done += usize::from(first.is_some());
            let service = service(store.clone());
            let entry = store.idempotency_entry(key()).await.expect("reads");
            let soon = service.process_once(key(), batch, true).await;
            if first.is_none() && entry.is_some_and(|entry| entry.outcome.is_none()) {
                assert_eq!(soon.expect("succeeds"), KeyedOutcome::Busy, "step {steps}");
            }
            clock.advance(Duration::from_secs(15));
            let job = JobId::Process(batch);
            match service.process_once(key(), batch, true).await {
                Ok(
                    KeyedOutcome::Made(Changed::Done(requested))
                    | KeyedOutcome::Repeated(requested),
                ) => {
                    assert_eq!(requested, job, "step {steps}");
                }
                other => panic!("step {steps}: {other:?}"),
            }
            let batch = store.batch(batch).await.expect("reads").expect("is there");
            assert_eq!(
                (batch.status, batch.wanted),
                (BatchStatus::Queued, 1),
                "step {steps}"
            );
            assert!(store.job(job).await.expect("reads").is_some());
        }
        if done == 2 {
            assert!(steps > 3);
            return;
        }
    }
    panic!("it has more than {MAX_STEPS} steps");
}

#[tokio::test]
async fn a_forced_request_whose_run_is_over_is_not_repeated() {
    let under_test = StoreUnderTest::embedded().await;
    let (store, clock) = (under_test.store(), Fixed::default());
    let id = uploaded(&*store, 1, &[("e", "a", "u", 5)]).await;
    // Dies between the change of the batch and the record under the key.
    let crash_point = CrashPoint::after(3);
    let service = |store| JobService::new(store, Arc::new(clock.clone()), Arc::new(NoQueue));
    let crashing = service(under_test.crashing_at(&crash_point));
    let first = run_until_crash(&crash_point, crashing.process_once(key(), id, true)).await;
    assert!(first.is_none());
    let wanted = async || {
        store
            .batch(id)
            .await
            .expect("reads")
            .expect("is there")
            .wanted
    };
    assert_eq!(wanted().await, 1);
    change(&*store, id, BatchChange::Begin { token: 1 }).await;
    publish(&*store, id, 1, Day(0)).await;
    let finish = BatchChange::Finish {
        token: 1,
        computed: 1,
    };
    change(&*store, id, finish).await;
    clock.advance(Duration::from_secs(15));
    let again = service(store.clone()).process_once(key(), id, true).await;
    assert!(matches!(again, Ok(KeyedOutcome::Made(Changed::Done(_)))));
    assert_eq!(wanted().await, 1, "it is not counted again");
}
