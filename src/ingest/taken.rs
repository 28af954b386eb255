//! What the parser's thread gives, taken step by step: a sink stores it, or does not; here is kept what it comes to.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::{
    BadRows, IngestError, Strictness, UploadOptions,
    parsing::{End, Step},
};
use crate::{
    model::{
        Columns, EventBlock, FaultCode, FileOrigin, IdentityBy, Instant, Origin, Receipt,
        Rejection,
        receipt::{FormatProposal, RowCounts},
    },
    parse::{LineEnding, ParsedRows},
    store::StoreError,
};

/// Rejections given back with a file of which nothing is stored.
const FIRST_ERRORS: usize = 100;

/// Where rows go.
pub(super) trait Sink {
    /// Comes first.
    async fn open(&mut self, columns: &Columns) -> Result<(), StoreError>;
    /// Takes events.
    async fn events(&mut self, block: EventBlock) -> Result<(), StoreError>;
    /// Takes rejected rows.
    async fn rejections(&mut self, rejections: Vec<Rejection>) -> Result<(), StoreError>;
    /// Comes last.
    async fn close(&mut self) -> Result<(), StoreError>;
}

/// What has been taken so far.
#[derive(Default)]
pub(super) struct Taken {
    columns: Columns,
    identity: IdentityBy,
    by_code: BTreeMap<FaultCode, u64>,
    failed: u64,
    kept: u64,
    pub(super) first: Vec<Rejection>,
    end: Option<Box<End>>,
}

impl Taken {
    /// Hands on what the parser gives, of rejections the first `most`; none if it ended without its last word, as when
    /// the body broke off.
    pub(super) async fn all(
        mut steps: mpsc::Receiver<Result<Step, IngestError>>,
        strictness: Strictness,
        most: u64,
        sink: &mut impl Sink,
    ) -> Result<Option<Self>, IngestError> {
        let mut taken = Self::default();
        while let Some(step) = steps.recv().await {
            match step? {
                Step::Columns(columns, identity) => {
                    sink.open(&columns).await?;
                    (taken.columns, taken.identity) = (columns, identity);
                }
                Step::Rows(ParsedRows { events, rejections }) => {
                    if !events.is_empty() {
                        sink.events(events).await?;
                    }
                    let kept = taken.count(rejections, most);
                    if !kept.is_empty() {
                        sink.rejections(kept).await?;
                    }
                    if strictness.most().is_some_and(|most| taken.failed > most) {
                        return Err(taken.too_many(strictness, None));
                    }
                }
                Step::End(end) => {
                    let taken = taken.ended(end, strictness)?;
                    sink.close().await?;
                    return Ok(Some(taken));
                }
            }
        }
        Ok(None)
    }

    /// Counts rejections, and gives those that are to be kept.
    fn count(&mut self, mut rejections: Vec<Rejection>, most: u64) -> Vec<Rejection> {
        self.failed += rejections.len() as u64;
        for rejection in &rejections {
            let mut codes: Vec<_> = rejection.faults.iter().map(|f| f.code).collect();
            codes.sort_unstable();
            codes.dedup();
            for code in codes {
                *self.by_code.entry(code).or_default() += 1;
            }
        }
        let room = FIRST_ERRORS.saturating_sub(self.first.len());
        self.first.extend(rejections.iter().take(room).cloned());
        let room = most.saturating_sub(self.kept);
        rejections.truncate(usize::try_from(room).unwrap_or(usize::MAX));
        self.kept += rejections.len() as u64;
        rejections
    }

    /// The whole file, unless it is one to refuse.
    fn ended(mut self, end: Box<End>, strictness: Strictness) -> Result<Self, IngestError> {
        let (failed, inserted) = (end.summary.failed, end.summary.inserted);
        if inserted == 0 {
            let rows = self.bad_rows(end.summary.proposal);
            return Err(IngestError::NoValidRows(rows));
        }
        if strictness.refuses(failed, inserted) {
            return Err(self.too_many(strictness, end.summary.proposal));
        }
        self.end = Some(end);
        Ok(self)
    }

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

    /// The receipt of a whole file, and the digest of its bytes.
    pub(super) fn receipt(
        self,
        options: &UploadOptions,
        expires_at: Option<Instant>,
    ) -> Result<(Receipt, [u8; 32]), IngestError> {
        let Some(end) = self.end else {
            return Err(IngestError::Body("the body ended before its end".into()));
        };
        let End {
            received,
            summary,
            survey,
        } = *end;
        let receipt = Receipt {
            rows: RowCounts {
                received: summary.received,
                inserted: summary.inserted,
                failed: summary.failed,
                blank: summary.blank,
            },
            errors_by_code: self.by_code,
            rejections_kept: self.kept,
            origin: Origin::File(FileOrigin {
                name: options.file_name.clone(),
                bytes: received.bytes,
                sha256: hex::encode(received.sha256),
                bom: received.bom,
                encoding: received.encoding.name(),
                encoding_source: received.encoding_source.as_str().into(),
                packing: received.packing.map(|packing| packing.as_str().into()),
                line_ending: line_ending(summary.line_ending).into(),
                delimiter: summary.dialect.delimiter.into(),
                quote: summary.dialect.quote.into(),
                escape: summary.dialect.escape.as_str().into(),
                preamble_lines: summary.preamble_lines,
                repeated_headers: summary.repeated_headers,
            }),
            proposal: summary.proposal,
            warnings: survey.warnings(&self.columns),
            profile: options.profile.clone(),
            parent: options.parent,
            options: options.meaning.clone(),
            identity: self.identity,
            claims: survey.with_identity(),
            columns: self.columns,
            event_time: survey.span(),
            event_types: survey.types(),
            days: survey.days(),
            expires_at,
        };
        Ok((receipt, received.sha256))
    }
}

fn line_ending(line_ending: LineEnding) -> &'static str {
    match line_ending {
        LineEnding::Lf => "lf",
        LineEnding::CrLf => "crlf",
        LineEnding::Cr => "cr",
        LineEnding::Mixed => "mixed",
    }
}
