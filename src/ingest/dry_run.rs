//! Dry runs: the receipt that a file would get, with a sample of its rows. Nothing is stored.

use bytes::Bytes;
use futures_util::Stream;

use super::{
    BodyError, Dedupe, Ingest, IngestError, UploadOptions, event_sink::EventSink,
    rejection_tally::RejectionTally,
};
use crate::{
    model::{Columns, EventBlock, Receipt, Rejection},
    store::StoreError,
};

/// Maximum events in the sample.
const SAMPLE_ROWS: usize = 20;

/// The result of a dry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DryRun {
    /// The namespace of the event ids.
    pub source: String,
    /// Whether the identities of the events would be claimed.
    pub dedupe: bool,
    /// The receipt, without a time of expiry.
    pub receipt: Receipt,
    /// The first events, with all columns.
    pub sample: EventBlock,
    /// The first rejected rows.
    pub first_rejections: Vec<Rejection>,
}

impl Ingest {
    /// Reads a file like an upload, without storing anything.
    ///
    /// # Errors
    /// [`IngestError`] if an upload of the file would be refused.
    pub(super) async fn dry_run<S>(
        &self,
        options: &UploadOptions,
        body: S,
    ) -> Result<DryRun, IngestError>
    where
        S: Stream<Item = Result<Bytes, BodyError>>,
    {
        let mut sink = SampleSink {
            max_rejections: self.limits.rejections,
            sample: EventBlock::default(),
            rejections: RejectionTally::default(),
        };
        let file = self.read_file(options, body, &mut sink).await?;
        let SampleSink {
            sample, rejections, ..
        } = sink;
        let origin = file.origin(options);
        let receipt = file
            .summary(options)
            .into_receipt(origin, &rejections, None, None);
        Ok(DryRun {
            source: options.source.clone(),
            dedupe: options.dedupe != Dedupe::None,
            receipt,
            sample,
            first_rejections: rejections.first,
        })
    }
}

/// Retains the first events, and counts rejections as an upload does.
struct SampleSink {
    max_rejections: u64,
    sample: EventBlock,
    rejections: RejectionTally,
}

impl EventSink for SampleSink {
    async fn open(&mut self, _: &Columns) -> Result<(), StoreError> {
        Ok(())
    }

    async fn append(&mut self, events: EventBlock) -> Result<(), StoreError> {
        let missing = SAMPLE_ROWS.saturating_sub(self.sample.len());
        (0..missing.min(events.len())).for_each(|row| self.sample.push_from(&events, row));
        Ok(())
    }

    async fn reject(&mut self, rejections: Vec<Rejection>) -> Result<(), StoreError> {
        self.rejections.add(rejections, self.max_rejections);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn rejections(&mut self) -> &mut RejectionTally {
        &mut self.rejections
    }
}
