//! Checks what receive and parse guarantee for any input: no panic, no more output than the limits allow, every row
//! accounted for at its true place, and results that do not depend on how the body is divided.

use std::io::{self, BufRead, Read};

use tallymill::{
    model::{
        event::EventBlock,
        rejection::{Fault, Rejection},
    },
    parse::{ParseSummary, ParsedRows, Parser},
    receive::{self, ReceivedFile, TextReader},
};

use super::case::Case;

/// Maximum text of one block.
const BLOCK_TEXT: usize = 4 * 1024 * 1024 + 1024 * 1024 + REJECTION_TEXT;
/// Maximum text of all blocks that one chunk completes.
const CHUNK_TEXT: usize = 4 * BLOCK_TEXT;
/// Maximum text of one rejection, its faults included.
const REJECTION_TEXT: usize = 128 * 1024;

/// Panics if `input` violates a guarantee.
pub(crate) fn check(input: &[u8]) {
    let Some(case) = Case::decode(input) else {
        return;
    };
    let at_once = read(&case, usize::MAX);
    let in_chunks = read(&case, case.chunk_bytes);
    match (at_once, in_chunks) {
        (Err(Failure::Receive(a)), Err(Failure::Receive(b))) => assert_eq!(a, b),
        (Err(Failure::Parse(a)), Err(Failure::Parse(b))) => assert_eq!(a, b),
        // Of an error of receive and one of parse, the size of the chunks decides which comes first.
        (Err(_), Err(_)) => {}
        (at_once, in_chunks) => assert!(
            at_once == in_chunks,
            "in chunks the result is {in_chunks:?}, not {at_once:?}"
        ),
    }
}

#[derive(Debug, PartialEq)]
enum Failure {
    Receive(String),
    Parse(String),
}

/// The results for one body.
#[derive(Debug, PartialEq)]
struct Results {
    rows: Vec<EventRow>,
    rejections: Vec<Rejection>,
    summary: ParseSummary,
    received: ReceivedFile,
}

/// One event; `cells` are its event id, user id, event type and attributes.
#[derive(Debug, PartialEq)]
struct EventRow {
    row: u32,
    line: u32,
    timestamp: i64,
    cells: Vec<String>,
}

/// A body that arrives in chunks.
struct ChunkedBody {
    body: Vec<u8>,
    at: usize,
    chunk_bytes: usize,
}

impl Read for ChunkedBody {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        receive::read_buffered(self, into)
    }
}

