//! The upload itself: the body is parsed on a thread of its own while it arrives, the store encodes on
//! another, and a bounded channel stands between each two.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::{
    BadRows, Dedupe, IngestError, Limits, Strictness, UploadOptions,
    parsing::{End, Parsing, Step},
};
use crate::{
    clock::Clock,
    model::{
        Batch, BatchChange, BatchId, Columns, IdentityBy, Receipt, Rejection, RequestKey,
        receipt::{FormatProposal, RowCounts},
    },
    parse::{LineEnding, Parsed},
    store::{Changed, EventWriter, Sealed, Store, StoreError},
};

/// Chunks of a body that wait for the parser; actix gives up to 64 KiB each.
pub(super) const WAITING_CHUNKS: usize = 16;
/// Parsed blocks that wait for the store.
const WAITING_BLOCKS: usize = 2;
/// Rejections given back with a file that has no valid row.
const FIRST_ERRORS: usize = 100;
/// Bytes parsed at a time, so that one large chunk does not pile up parsed blocks.
const PARSED_AT_ONCE: usize = 64 << 10;

/// Takes uploads.
#[derive(Clone)]
pub struct Ingest {
    pub(super) store: Arc<dyn Store>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: Limits,
    owner: String,
}

/// What an upload became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// A new batch.
    New(Box<Batch>),
    /// Byte for byte one that is here already.
    DuplicateOf(BatchId),
}

