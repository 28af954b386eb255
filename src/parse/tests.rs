//! The parser as a whole: what files come to, row by row, line by line.

use super::*;
use crate::model::rejection::FaultCode;

mod faults;
mod properties;

const HEADER: &str = "event_id,user_id,event_type,timestamp,note,plan\n";

/// All of a file in one block, however many it came in.
#[derive(Debug, PartialEq)]
struct Whole {
    /// Row, line and the cells in header order, the timestamp as microseconds.
    events: Vec<(u32, u32, Vec<Vec<u8>>)>,
    rejections: Vec<Rejection>,
    summary: Summary,
}

fn parse_with(
    text: &[u8],
    size: usize,
    options: Options,
    limits: Limits,
) -> Result<Whole, ParseError> {
    let mut parser = Parser::new(options, limits).expect("options that make sense");
    let (mut events, mut rejections) = (Vec::new(), Vec::new());
    let mut drain = |parser: &mut Parser| {
        while let Some(Parsed {
            events: block,
            rejections: bad,
        }) = parser.take()
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
    Ok(Whole {
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

fn parse(text: &str) -> Result<Whole, ParseError> {
    parse_with(
        text.as_bytes(),
        usize::MAX,
        Options::default(),
        Limits::default(),
    )
}

fn whole(text: &str) -> Whole {
    parse(text).expect("a file that parses")
}

fn codes(rejection: &Rejection) -> Vec<FaultCode> {
    rejection.faults.iter().map(|fault| fault.code).collect()
}

fn row(at: usize) -> String {
    format!("e{at},u{at},login,2025-11-10T12:00:00Z,n{at},p\n")
}

/// A file of `count` good rows, the one at `bad` (from 1) replaced.
fn file(count: usize, bad: usize, with: &str) -> String {
    let rows = (1..=count).map(|at| if at == bad { with.to_owned() } else { row(at) });
    HEADER.to_owned() + &rows.collect::<String>()
}

#[test]
fn a_good_file_comes_out_in_columns() {
    let whole = whole(&format!(
        "{HEADER} e1 , u1,login ,2025-11-10, n ,\n,u2,login,1762732800,\"a,\"\"b\"\"\",x"
    ));
    let cells = |cells: [&str; 6]| cells.map(|cell| cell.as_bytes().to_vec()).to_vec();
    assert_eq!(
        whole.events,
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
    assert_eq!(whole.summary.line_ending, LineEnding::Lf);
}

#[test]
fn lines_are_true_with_blanks_crlf_and_quoted_line_breaks() {
    let text = "\r\n\nuser_id,event_type,timestamp,note\r\n\
        u1,a,2025-11-10,x\r\n\r\n   \r\n,,,\r\nu2,a,2025-11-10,\"1\r\n2\n\n3\"\r\nu3,a,2025-11-10,y\n\nu4,a,,z\n\n";
    let whole = whole(text);
    let places: Vec<_> = whole
        .events
        .iter()
        .map(|(row, line, _)| (*row, *line))
        .collect();
    assert_eq!(places, [(1, 4), (2, 8), (3, 12)]);
    assert_eq!(whole.events[1].2[4], b"1\r\n2\n\n3");
    assert_eq!(whole.events[0].2[4], b"x");
    assert_eq!((whole.rejections[0].row, whole.rejections[0].line), (4, 14));
    let Summary {
        received,
        inserted,
        failed,
        blank,
        repeated_headers: _,
        preamble_lines: _,
        line_ending,
        dialect: _,
        proposal: _,
    } = whole.summary;
    assert_eq!((received, inserted, failed, blank), (11, 3, 1, 7));
    assert_eq!(line_ending, LineEnding::Mixed);
}

#[test]
fn a_rejection_tells_the_byte_it_starts_at() {
    let text = format!(
        "Events of May é\n\n{}e,u,,2025-11-10,n,p\n\n\"e,u,login,2025-11-10,n,p\n{}{}e,u,x\n",
        file(9_000, 4_000, "e,u,login,2025-11-10,n\n"),
        row(1),
        "x".repeat(2_000_000) + "\n",
    );
    for size in [1_000, usize::MAX] {
        let whole = parse_with(text.as_bytes(), size, Options::default(), Limits::default());
        let rejections = whole.expect("a file that parses").rejections;
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
fn the_dialect_is_told_by_the_same_bytes_however_they_arrive() {
    let plain = row(1).repeat(detect::HEAD_BYTES / row(1).len() + 1);
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
        let (with, without) = (whole(&text), whole(text.trim_end()));
        assert_eq!(with, without);
        assert_eq!(whole(&format!("{}\r", text.trim_end())).events, with.events);
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
            let whole = whole(&file(10_000, bad, broken));
            assert_eq!(
                (whole.summary.inserted, whole.summary.failed),
                (9_999, 1),
                "{bad} {broken}"
            );
            let rejection = &whole.rejections[0];
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
fn one_unclosed_quote_costs_one_row_among_quoted_ones() {
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
            let whole = whole(&(HEADER.to_owned() + &rows.collect::<String>()));
            assert_eq!(
                (whole.summary.inserted, whole.summary.failed),
                (999, 1),
                "{bad} {broken}"
            );
            assert_eq!(usize::try_from(whole.rejections[0].line), Ok(bad + 1));
        }
    }
}

#[test]
fn an_unclosed_quote_takes_what_it_truly_swallowed() {
    let text = format!(
        "{HEADER}e1,u1,login,2025-11-10,\"some text\nof three\n\nlines,p\n\n{}",
        row(2)
    );
    let whole = whole(&text);
    let rejection = &whole.rejections[0];
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
    assert_eq!((whole.events[0].0, whole.events[0].1), (2, 7));
    assert_eq!((whole.summary.received, whole.summary.blank), (3, 1));
}

#[test]
fn blocks_are_bounded_and_keep_the_order() {
    let whole = whole(&file(20_000, 0, ""));
    let rows: Vec<_> = whole.events.iter().map(|(row, ..)| *row).collect();
    assert_eq!(rows, (1..=20_000).collect::<Vec<_>>());
    let mut parser = Parser::new(Options::default(), Limits::default()).expect("options");
    parser.feed(HEADER.as_bytes()).expect("a header");
    let wide = format!("e,u,login,2025-11-10,{},p\n", "x".repeat(200_000));
    let bad = format!("e,u,,2025-11-10,{},p\n", "x".repeat(200_000));
    for text in std::iter::repeat_n(wide, 60).chain(std::iter::repeat_n(bad, 600)) {
        parser.feed(text.as_bytes()).expect("rows");
        while let Some(Parsed { events, rejections }) = parser.take() {
            assert!(events.text_bytes() < 5 * 1024 * 1024);
            let kept = rejections
                .iter()
                .flat_map(|rejection| &rejection.cells)
                .map(String::len);
            assert!(kept.sum::<usize>() < 5 * 1024 * 1024);
        }
    }
}

#[test]
fn a_parser_can_move_to_a_thread_of_its_own() {
    fn movable<T: Send + 'static>() {}
    movable::<Parser>();
}
