//! Passes the rows from the parser thread to a sink, and returns the properties of the complete file.

use tokio::sync::mpsc;

use super::{
    BadRows, BatchSummary, ErrorTolerance, IngestError, UploadOptions,
    event_sink::EventSink,
    parser_thread::{ParserEnd, ParserMessage},
};
use crate::{
    model::{Columns, FileOrigin, IdentityBy, Origin, Proposal, receipt::RowCounts},
    parse::{LineEnding, ParsedRows},
};

/// A complete file, all of whose rows are in the sink.
pub(super) struct ParsedFile {
    columns: Columns,
    identity: IdentityBy,
    end: Box<ParserEnd>,
}

impl ParsedFile {
    /// Passes rows to `sink` until the end of the file. Returns `None` if the messages stop before, because the body
    /// broke off.
    pub(super) async fn receive(
        mut messages: mpsc::Receiver<Result<ParserMessage, IngestError>>,
        tolerance: ErrorTolerance,
        sink: &mut impl EventSink,
    ) -> Result<Option<Self>, IngestError> {
        let (mut columns, mut identity) = (Columns::default(), IdentityBy::default());
        while let Some(message) = messages.recv().await {
            match message? {
                ParserMessage::Header(header_columns, header_identity) => {
                    sink.open(&header_columns).await?;
                    (columns, identity) = (header_columns, header_identity);
                }
                ParserMessage::Rows(ParsedRows { events, rejections }) => {
                    if !events.is_empty() {
                        sink.append(events).await?;
                    }
                    sink.reject(rejections).await?;
                    let failed = sink.rejections().failed;
                    if tolerance.absolute_max().is_some_and(|max| failed > max) {
                        return Err(too_many_errors(sink, tolerance, columns, Vec::new()));
                    }
                }
                ParserMessage::End(end) => {
                    check_rows(&end, tolerance, &columns, sink)?;
                    sink.finish().await?;
                    return Ok(Some(Self {
                        columns,
                        identity,
                        end,
                    }));
                }
            }
        }
        Ok(None)
    }

    /// Returns the SHA-256 of the unpacked file.
    pub(super) fn sha256(&self) -> &[u8; 32] {
        &self.end.received.sha256
    }

    /// Returns the properties of the file.
    pub(super) fn origin(&self, options: &UploadOptions) -> Origin {
        let ParserEnd {
            received, summary, ..
        } = self.end.as_ref();
        Origin::File(FileOrigin {
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
        })
    }

    /// Returns the part of the receipt that describes neither the file nor its rejections.
    pub(super) fn summary(self, options: &UploadOptions) -> BatchSummary {
        let ParserEnd {
            summary, survey, ..
        } = *self.end;
        let mut statistics = survey.statistics(&self.columns);
        statistics.warnings.splice(..0, summary.warnings);
        BatchSummary {
            rows: RowCounts {
                received: summary.received,
                inserted: summary.inserted,
                failed: summary.failed,
                blank: summary.blank,
            },
            statistics,
            columns: self.columns,
            identity: self.identity,
            proposals: summary.proposals,
            values: Some(summary.values),
            profile: options.profile.clone(),
            parent: options.parent,
            options: options.meaning.clone(),
        }
    }
}

/// Refuses a complete file without valid rows, or with too many rejected ones.
fn check_rows(
    end: &ParserEnd,
    tolerance: ErrorTolerance,
    columns: &Columns,
    sink: &mut impl EventSink,
) -> Result<(), IngestError> {
    let summary = &end.summary;
    let (columns, proposals) = (columns.clone(), summary.proposals.clone());
    if summary.inserted == 0 {
        let rows = bad_rows(sink, columns, proposals);
        return Err(IngestError::NoValidRows(rows));
    }
    if tolerance.is_exceeded(summary.failed, summary.inserted) {
        return Err(too_many_errors(sink, tolerance, columns, proposals));
    }
    Ok(())
}

fn too_many_errors(
    sink: &mut impl EventSink,
    allowed: ErrorTolerance,
    columns: Columns,
    proposals: Vec<Proposal>,
) -> IngestError {
    let rows = bad_rows(sink, columns, proposals);
    IngestError::TooManyErrors { allowed, rows }
}

fn bad_rows(sink: &mut impl EventSink, columns: Columns, proposals: Vec<Proposal>) -> Box<BadRows> {
    let rejections = sink.rejections();
    Box::new(BadRows {
        failed: rejections.failed,
        first: std::mem::take(&mut rejections.first),
        columns,
        proposals,
    })
}

fn line_ending(line_ending: LineEnding) -> &'static str {
    match line_ending {
        LineEnding::Lf => "lf",
        LineEnding::CrLf => "crlf",
        LineEnding::Cr => "cr",
        LineEnding::Mixed => "mixed",
    }
}