impl Ingest {
    /// Takes uploads into this store; their leases carry `owner`.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        owner: String,
    ) -> Self {
        Self {
            store,
            clock,
            limits,
            owner,
        }
    }

    /// Stores one file. Whatever it returns but `Accepted`, nothing of it is visible. Dropped midway it
    /// leaves a receiving batch, which nobody sees and the sweep removes.
    ///
    /// # Errors
    /// [`IngestError`] says what is wrong with the file, its options, or the store.
    pub async fn upload<S, E>(
        &self,
        options: UploadOptions,
        body: S,
    ) -> Result<Accepted, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let batch = self.begin(&options).await?;
        self.fill(&batch, &options, body, None).await
    }

    /// Adds a batch for an upload that begins.
    pub(super) async fn begin(&self, options: &UploadOptions) -> Result<Batch, IngestError> {
        let now = self.clock.now();
        let batch = Batch::receiving(
            BatchId::at(now),
            options.source.clone(),
            options.dedupe != Dedupe::None,
            self.owner.clone(),
            now,
        );
        self.store.create_batch(&batch).await?;
        Ok(batch)
    }

    /// Stores a body as this batch; the batch is given up if that fails.
    pub(super) async fn fill<S, E>(
        &self,
        batch: &Batch,
        options: &UploadOptions,
        body: S,
        key: Option<RequestKey>,
    ) -> Result<Accepted, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let id = batch.id;
        let stored = tokio::select! {
            stored = self.store_body(id, options, body) => stored,
            lost = self.keep_alive(id) => Err(lost),
        };
        let sealed = match stored {
            Ok(taken) => self.seal(batch, options, taken, key).await,
            Err(why) => Err(why),
        };
        match sealed {
            Ok(Sealed::Batch(batch)) => Ok(Accepted::New(batch)),
            Ok(Sealed::DuplicateOf(first)) => {
                self.abandon(id).await;
                Ok(Accepted::DuplicateOf(first))
            }
            Ok(Sealed::Gone) => Err(IngestError::GivenUp),
            Err(why) => {
                if !matches!(why, IngestError::OutcomeUnknown { .. }) {
                    self.abandon(id).await;
                }
                Err(why)
            }
        }
    }

    async fn store_body<S, E>(
        &self,
        id: BatchId,
        options: &UploadOptions,
        body: S,
    ) -> Result<Taken, IngestError>
    where
        S: Stream<Item = Result<Bytes, E>>,
        E: Into<IngestError>,
    {
        let (chunks, waiting_chunks) = mpsc::channel(WAITING_CHUNKS);
        let (steps, waiting_steps) = mpsc::channel(WAITING_BLOCKS);
        let parser = Parsing::new(options, &self.limits)?;
        std::thread::Builder::new()
            .name("csv-parser".into())
            .spawn(move || parser.run(waiting_chunks, &steps))
            .map_err(|source| StoreError::Unavailable {
                what: "a thread for parsing",
                source: Box::new(source),
            })?;
        // A file fault stops the parser, and with it the body: it is the reason, not the broken channel. Nor does
        // a fault wait for a client that is silent.
        let sending = async { Ok(send_body(body, chunks).await) };
        let taking = self.take(id, options.strictness, waiting_steps);
        let (sent, taken) = futures_util::future::try_join(sending, taking).await?;
        sent?;
        taken.ok_or_else(|| IngestError::Body("the body ended before its end".into()))
    }

    /// Stores what the parser gives; none if it ended without its last word, as when the body broke off.
    async fn take(
        &self,
        id: BatchId,
        strictness: Strictness,
        mut steps: mpsc::Receiver<Result<Step, IngestError>>,
    ) -> Result<Option<Taken>, IngestError> {
        let mut taken = Taken::default();
        let mut writer: Option<Box<dyn EventWriter>> = None;
        while let Some(step) = steps.recv().await {
            match step? {
                Step::Columns(columns, identity) => {
                    writer = Some(self.store.write_events(id, &columns).await?);
                    (taken.columns, taken.identity) = (columns, identity);
                }
                Step::Rows(Parsed { events, rejections }) => {
                    taken.failed += rejections.len() as u64;
                    if let (Some(writer), false) = (&mut writer, events.is_empty()) {
                        writer.append(events).await?;
                    }
                    self.keep_rejections(id, &mut taken, rejections).await?;
                    if strictness.most().is_some_and(|most| taken.failed > most) {
                        return Err(taken.too_many(strictness, None));
                    }
                }
                Step::End(end) => {
                    if end.summary.inserted == 0 {
                        let rows = taken.bad_rows(end.summary.proposal);
                        return Err(IngestError::NoValidRows(rows));
                    }
                    if strictness.refuses(end.summary.failed, end.summary.inserted) {
                        return Err(taken.too_many(strictness, end.summary.proposal));
                    }
                    if let Some(writer) = writer.take() {
                        writer.finish().await?;
                    }
                    taken.end = Some(end);
                    return Ok(Some(taken));
                }
            }
        }
        Ok(None)
    }

    async fn keep_rejections(
        &self,
        id: BatchId,
        taken: &mut Taken,
        mut rejections: Vec<Rejection>,
    ) -> Result<(), IngestError> {
        for rejection in &rejections {
            let mut codes: Vec<_> = rejection.faults.iter().map(|f| f.code).collect();
            codes.sort_unstable();
            codes.dedup();
            codes
                .into_iter()
                .for_each(|code| *taken.by_code.entry(code).or_default() += 1);
        }
        let room = FIRST_ERRORS.saturating_sub(taken.first.len());
        taken.first.extend(rejections.iter().take(room).cloned());
        let room = self.limits.rejections.saturating_sub(taken.kept);
        rejections.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        if !rejections.is_empty() {
            self.store.append_rejections(id, &rejections).await?;
            taken.kept += rejections.len() as u64;
        }
        Ok(())
    }

    async fn seal(
        &self,
        batch: &Batch,
        options: &UploadOptions,
        taken: Taken,
        key: Option<RequestKey>,
    ) -> Result<Sealed, IngestError> {
        let Some(End {
            received,
            summary,
            survey,
        }) = taken.end.map(|end| *end)
        else {
            return Err(IngestError::Body("the body ended before its end".into()));
        };
        let receipt = Receipt {
            rows: RowCounts {
                received: summary.received,
                inserted: summary.inserted,
                failed: summary.failed,
                blank: summary.blank,
            },
            errors_by_code: taken.by_code,
            rejections_kept: taken.kept,
            file_name: options.file_name.clone(),
            profile: options.profile.clone(),
            bytes: received.bytes,
            sha256: hex(&received.sha256),
            bom: received.bom,
            encoding: received.encoding.name(),
            encoding_known: received.known.as_str().into(),
            packing: received.packing.map(|packing| packing.as_str().into()),
            line_ending: line_ending(summary.line_ending).into(),
            delimiter: summary.dialect.delimiter.into(),
            quote: summary.dialect.quote.into(),
            escape: summary.dialect.escape.as_str().into(),
            preamble_lines: summary.preamble_lines,
            repeated_headers: summary.repeated_headers,
            proposal: summary.proposal,
            warnings: survey.warnings(&taken.columns),
            identity: taken.identity,
            claims: survey.with_identity(),
            columns: taken.columns,
            event_time: survey.span(),
            event_types: survey.types(),
            days: survey.days(),
            expires_at: self.limits.batch_ttl.map(|kept| batch.created_at + kept),
        };
        let content = options.content_key(&received.sha256);
        if let Some(key) = key {
            // Before the seal: from then on the batch speaks for the key, whatever becomes of this process.
            self.note_content(key, batch, content).await?;
        }
        let sealed = self.store.seal(batch.id, receipt, content).await;
        let sealed = sealed.map_err(|source| IngestError::OutcomeUnknown {
            id: batch.id,
            source,
        })?;
        if let (Some(key), Sealed::DuplicateOf(first)) = (key, &sealed) {
            self.note_duplicate(key, batch, *first, content).await?;
        }
        Ok(sealed)
    }

    /// Renews the upload's lease; returns when the upload was taken for lost.
    async fn keep_alive(&self, id: BatchId) -> IngestError {
        loop {
            self.clock.sleep(self.limits.lease / 3).await;
            match self.store.change_batch(id, &BatchChange::RenewUpload).await {
                Ok(Changed::Done(_)) => {}
                Ok(Changed::Refused(_) | Changed::Missing) => return IngestError::GivenUp,
                Err(why) => {
                    tracing::warn!(batch.id = %id, error = %why, "can't renew the lease of upload {id}")
                }
            }
        }
    }

    /// Gives the upload up at once rather than leave it to the sweep, which does the same if this fails.
    pub(super) async fn abandon(&self, id: BatchId) {
        if let Err(why) = self.remove(id).await {
            tracing::warn!(batch.id = %id, error = %why, "can't remove upload {id}: the sweep will");
        }
    }

    async fn remove(&self, id: BatchId) -> Result<(), StoreError> {
        let abandon = BatchChange::Abandon {
            at: self.clock.now(),
            renewals: None,
        };
        self.store.change_batch(id, &abandon).await?;
        while self.store.drop_rejections(id).await? {}
        self.store.drop_events(id).await
    }
}

