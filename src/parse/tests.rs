//! Tests of the complete parser: the events, rejections and summary of a file.

use super::*;
use crate::model::{EventBlock, FaultCode, Rejection};

mod faults;
mod properties;

const HEADER: &str = "event_id,user_id,event_type,timestamp,note,plan\n";

/// The rows of all blocks of a file.
#[derive(Debug, PartialEq)]
struct ParsedFile {
    /// Row, line and values: the event fields, the timestamp in microseconds, and the attributes.
    events: Vec<(u32, u32, Vec<Vec<u8>>)>,
    rejections: Vec<Rejection>,
    summary: ParseSummary,
}

fn parse_with(
    text: &[u8],
    size: usize,
    options: Options,
    limits: Limits,
) -> Result<ParsedFile, ParseError> {
    let mut parser = Parser::new(options, limits).expect("valid options");
    let (mut events, mut rejections) = (Vec::new(), Vec::new());
    let mut drain = |parser: &mut Parser| {
        while let Some(ParsedRows {
            events: block,
            rejections: bad,
        }) = parser.next_rows()
        {
            assert!(block.len() <= 8192 && bad.len() <= 1000);
            events.extend((0..block.len()).map(|at| event(&block, at)));
            rejections.extend(bad);
        }
    };
    for chunk in text.chunks(size) {
        parser.feed(chunk)?;
        drain(&mut parser);
    }
    let summary = parser.finish()?;
    drain(&mut parser);
    assert_eq!(
        (summary.inserted, summary.failed),
        (events.len() as u64, rejections.len() as u64)
    );
    assert_eq!(
        summary.received,
        summary.inserted + summary.failed + summary.blank
    );
    Ok(ParsedFile {
        events,
        rejections,
        summary,
    })
}

fn event(block: &EventBlock, at: usize) -> (u32, u32, Vec<Vec<u8>>) {
    let fixed = [&block.event_id, &block.user_id, &block.event_type];
    let mut cells: Vec<_> = fixed.iter().map(|column| column.get(at).to_vec()).collect();
    cells.push(block.timestamp[at].to_string().into_bytes());
    cells.extend(
        block
            .attributes
            .iter()
            .map(|column| column.get(at).to_vec()),
    );
    (block.rows[at], block.lines[at], cells)
}

fn parse(text: &str) -> Result<ParsedFile, ParseError> {
    parse_with(
        text.as_bytes(),
        usize::MAX,
        Options::default(),
        Limits::default(),
    )
}

fn parsed(text: &str) -> ParsedFile {
    parse(text).expect("a file that parses")
}

fn codes(rejection: &Rejection) -> Vec<FaultCode> {
    rejection.faults.iter().map(|fault| fault.code).collect()
}

fn row(at: usize) -> String {
    format!("e{at},u{at},login,2025-11-10T12:00:00Z,n{at},p\n")
}

/// A file of `count` valid rows, of which row number `replaced` (from 1) is replaced.
fn file(count: usize, replaced: usize, with: &str) -> String {
    let rows = (1..=count).map(|at| {
        if at == replaced {
            with.to_owned()
        } else {
            row(at)
        }
    });
    HEADER.to_owned() + &rows.collect::<String>()
}

#[test]
fn valid_files_become_columns() {
    let parsed = parsed(&format!(
        "{HEADER} e1 , u1,login ,2025-11-10, n ,\n,u2,login,1762732800,\"a,\"\"b\"\"\",x"
    ));
    let cells = |cells: [&str; 6]| cells.map(|cell| cell.as_bytes().to_vec()).to_vec();
    assert_eq!(
        parsed.events,
        [
            (
                1,
                2,
                cells(["e1", "u1", "login", "1762732800000000", " n ", ""])
            ),
            (
                2,
                3,
                cells(["", "u2", "login", "1762732800000000", "a,\"b\"", "x"])
            ),
        ]
    );
    assert_eq!(parsed.summary.line_ending, LineEnding::Lf);
}

#[test]
fn line_numbers_count_blank_lines_and_quoted_line_breaks() {
    let text = "\r\n\nuser_id,event_type,timestamp,note\r\n\
        u1,a,2025-11-10,x\r\n\r\n   \r\n,,,\r\nu2,a,2025-11-10,\"1\r\n2\n\n3\"\r\nu3,a,2025-11-10,y\n\nu4,a,,z\n\n";
    let parsed = parsed(text);
    let positions: Vec<_> = parsed
        .events
        .iter()
        .map(|(row, line, _)| (*row, *line))
        .collect();
    assert_eq!(positions, [(1, 4), (2, 8), (3, 12)]);
    assert_eq!(parsed.events[1].2[4], b"1\r\n2\n\n3");
    assert_eq!(parsed.events[0].2[4], b"x");
    assert_eq!(
        (parsed.rejections[0].row, parsed.rejections[0].line),
        (4, 14)
    );
    let ParseSummary {
        received,
        inserted,
        failed,
        blank,
        repeated_headers: _,
        preamble_lines: _,
        line_ending,
        dialect: _,
        proposals: _,
        values: _,
        warnings: _,
    } = parsed.summary;
    assert_eq!((received, inserted, failed, blank), (11, 3, 1, 7));
    assert_eq!(line_ending, LineEnding::Mixed);
}

#[test]
fn rejections_have_the_byte_offset_of_their_record() {
    let text = format!(
        "Events of May é\n\n{}e,u,,2025-11-10,n,p\n\n\"e,u,login,2025-11-10,n,p\n{}{}e,u,x\n",
        file(9_000, 4_000, "e,u,login,2025-11-10,n\n"),
        row(1),
        "x".repeat(2_000_000) + "\n",
    );
    for size in [1_000, usize::MAX] {
        let parsed = parse_with(text.as_bytes(), size, Options::default(), Limits::default());
        let rejections = parsed.expect("a file that parses").rejections;
        assert_eq!(rejections.len(), 5);
        for rejection in rejections {
            let at = usize::try_from(rejection.byte_offset).expect("small");
            assert_eq!(text.as_bytes()[at - 1], b'\n');
            let above = text[..at].matches('\n').count();
            assert_eq!(u32::try_from(above + 1), Ok(rejection.line));
        }
    }
}

