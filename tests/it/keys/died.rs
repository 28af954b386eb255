//! An upload or a wish with a key that dies at any of its steps: the next one with the key finds what is there, and never
//! makes a second one of it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, stream};
use tallymill::{
    clock::Fixed,
    ingest::{Accepted, IngestError, Kept, UploadOptions},
    job::{Dispatch, DispatchError, JobService, KeyedRequest},
    model::{BatchStatus, JobId, RequestKey},
    store::{Changed, Store},
};

use crate::helpers::{
    crash_point::{
        CrashPoint, StoreUnderTest, abandon_crashed_uploads, all, ingest, run_until_crash,
    },
    store_fixtures::uploaded,
};

const CSV: &str = "user_id,event_type,timestamp\nu1,login,2025-11-10\n";
/// More steps than any request takes.
const STEPS: usize = 200;

fn key() -> RequestKey {
    RequestKey::new(b"a test", "POST /uploads", "k")
}

fn body() -> impl Stream<Item = std::result::Result<Bytes, IngestError>> {
    stream::iter([Ok(Bytes::from(CSV))])
}

async fn upload(store: Arc<dyn Store>) -> std::result::Result<Kept, IngestError> {
    let options = UploadOptions::default();
    ingest(store).upload_once(key(), options, body()).await
}

/// Lets an upload die after each number of steps; gives how many it takes in all.
async fn dies_everywhere(
    under_test: impl AsyncFn() -> StoreUnderTest,
    there_already: bool,
) -> usize {
    for steps in 0..STEPS {
        let under_test = under_test().await;
        let store = under_test.store();
        let first = if there_already {
            let options = UploadOptions::default();
            let taken = ingest(store.clone()).upload(options, body()).await;
            Some(taken.expect("is taken"))
        } else {
            None
        };
        let crash_point = CrashPoint::after(steps);
        let done =
            run_until_crash(&crash_point, upload(under_test.crashing_at(&crash_point))).await;
        let sealed = all(&*store, BatchStatus::Uploaded).await;
        abandon_crashed_uploads(&*store).await;
        let again = upload(store.clone()).await.expect("is answered");
        let once = all(&*store, BatchStatus::Uploaded).await;
        assert_eq!(once.len(), 1, "step {steps}: {again:?}");
        if let [before] = sealed[..] {
            assert_eq!(once, [before], "step {steps}");
        }
        match (&first, &again) {
            (Some(Accepted::New(first)), Kept::Now(then) | Kept::Before(then)) => {
                assert_eq!(*then, Accepted::DuplicateOf(first.id), "step {steps}");
            }
            (None, Kept::Now(Accepted::New(then)) | Kept::Before(Accepted::New(then))) => {
                assert_eq!(then.id, once[0], "step {steps}");
            }
            other => panic!("step {steps}: {other:?}"),
        }
        let replayed = upload(store).await.expect("is answered");
        let (Kept::Now(answer) | Kept::Before(answer)) = again;
        assert_eq!(replayed, Kept::Before(answer), "step {steps}");
        if done.is_some() {
            return steps;
        }
    }
    panic!("it takes more than {STEPS} steps");
}

#[tokio::test]
async fn an_upload_that_dies_at_any_step_is_stored_once_by_the_next_one_with_its_key() {
    let steps = dies_everywhere(StoreUnderTest::embedded, false).await;
    assert!(steps > 5, "{steps} verbs");
    let steps = dies_everywhere(StoreUnderTest::embedded, true).await;
    assert!(steps > 5, "{steps} verbs");
}

#[tokio::test]
async fn nor_does_one_over_mongodb_come_twice_whichever_command_was_its_last() {
    let steps = dies_everywhere(StoreUnderTest::mongo, false).await;
    assert!(steps > 6, "{steps} commands");
    let steps = dies_everywhere(StoreUnderTest::mongo, true).await;
    assert!(steps > 6, "{steps} commands");
}

#[tokio::test]
async fn the_key_of_an_upload_that_stands_still_is_busy_until_it_is_given_up() {
    for under_test in [
        StoreUnderTest::embedded().await,
        StoreUnderTest::mongo().await,
    ] {
        let store = under_test.store();
        let arriving = ingest(store.clone());
        let (sender, waiting) = tokio::sync::mpsc::channel::<Bytes>(1);
        let silent = stream::unfold(waiting, |mut waiting| async {
            let chunk = waiting.recv().await?;
            Some((Ok::<_, IngestError>(chunk), waiting))
        });
        let options = UploadOptions::default();
        let mut first = std::pin::pin!(arriving.upload_once(key(), options, silent));
        let busy = async {
            sender.send(Bytes::from(CSV)).await.expect("is taken");
            sender.reserve().await.map(drop).expect("is read");
            upload(store.clone()).await
        };
        let second = tokio::select! {
            first = &mut first => panic!("it has not ended: {first:?}"),
            second = busy => second,
        };
        assert!(matches!(second, Err(IngestError::KeyBusy)), "{second:?}");
        abandon_crashed_uploads(&*store).await;
        let third = upload(store.clone()).await.expect("is answered");
        let Kept::Now(Accepted::New(batch)) = third else {
            panic!("{third:?}");
        };
        // It wakes up late, and finds its key another's and the file there.
        drop(sender);
        let late = first.await.expect("is answered");
        assert_eq!(late, Kept::Now(Accepted::DuplicateOf(batch.id)));
        let again = upload(store).await.expect("is answered");
        assert_eq!(again, Kept::Before(Accepted::New(batch)));
    }
}

/// A queue that takes everything.
struct Nowhere;

#[async_trait]
impl Dispatch for Nowhere {
    async fn nudge(&self, _: JobId) -> std::result::Result<(), DispatchError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_wish_that_dies_at_any_step_is_made_once_by_the_next_one_with_its_key() {
    for steps in 0..STEPS {
        let mut done = 0;
        for under_test in [
            StoreUnderTest::embedded().await,
            StoreUnderTest::mongo().await,
        ] {
            let (store, clock) = (under_test.store(), Fixed::default());
            let batch = uploaded(&*store, 1, &[("e", "a", "u", 5)]).await;
            let service =
                |store| JobService::new(store, Arc::new(clock.clone()), Arc::new(Nowhere));
            let crash_point = CrashPoint::after(steps);
            let dying = service(under_test.crashing_at(&crash_point));
            let first = run_until_crash(&crash_point, dying.process_once(key(), batch, true)).await;
            done += usize::from(first.is_some());
            let service = service(store.clone());
            let key_there = store.idempotency_entry(key()).await.expect("reads");
            let soon = service.process_once(key(), batch, true).await;
            if first.is_none() && key_there.is_some_and(|entry| entry.outcome.is_none()) {
                assert_eq!(soon.expect("answers"), KeyedRequest::Busy, "step {steps}");
            }
            clock.advance(Duration::from_secs(15));
            let job = JobId::Process(batch);
            match service.process_once(key(), batch, true).await {
                Ok(KeyedRequest::Made(Changed::Done(asked)) | KeyedRequest::Repeated(asked)) => {
                    assert_eq!(asked, job, "step {steps}");
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
    panic!("it takes more than {STEPS} steps");
}