/// What has been stored so far.
#[derive(Default)]
struct Taken {
    columns: Columns,
    identity: IdentityBy,
    by_code: BTreeMap<crate::model::FaultCode, u64>,
    failed: u64,
    kept: u64,
    first: Vec<Rejection>,
    end: Option<Box<End>>,
}

impl Taken {
    fn too_many(self, allowed: Strictness, proposal: Option<FormatProposal>) -> IngestError {
        let rows = self.bad_rows(proposal);
        IngestError::TooManyErrors { allowed, rows }
    }

    fn bad_rows(self, proposal: Option<FormatProposal>) -> Box<BadRows> {
        Box::new(BadRows {
            failed: self.failed,
            first: self.first,
            columns: self.columns,
            proposal,
        })
    }
}

pub(super) async fn send_body<S, E>(body: S, chunks: mpsc::Sender<Bytes>) -> Result<(), IngestError>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: Into<IngestError>,
{
    let mut body = std::pin::pin!(body);
    while let Some(chunk) = body.next().await {
        let mut chunk = chunk.map_err(Into::into)?;
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(PARSED_AT_ONCE));
            if chunks.send(part).await.is_err() {
                // The parser has stopped at a fault, and says so itself.
                return Ok(());
            }
        }
    }
    // An empty chunk says that the body is whole: a channel that only closes may be a client that went away.
    let _ = chunks.send(Bytes::new()).await;
    Ok(())
}

fn line_ending(line_ending: LineEnding) -> &'static str {
    match line_ending {
        LineEnding::Lf => "lf",
        LineEnding::CrLf => "crlf",
        LineEnding::Cr => "cr",
        LineEnding::Mixed => "mixed",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
