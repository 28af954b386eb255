//! What holds of receive and parse whatever they are given: no panic, no more output than the limits allow, every row
//! accounted for and where it says it is, and the same however the body is cut.

use std::io::{self, BufRead, Read};

use tallymill::{
    model::{
        event::EventBlock,
        rejection::{Fault, Rejection},
    },
    parse::{ParseSummary, ParsedRows, Parser},
    receive::{self, Received, Text},
};

use super::case::Case;

/// Text of one block, and of all that one piece of text may bring forth.
const BLOCK_TEXT: usize = 4 * 1024 * 1024 + 1024 * 1024 + REJECTION_TEXT;
const READY_TEXT: usize = 4 * BLOCK_TEXT;
/// Text of one rejection, its faults included.
const REJECTION_TEXT: usize = 128 * 1024;

/// Panics if something of this does not hold for `input`.
pub(crate) fn check(input: &[u8]) {
    let Some(case) = Case::of(input) else { return };
    let whole = read(&case, usize::MAX);
    let cut = read(&case, case.chunk);
    match (whole, cut) {
        (Err(Refused::Receive(a)), Err(Refused::Receive(b))) => assert_eq!(a, b),
        (Err(Refused::Parse(a)), Err(Refused::Parse(b))) => assert_eq!(a, b),
        // Of two reasons the one that is met first depends on how much comes at once.
        (Err(_), Err(_)) => {}
        (whole, cut) => assert!(whole == cut, "cut apart it is {cut:?}, not {whole:?}"),
    }
}

#[derive(Debug, PartialEq)]
enum Refused {
    Receive(String),
    Parse(String),
}

/// What a file came to.
#[derive(Debug, PartialEq)]
struct Whole {
    rows: Vec<Row>,
    rejections: Vec<Rejection>,
    summary: ParseSummary,
    received: Received,
}

/// An event: its row, its line, its instant and its cells.
#[derive(Debug, PartialEq)]
struct Row {
    row: u32,
    line: u32,
    timestamp: i64,
    cells: Vec<String>,
}

/// A body that arrives in pieces of so many bytes.
struct Cut {
    body: Vec<u8>,
    at: usize,
    size: usize,
}

impl Read for Cut {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        receive::read_buffered(self, into)
    }
}

impl BufRead for Cut {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let end = self.at.saturating_add(self.size).min(self.body.len());
        Ok(&self.body[self.at..end])
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

/// Receives and parses one body.
fn read(case: &Case, size: usize) -> Result<Whole, Refused> {
    let source = Cut {
        body: case.body.clone(),
        at: 0,
        size,
    };
    let mut text = Text::open(source, case.receive, case.body_limit).map_err(refused)?;
    let mut parser = Parser::new(case.parse.clone(), case.limits).map_err(not_parsed)?;
    let (mut fed, mut pieces) = (0, 0);
    let (mut rows, mut rejections) = (Vec::new(), Vec::new());
    while let Some(piece) = text.piece().map_err(refused)? {
        pieces += 1;
        fed += piece.len() as u64;
        parser.feed(piece).map_err(not_parsed)?;
        take(case, &mut parser, &mut rows, &mut rejections);
    }
    let received = text.received();
    assert!(received.bytes <= case.body_limit.body);
    assert!(pieces <= received.bytes + 2, "every piece takes bytes");
    let summary = parser.finish().map_err(not_parsed)?;
    take(case, &mut parser, &mut rows, &mut rejections);
    let whole = Whole {
        rows,
        rejections,
        summary,
        received,
    };
    add_up(&whole, fed);
    Ok(whole)
}

fn refused(why: receive::ReceiveError) -> Refused {
    let why = why.to_string();
    assert!(!why.is_empty() && why.len() < 4096, "{why}");
    Refused::Receive(why)
}

fn not_parsed(why: impl std::fmt::Display) -> Refused {
    let why = why.to_string();
    assert!(!why.is_empty() && why.len() < 16 * 1024, "{why}");
    Refused::Parse(why)
}

/// Takes what is ready, which is bounded.
fn take(case: &Case, parser: &mut Parser, rows: &mut Vec<Row>, rejections: &mut Vec<Rejection>) {
    let mut ready = 0;
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
        ready += events.text_bytes() + text;
        rows.extend((0..events.len()).map(|at| event(case, &events, at)));
        bad.iter().for_each(told);
        rejections.extend(bad);
    }
    assert!(ready <= READY_TEXT, "{ready} bytes at once");
}

/// One event, whose cells are within their limits and text.
fn event(case: &Case, block: &EventBlock, at: usize) -> Row {
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
    Row {
        row: block.rows[at],
        line: block.lines[at],
        timestamp,
        cells,
    }
}

/// A rejection says why, in bounded words.
fn told(rejection: &Rejection) {
    assert!(!rejection.faults.is_empty(), "{rejection:?}");
    assert!(rejection.text_bytes() <= REJECTION_TEXT);
    let kept: usize = rejection.cells.iter().map(String::len).sum();
    assert!(kept <= Rejection::CELLS_BYTES);
    for fault in &rejection.faults {
        assert!(!fault.message.is_empty(), "{rejection:?}");
        let value = fault.value.as_deref().unwrap_or_default();
        assert!(value.chars().count() <= Fault::VALUE_CHARS + 1);
    }
}

/// Every row is accounted for, in order, and where it says it is.
fn add_up(whole: &Whole, fed: u64) {
    let Whole {
        rows,
        rejections,
        summary,
        ..
    } = whole;
    let (inserted, failed) = (rows.len() as u64, rejections.len() as u64);
    assert_eq!((summary.inserted, summary.failed), (inserted, failed));
    assert_eq!(summary.received, inserted + failed + summary.blank);
    assert!(summary.repeated_headers <= summary.blank);
    let mut byte = None;
    for rejection in rejections {
        assert!(rejection.byte_offset < fed && byte < Some(rejection.byte_offset));
        byte = Some(rejection.byte_offset);
    }
    // Rows of both kinds, in the order of the file.
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