#[test]
fn the_dialect_does_not_depend_on_how_the_bytes_arrive() {
    let plain = row(1).repeat(csv::HEAD_BYTES / row(1).len() + 1);
    let beyond = "e,u,login,2025-11-10,\"x \\\"y\\\" z\",p\n".repeat(1_000);
    let text = format!("{HEADER}{plain}{beyond}");
    let read = |size| {
        let read = parse_with(text.as_bytes(), size, Options::default(), Limits::default());
        read.expect("reads").summary
    };
    let once = read(usize::MAX);
    assert_eq!(once.dialect, Dialect::default());
    assert_eq!(read(1_000), once);
}

#[test]
fn a_missing_last_line_end_changes_nothing() {
    for end in ["\n", "\r\n"] {
        let text = file(3, 0, "").replace('\n', end);
        let (with, without) = (parsed(&text), parsed(text.trim_end()));
        assert_eq!(with, without);
        assert_eq!(
            parsed(&format!("{}\r", text.trim_end())).events,
            with.events
        );
    }
}

#[test]
fn one_unclosed_quote_costs_one_row() {
    for bad in [1, 40, 5000, 9_999, 10_000] {
        for broken in [
            "e,\"u,login,2025-11-10,n,p\n",
            "e,u,login,2025-11-10,n,\"p\n",
            "\"e,u,login,2025-11-10,n,p\n",
        ] {
            let parsed = parsed(&file(10_000, bad, broken));
            assert_eq!(
                (parsed.summary.inserted, parsed.summary.failed),
                (9_999, 1),
                "{bad} {broken}"
            );
            let rejection = &parsed.rejections[0];
            let at = u32::try_from(bad).expect("small");
            assert_eq!(
                (rejection.row, rejection.line, rejection.last_line),
                (at, at + 1, at + 1)
            );
            assert_eq!(codes(rejection), [FaultCode::UnclosedQuote]);
            assert!(
                rejection.faults[0]
                    .message
                    .contains(&format!("line {}", at + 1))
            );
        }
    }
}

#[test]
fn one_unclosed_quote_costs_one_row_among_quoted_rows() {
    let quoted = |at: usize| {
        format!("\"e{at}\",\"u{at}\",\"login\",\"2025-11-10\",\"a, \"\"b\"\"\",\"p\"\n")
    };
    for bad in [1, 500, 999, 1000] {
        for broken in [
            "\"e,\"u\",\"login\",\"2025-11-10\",\"n\",\"p\"\n",
            "\"e\",\"u\",\"login\",\"2025-11-10\",\"n\",\"p\n",
        ] {
            let rows = (1..=1000).map(|at| {
                if at == bad {
                    broken.to_owned()
                } else {
                    quoted(at)
                }
            });
            let parsed = parsed(&(HEADER.to_owned() + &rows.collect::<String>()));
            assert_eq!(
                (parsed.summary.inserted, parsed.summary.failed),
                (999, 1),
                "{bad} {broken}"
            );
            assert_eq!(usize::try_from(parsed.rejections[0].line), Ok(bad + 1));
        }
    }
}

#[test]
fn unclosed_quotes_cost_the_lines_of_their_cell() {
    let text = format!(
        "{HEADER}e1,u1,login,2025-11-10,\"some text\nof three\n\nlines,p\n\n{}",
        row(2)
    );
    let parsed = parsed(&text);
    let rejection = &parsed.rejections[0];
    assert_eq!((rejection.line, rejection.last_line), (2, 5));
    assert!(
        rejection.faults[0].message.contains("lines 3 to 5"),
        "{}",
        rejection.reason()
    );
    assert_eq!(rejection.faults[0].column.as_deref(), Some("note"));
    assert_eq!(
        rejection.cells,
        ["e1", "u1", "login", "2025-11-10", "some text"]
    );
    assert_eq!((parsed.events[0].0, parsed.events[0].1), (2, 7));
    assert_eq!((parsed.summary.received, parsed.summary.blank), (3, 1));
}

#[test]
fn blocks_are_bounded_and_in_file_order() {
    let parsed = parsed(&file(20_000, 0, ""));
    let rows: Vec<_> = parsed.events.iter().map(|(row, ..)| *row).collect();
    assert_eq!(rows, (1..=20_000).collect::<Vec<_>>());
    let mut parser = Parser::new(Options::default(), Limits::default()).expect("options");
    parser.feed(HEADER.as_bytes()).expect("a header");
    let wide = format!("e,u,login,2025-11-10,{},p\n", "x".repeat(200_000));
    let bad = format!("e,u,,2025-11-10,{},p\n", "x".repeat(200_000));
    for text in std::iter::repeat_n(wide, 60).chain(std::iter::repeat_n(bad, 600)) {
        parser.feed(text.as_bytes()).expect("rows");
        while let Some(ParsedRows { events, rejections }) = parser.next_rows() {
            assert!(events.text_bytes() < 5 * 1024 * 1024);
            let stored = rejections
                .iter()
                .flat_map(|rejection| &rejection.cells)
                .map(String::len);
            assert!(stored.sum::<usize>() < 5 * 1024 * 1024);
        }
    }
}

#[test]
fn parsers_can_be_sent_to_a_thread() {
    fn assert_send<T: Send + 'static>() {}
    assert_send::<Parser>();
}
