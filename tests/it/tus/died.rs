//! Transfers whose last request dies at any step: the next request completes them as one batch.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tallymill::{
    clock::Fixed,
    ingest::BodyError,
    model::{BatchStatus, TransferId, TransferOutcome},
    store::Store,
    transfer::{AppendRequest, TransferError, Transfers},
};

use crate::helpers::crash_point::{
    CrashPoint, StoreUnderTest, abandon_crashed_uploads, all, ingest, run_until_crash,
};

const CSV: &str = "user_id,event_type,timestamp\nu1,login,2025-11-10\n";
/// More steps than any request has.
const MAX_STEPS: usize = 200;

fn transfers(store: Arc<dyn Store>) -> Transfers {
    let ingest = ingest(store.clone());
    Transfers::new(store, Arc::new(Fixed::default()), ingest, 1_000)
}

fn at(offset: u64) -> AppendRequest {
    AppendRequest {
        offset,
        ..AppendRequest::default()
    }
}

/// Sends the last bytes of a file. Returns the outcome, unless the request fails.
async fn last_request(transfers: &Transfers, id: TransferId) -> Option<TransferOutcome> {
    let body = stream::iter([Ok::<_, BodyError>(Bytes::from(&CSV[20..]))]);
    let append = transfers.begin_append(id, at(20)).await.ok()?;
    let progress = append.body(body).await.ok()?;
    transfers.complete(&progress).await.ok()
}

async fn kill_at_each_step(under_test: impl AsyncFn() -> StoreUnderTest) -> usize {
    for steps in 0..MAX_STEPS {
        let under_test = under_test().await;
        let store = under_test.store();
        let live = transfers(store.clone());
        let opened = live.open(CSV.len() as u64, Vec::new(), None).await;
        let id = opened.expect("opens").transfer.id;
        let body = stream::iter([Ok::<_, BodyError>(Bytes::from(&CSV[..20]))]);
        let append = live.begin_append(id, at(0)).await.expect("fits");
        append.body(body).await.expect("appends");
        let crash_point = CrashPoint::after(steps);
        let crashing = transfers(under_test.crashing_at(&crash_point));
        let done = run_until_crash(&crash_point, last_request(&crashing, id)).await;
        abandon_crashed_uploads(&*store).await;
        let mut progress = live.progress(id).await.expect("exists");
        if !progress.is_complete() {
            assert_eq!(progress.end, 20, "step {steps}");
            last_request(&live, id).await.expect("is completed");
            progress = live.progress(id).await.expect("exists");
        }
        let outcome = live.complete(&progress).await.expect("has an outcome");
        let stored = all(&*store, BatchStatus::Uploaded).await;
        assert_eq!(stored.len(), 1, "step {steps}");
        assert_eq!(outcome, TransferOutcome::Stored { batch: stored[0] });
        let again = live.progress(id).await.expect("exists");
        assert_eq!(again.transfer.outcome, Some(outcome), "step {steps}");
        if done.is_some() {
            return steps;
        }
    }
    panic!("it has more than {MAX_STEPS} steps");
}

#[tokio::test]
async fn bytes_before_an_interruption_remain_unless_they_have_a_checksum() {
    for under_test in [
        StoreUnderTest::embedded().await,
        StoreUnderTest::mongo().await,
    ] {
        let transfers = transfers(under_test.store());
        let opened = transfers.open(CSV.len() as u64, Vec::new(), None).await;
        let id = opened.expect("opens").transfer.id;
        let broken = || {
            let cut = Err(BodyError::EndedEarly);
            stream::iter([Ok(Bytes::from(&CSV[..20])), cut])
        };
        // Of a complete body.
        let checksum = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=".parse().ok();
        assert!(checksum.is_some());
        for (checksum, end) in [(checksum, 0), (None, 20)] {
            let request = AppendRequest { checksum, ..at(0) };
            let append = transfers.begin_append(id, request).await.expect("fits");
            let cut = append.body(broken()).await;
            assert!(matches!(cut, Err(TransferError::Interrupted(_))));
            let progress = transfers.progress(id).await.expect("exists");
            assert_eq!(progress.end, end);
        }
    }
}

#[tokio::test]
async fn transfers_killed_at_any_verb_become_one_batch() {
    let steps = kill_at_each_step(StoreUnderTest::embedded).await;
    assert!(steps > 8, "{steps} verbs");
}

#[tokio::test]
async fn transfers_killed_at_any_mongodb_command_become_one_batch() {
    let steps = kill_at_each_step(StoreUnderTest::mongo).await;
    assert!(steps > 12, "{steps} commands");
}
