//! Files in parts whose last request dies at any of its steps: they come to one batch, whoever asks next.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use tallymill::{
    clock::Fixed,
    ingest::IngestError,
    model::{BatchStatus, TransferId, TransferOutcome},
    store::Store,
    transfer::{Piece, TransferError, Transfers},
};

use crate::helpers::crash_point::{
    CrashPoint, StoreUnderTest, abandon_crashed_uploads, all, ingest, run_until_crash,
};

const CSV: &str = "user_id,event_type,timestamp\nu1,login,2025-11-10\n";
/// More steps than any request takes.
const STEPS: usize = 200;

fn transfers(store: Arc<dyn Store>) -> Transfers {
    let ingest = ingest(store.clone());
    Transfers::new(store, Arc::new(Fixed::default()), ingest, 1_000)
}

fn from(start: u64) -> Piece {
    Piece {
        start,
        ..Piece::default()
    }
}

/// The last request of a file, as far as it lives.
async fn last_request(transfers: &Transfers, id: TransferId) -> Option<TransferOutcome> {
    let body = stream::iter([Ok::<_, IngestError>(Bytes::from(&CSV[20..]))]);
    let whole = transfers.append(id, from(20), body).await.ok()?;
    transfers.conclude(&whole).await.ok()
}

async fn dies_everywhere(under_test: impl AsyncFn() -> StoreUnderTest) -> usize {
    for steps in 0..STEPS {
        let under_test = under_test().await;
        let store = under_test.store();
        let alive = transfers(store.clone());
        let begun = alive.open(CSV.len() as u64, Vec::new(), None).await;
        let id = begun.expect("opens").transfer.id;
        let body = stream::iter([Ok::<_, IngestError>(Bytes::from(&CSV[..20]))]);
        alive.append(id, from(0), body).await.expect("appends");
        let crash_point = CrashPoint::after(steps);
        let dying = transfers(under_test.crashing_at(&crash_point));
        let done = run_until_crash(&crash_point, last_request(&dying, id)).await;
        abandon_crashed_uploads(&*store).await;
        let mut now = alive.progress(id).await.expect("is there");
        if !now.is_whole() {
            assert_eq!(now.end, 20, "step {steps}");
            last_request(&alive, id).await.expect("goes on");
            now = alive.progress(id).await.expect("is there");
        }
        let outcome = alive.conclude(&now).await.expect("is told");
        let stored = all(&*store, BatchStatus::Uploaded).await;
        assert_eq!(stored.len(), 1, "step {steps}");
        assert_eq!(outcome, TransferOutcome::Stored { batch: stored[0] });
        let again = alive.progress(id).await.expect("is there");
        assert_eq!(again.transfer.outcome, Some(outcome), "step {steps}");
        if done.is_some() {
            return steps;
        }
    }
    panic!("it takes more than {STEPS} steps");
}

#[tokio::test]
async fn what_arrived_of_a_body_that_breaks_off_is_kept_unless_it_has_a_checksum() {
    for under_test in [
        StoreUnderTest::embedded().await,
        StoreUnderTest::mongo().await,
    ] {
        let transfers = transfers(under_test.store());
        let begun = transfers.open(CSV.len() as u64, Vec::new(), None).await;
        let id = begun.expect("opens").transfer.id;
        let broken = || {
            let cut = Err(IngestError::Body("cut".into()));
            stream::iter([Ok(Bytes::from(&CSV[..20])), cut])
        };
        // What the whole of it would come to.
        let checksum = "sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=".parse().ok();
        assert!(checksum.is_some());
        for (checksum, end) in [(checksum, 0), (None, 20)] {
            let piece = Piece {
                checksum,
                ..from(0)
            };
            let cut = transfers.append(id, piece, broken()).await;
            assert!(matches!(
                cut,
                Err(TransferError::Ingest(IngestError::Body(_)))
            ));
            let now = transfers.progress(id).await.expect("is there");
            assert_eq!(now.end, end);
        }
    }
}

#[tokio::test]
async fn a_file_whose_last_request_dies_at_any_step_comes_to_one_batch() {
    let steps = dies_everywhere(StoreUnderTest::embedded).await;
    assert!(steps > 8, "{steps} verbs");
}

#[tokio::test]
async fn so_does_one_over_mongodb_whichever_command_was_the_last() {
    let steps = dies_everywhere(StoreUnderTest::mongo).await;
    assert!(steps > 12, "{steps} commands");
}
