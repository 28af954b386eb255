//! Writes one batch from any source of events: rows go to the store as they come, and become visible together when the
//! batch is sealed. Knows nothing of files.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{
    EventStatistics, Ingest, IngestError, event_sink::EventSink, rejection_tally::RejectionTally,
};
use crate::{
    clock::Clock,
    model::{
        Batch, BatchChange, BatchId, Columns, EventBlock, EventDigest, IdentityBy, Instant, Origin,
        ProfileName, Proposal, Receipt, Rejection,
        receipt::{RowCounts, ValueCounts},
    },
    store::{Changed, EventWriter, Sealed, Store, StoreError},
};

/// What the source of a batch knows once all rows are written.
#[derive(Debug)]
pub struct BatchSummary {
    /// The row counts of the source. They are independent of the writer, so that processing notices lost rows.
    pub rows: RowCounts,
    /// The columns.
    pub columns: Columns,
    /// The columns that identify an event.
    pub identity: IdentityBy,
    /// The statistics of all events.
    pub statistics: EventStatistics,
    /// Options that would let rejected rows be read.
    pub proposals: Vec<Proposal>,
    /// How the values were read, if the source is a file.
    pub values: Option<ValueCounts>,
    /// The profile that supplied options, if any.
    pub profile: Option<ProfileName>,
    /// The batch whose rejected rows were corrected, if any.
    pub parent: Option<BatchId>,
    /// The options that determine the meaning of the rows, as stated.
    pub options: BTreeMap<String, String>,
}

impl BatchSummary {
    /// Returns the receipt of the batch.
    pub(super) fn into_receipt(
        self,
        origin: Origin,
        rejections: &RejectionTally,
        event_digest: Option<EventDigest>,
        expires_at: Option<Instant>,
    ) -> Receipt {
        let EventStatistics {
            event_time,
            event_types,
            days,
            has_identities,
            warnings,
        } = self.statistics;
        Receipt {
            rows: self.rows,
            errors_by_code: rejections.by_code.clone(),
            rejections_kept: rejections.stored,
            origin,
            profile: self.profile,
            columns: self.columns,
            event_time,
            event_types,
            days,
            proposals: self.proposals,
            values: self.values,
            warnings,
            identity: self.identity,
            parent: self.parent,
            options: self.options,
            event_digest,
            claims: has_identities,
            expires_at,
        }
    }
}

/// A batch under way. If the writer is dropped without a seal, its lease expires, and the reconciler deletes the batch;
/// [`Self::abandon`] deletes it at once.
pub struct BatchWriter {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    max_rejections: u64,
    ttl: Option<Duration>,
    lease: Duration,
    batch: Batch,
    events: Option<Box<dyn EventWriter>>,
    event_digest: Option<EventDigest>,
    rejections: RejectionTally,
    /// Whether the batch is still to be abandoned if it is not sealed.
    is_open: bool,
}

impl BatchWriter {
    /// Creates a receiving batch. `source` is the namespace of its event ids; `dedupe` says whether its identities are
    /// claimed.
    ///
    /// # Errors
    /// [`StoreError`] if the batch was not created.
    pub async fn begin(ingest: &Ingest, source: &str, dedupe: bool) -> Result<Self, StoreError> {
        let now = ingest.clock.now();
        let batch = Batch::receiving(
            BatchId::at(now),
            source.to_owned(),
            dedupe,
            ingest.owner.clone(),
            now,
        );
        ingest.store.create_batch(&batch).await?;
        Ok(Self {
            store: Arc::clone(&ingest.store),
            clock: Arc::clone(&ingest.clock),
            max_rejections: ingest.limits.rejections,
            ttl: ingest.limits.batch_ttl,
            lease: ingest.limits.lease,
            batch,
            events: None,
            event_digest: None,
            rejections: RejectionTally::default(),
            is_open: true,
        })
    }

    /// Returns the batch as it was created.
    #[must_use]
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// Returns the lease of the batch, which must be renewed while rows are written.
    #[must_use]
    pub fn lease(&self) -> UploadLease {
        UploadLease {
            store: Arc::clone(&self.store),
            clock: Arc::clone(&self.clock),
            batch: self.batch.id,
            period: self.lease / 3,
        }
    }

    /// Declares the columns, once, before the first event.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot accept events.
    pub async fn open(&mut self, columns: &Columns) -> Result<(), StoreError> {
        let writer = self.store.write_events(self.batch.id, columns).await?;
        self.events = Some(writer);
        Ok(())
    }

    /// Appends events in the order of their rows.
    ///
    /// # Errors
    /// [`StoreError`] if the store failed.
    ///
    /// # Panics
    /// If the columns are not declared, or the rows are finished.
    pub async fn append(&mut self, events: EventBlock) -> Result<(), StoreError> {
        let writer = self.events.as_mut();
        let writer = writer.expect("`open` comes before events, and `finish` after them");
        writer.append(events).await
    }

    /// Records rejected rows: all are counted, and stored up to the limit.
    ///
    /// # Errors
    /// [`StoreError`] if the store failed.
    pub async fn reject(&mut self, rejections: Vec<Rejection>) -> Result<(), StoreError> {
        let stored = self.rejections.add(rejections, self.max_rejections);
        if stored.is_empty() {
            return Ok(());
        }
        self.store.append_rejections(self.batch.id, &stored).await
    }

    /// Makes all events durable. No event may follow.
    ///
    /// # Errors
    /// [`StoreError`] if the store failed.
    pub async fn finish(&mut self) -> Result<(), StoreError> {
        if let Some(writer) = self.events.take() {
            self.event_digest = writer.finish().await?;
        }
        Ok(())
    }