impl BufRead for ChunkedBody {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let end = self
            .at
            .saturating_add(self.chunk_bytes)
            .min(self.body.len());
        Ok(&self.body[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

/// Receives and parses one body.
fn read(case: &Case, chunk_bytes: usize) -> Result<Results, Failure> {
    let source = ChunkedBody {
        body: case.body.clone(),
        at: 0,
        chunk_bytes,
    };
    let mut text =
        TextReader::open(source, case.receive, case.body_limit).map_err(receive_failure)?;
    let mut parser = Parser::new(case.parse.clone(), case.limits).map_err(parse_failure)?;
    let (mut fed, mut chunks) = (0, 0);
    let (mut rows, mut rejections) = (Vec::new(), Vec::new());
    while let Some(chunk) = text.next_chunk().map_err(receive_failure)? {
        chunks += 1;
        fed += chunk.len() as u64;
        parser.feed(chunk).map_err(parse_failure)?;
        drain(case, &mut parser, &mut rows, &mut rejections);
    }
    let received = text.received_file();
    assert!(received.bytes <= case.body_limit.body);
    assert!(chunks <= received.bytes + 2, "every chunk has bytes");
    let summary = parser.finish().map_err(parse_failure)?;
    drain(case, &mut parser, &mut rows, &mut rejections);
    let results = Results {
        rows,
        rejections,
        summary,
        received,
    };
    check_accounting(&results, fed);
    Ok(results)
}

fn receive_failure(why: receive::ReceiveError) -> Failure {
    let why = why.to_string();
    assert!(!why.is_empty() && why.len() < 4096, "{why}");
    Failure::Receive(why)
}

fn parse_failure(why: impl std::fmt::Display) -> Failure {
    let why = why.to_string();
    assert!(!why.is_empty() && why.len() < 16 * 1024, "{why}");
    Failure::Parse(why)
}

/// Collects the complete blocks, and checks their bounds.
fn drain(
    case: &Case,
    parser: &mut Parser,
    rows: &mut Vec<EventRow>,
    rejections: &mut Vec<Rejection>,
) {
    let mut text_bytes = 0;
    while let Some(ParsedRows {
        events,
        rejections: bad,
    }) = parser.next_rows()
    {
        assert!(events.len() <= 8192 && bad.len() <= 1000);
        let text: usize = bad.iter().map(Rejection::text_bytes).sum();
        assert!(
            events.text_bytes() <= BLOCK_TEXT && text <= BLOCK_TEXT,
            "{text}"
        );
        text_bytes += events.text_bytes() + text;
        rows.extend((0..events.len()).map(|at| event(case, &events, at)));
        bad.iter().for_each(check_rejection);
        rejections.extend(bad);
    }
    assert!(text_bytes <= CHUNK_TEXT, "{text_bytes} bytes at once");
}

/// Returns one event, after checking that its cells are text within their limits.
fn event(case: &Case, block: &EventBlock, at: usize) -> EventRow {
    let limits = case.limits;
    let fixed = [
        (&block.event_id, limits.event_id_bytes),
        (&block.user_id, limits.user_id_bytes),
        (&block.event_type, limits.event_type_bytes),
    ];
    let attributes = block
        .attributes
        .iter()
        .map(|column| (column, limits.cell_bytes));
    let text = |(column, most): (&tallymill::model::event::TextColumn, usize)| {
        let cell = String::from_utf8(column.get(at).to_vec()).expect("cells are UTF-8");
        assert!(cell.len() <= most && !cell.contains('\0'), "{cell:?}");
        cell
    };
    let cells: Vec<_> = fixed.into_iter().chain(attributes).map(text).collect();
    assert!(!cells[1].is_empty() && !cells[2].is_empty(), "{cells:?}");
    let timestamp = block.timestamp[at];
    assert!(
        (0..7_258_118_400_000_000).contains(&timestamp),
        "{timestamp}"
    );
    EventRow {
        row: block.rows[at],
        line: block.lines[at],
        timestamp,
        cells,
    }
}

/// Checks that a rejection has a reason, and that its text is bounded.
fn check_rejection(rejection: &Rejection) {
    assert!(!rejection.faults.is_empty(), "{rejection:?}");
    assert!(rejection.text_bytes() <= REJECTION_TEXT);
    let stored: usize = rejection.cells.iter().map(String::len).sum();
    assert!(stored <= Rejection::CELLS_BYTES);
    for fault in &rejection.faults {
        assert!(!fault.message.is_empty(), "{rejection:?}");
        let value = fault.value.as_deref().unwrap_or_default();
        assert!(value.chars().count() <= Fault::VALUE_CHARS + 1);
    }
}

/// Checks that every row is accounted for, in order, and at its true place.
fn check_accounting(results: &Results, fed: u64) {
    let Results {
        rows,
        rejections,
        summary,
        ..
    } = results;
    let (inserted, failed) = (rows.len() as u64, rejections.len() as u64);
    assert_eq!((summary.inserted, summary.failed), (inserted, failed));
    assert_eq!(summary.received, inserted + failed + summary.blank);
    assert!(summary.repeated_headers <= summary.blank);
    let mut byte = None;
    for rejection in rejections {
        assert!(rejection.byte_offset < fed && byte < Some(rejection.byte_offset));
        byte = Some(rejection.byte_offset);
    }
    // Events and rejections together, in file order.
    let good = rows.iter().map(|row| (row.row, row.line, row.line));
    let bad = rejections.iter().map(|r| (r.row, r.line, r.last_line));
    let mut all: Vec<_> = good.chain(bad).collect();
    assert!(rows.is_sorted_by_key(|row| row.row) && rejections.is_sorted_by_key(|r| r.row));
    all.sort_unstable();
    let mut line = summary.preamble_lines;
    for (at, (row, first, last)) in all.into_iter().enumerate() {
        assert_eq!(row as usize, at + 1, "rows are numbered without a gap");
        assert!(first > line && last >= first, "line {first} follows {line}");
        line = last;
    }
}
