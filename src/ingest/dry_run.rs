//! A look at what a file would come to, with nothing stored.

use bytes::Bytes;
use futures_util::Stream;

use super::{Dedupe, Ingest, IngestError, UploadOptions, taken::Sink};
use crate::{
    model::{Columns, EventBlock, Receipt, Rejection},
    store::StoreError,
};

/// Rows shown as they would be stored.
const ROWS: usize = 20;

/// What a file would come to.
#[derive(Debug)]
pub struct DryRun {
    /// The namespace of its identities.
    pub source: String,
    /// Whether events would be told apart at all.
    pub dedupe: bool,
    /// Its receipt, but for the time it would expire.
    pub receipt: Receipt,
    /// Its first events, with all their columns.
    pub sample: EventBlock,
    /// Its first rejected rows.
    pub first: Vec<Rejection>,
}

impl Ingest {
    /// Reads one file as [`Ingest::upload`] does, and stores nothing of it.
    ///
    /// # Errors
    /// [`IngestError`] as an upload of the file would be refused.
    pub async fn dry_run<S, E>(
        &self,
        options: &UploadOptions,
        body: S,
    ) -> Result<DryRun, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let mut sample = Sample::default();
        let mut taken = self.read(options, body, &mut sample).await?;
        let first = std::mem::take(&mut taken.first);
        let (receipt, _) = taken.receipt(options, None)?;
        Ok(DryRun {
            source: options.source.clone(),
            dedupe: options.dedupe != Dedupe::None,
            receipt,
            sample: sample.0,
            first,
        })
    }
}

/// The first rows; the others are let go.
#[derive(Default)]
struct Sample(EventBlock);

impl Sink for Sample {
    async fn open(&mut self, _: &Columns) -> Result<(), StoreError> {
        Ok(())
    }

    async fn events(&mut self, block: EventBlock) -> Result<(), StoreError> {
        let room = ROWS.saturating_sub(self.0.len()).min(block.len());
        (0..room).for_each(|at| self.0.push_from(&block, at));
        Ok(())
    }

    async fn rejections(&mut self, _: Vec<Rejection>) -> Result<(), StoreError> {
        Ok(())
    }

    async fn close(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
}