    /// Makes the batch visible, unless a live batch has the same content key.
    ///
    /// # Errors
    /// [`IngestError::Store`] if the batch is certainly not sealed; [`IngestError::OutcomeUnknown`] if the store failed
    /// during the seal and could not say what came of it.
    pub async fn seal(
        &mut self,
        origin: Origin,
        summary: BatchSummary,
        content_key: [u8; 32],
    ) -> Result<Sealed, IngestError> {
        self.finish().await?;
        let id = self.batch.id;
        let expires_at = self.expires_at();
        let digest = self.event_digest.clone();
        let receipt = summary.into_receipt(origin, &self.rejections, digest, expires_at);
        let mut sealed = self.store.seal(id, receipt.clone(), content_key).await;
        if let Ok(Sealed::DuplicateOf(first)) = sealed
            && !extend(self.store.as_ref(), first, expires_at).await?
        {
            // Deleted since, so the file is no duplicate any more.
            sealed = self.store.seal(id, receipt, content_key).await;
        }
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => self.seal_outcome(error).await?,
        };
        self.is_open = matches!(sealed, Sealed::DuplicateOf(_));
        Ok(sealed)
    }

    /// Returns the time at which a batch sealed now expires; none if never.
    fn expires_at(&self) -> Option<Instant> {
        self.ttl.map(|ttl| self.clock.now() + ttl)
    }

    /// Determines the outcome of a seal that returned an error: a batch that can be abandoned is not sealed, and never
    /// will be, even if a command of the seal is still on its way.
    async fn seal_outcome(&mut self, error: StoreError) -> Result<Sealed, IngestError> {
        let id = self.batch.id;
        let unknown = |source| IngestError::OutcomeUnknown { id, source };
        let abandon = BatchChange::Abandon {
            at: self.clock.now(),
            renewals: None,
        };
        self.is_open = false;
        match self.store.change_batch(id, &abandon).await {
            Ok(Changed::Done(_)) => {
                // Its rows are still to be removed.
                self.is_open = true;
                Err(error.into())
            }
            Ok(Changed::Refused(_)) => match self.store.batch(id).await {
                Ok(Some(batch)) if batch.receipt.is_some() => Ok(Sealed::Batch(Box::new(batch))),
                Ok(_) => Ok(Sealed::Abandoned),
                Err(_) => Err(unknown(error)),
            },
            Ok(Changed::Missing) => Ok(Sealed::Abandoned),
            Err(_) => Err(unknown(error)),
        }
    }

    /// Deletes the batch and its rows, unless it is sealed or may be. If this fails, the reconciler does the same later.
    pub async fn abandon(self) {
        if !self.is_open {
            return;
        }
        let id = self.batch.id;
        if let Err(error) = self.delete().await {
            tracing::warn!(batch.id = %id, %error, "abandoned upload {id} not deleted, the reconciler will delete it");
        }
    }

    async fn delete(&self) -> Result<(), StoreError> {
        let id = self.batch.id;
        let abandon = BatchChange::Abandon {
            at: self.clock.now(),
            renewals: None,
        };
        self.store.change_batch(id, &abandon).await?;
        while self.store.drop_rejections(id).await? {}
        self.store.drop_events(id).await
    }
}

/// Makes a batch whose file is uploaded again expire later, unless it is or was processed. Returns false if it is deleted.
async fn extend(
    store: &dyn Store,
    id: BatchId,
    expires_at: Option<Instant>,
) -> Result<bool, StoreError> {
    let extend = BatchChange::Extend { expires_at };
    match store.change_batch(id, &extend).await? {
        Changed::Done(_) => Ok(true),
        Changed::Missing => Ok(false),
        Changed::Refused(_) => {
            let batch = store.batch(id).await?;
            Ok(batch.is_some_and(|batch| !batch.status.is_void()))
        }
    }
}

impl EventSink for BatchWriter {
    async fn open(&mut self, columns: &Columns) -> Result<(), StoreError> {
        Self::open(self, columns).await
    }

    async fn append(&mut self, events: EventBlock) -> Result<(), StoreError> {
        Self::append(self, events).await
    }

    async fn reject(&mut self, rejections: Vec<Rejection>) -> Result<(), StoreError> {
        Self::reject(self, rejections).await
    }

    async fn finish(&mut self) -> Result<(), StoreError> {
        Self::finish(self).await
    }

    fn rejections(&mut self) -> &mut RejectionTally {
        &mut self.rejections
    }
}

/// The lease of a batch under way. While it is renewed, the reconciler leaves the batch alone.
pub struct UploadLease {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    batch: BatchId,
    period: Duration,
}

impl UploadLease {
    /// Renews the lease until the batch is deleted by another process. Returns the error of the upload.
    pub async fn renew_until_lost(&self) -> IngestError {
        let id = self.batch;
        loop {
            self.clock.sleep(self.period).await;
            match self.store.change_batch(id, &BatchChange::RenewUpload).await {
                Ok(Changed::Done(_)) => {}
                Ok(Changed::Refused(_) | Changed::Missing) => return IngestError::Abandoned,
                Err(error) if error.is_known_outage() => {
                    tracing::debug!(batch.id = %id, %error, "lease of upload {id} not renewed, will retry");
                }
                Err(error) => {
                    tracing::warn!(batch.id = %id, %error, "lease of upload {id} not renewed, will retry");
                }
            }
        }
    }
}
