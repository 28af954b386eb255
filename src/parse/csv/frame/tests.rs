//! Compares the framer together with csv-async to a naive reader that has the complete text in memory.

use proptest::prelude::*;

use super::*;
use crate::parse::csv::{cells::CellReader, dialect::Dialect};

/// One framed record: its lines, and its cells unless it is damaged.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    line: u32,
    last_line: u32,
    kind: RecordKind,
    cells: Vec<Vec<u8>>,
}

fn rules(fields: usize, record_bytes: usize, record_lines: u32) -> FramingOptions {
    FramingOptions {
        dialect: Dialect::default(),
        record_bytes,
        record_lines,
        columns: Some(fields),
    }
}

/// Reads `text` in chunks of the given sizes, in turn.
fn read(text: &[u8], rules: FramingOptions, sizes: &[usize]) -> (Vec<Outcome>, u64) {
    let (mut framer, mut block) = (RecordFramer::new(rules, 1, 0), RecordBlock::default());
    let mut cells = CellReader::new(rules.dialect);
    let mut outcomes = Vec::new();
    let mut sizes = sizes.iter().cycle();
    let mut rest = text;
    loop {
        if rest.is_empty() {
            framer.end_input();
        }
        let size = sizes
            .next()
            .map_or(rest.len(), |size| (*size).min(rest.len()));
        let accepted = framer.push(&rest[..size]);
        rest = &rest[accepted..];
        while framer.next_block(&mut block) {
            collect(&mut block, &mut cells, &mut outcomes);
        }
        if framer.input_ended {
            return (outcomes, framer.line_counts().blank);
        }
    }
}

fn collect(block: &mut RecordBlock, cells: &mut CellReader, outcomes: &mut Vec<Outcome>) {
    cells.load(&mut block.text);
    let mut bad = block.damaged.iter();
    for meta in &block.records {
        let (last_line, row) = if meta.kind == RecordKind::Damaged {
            (bad.next().expect("one a meta").last_line, Vec::new())
        } else {
            let row = cells.next().expect("one a meta");
            let row = if meta.crlf { row.without_cr() } else { row };
            (meta.line, row.iter().map(<[u8]>::to_vec).collect())
        };
        outcomes.push(Outcome {
            line: meta.line,
            last_line,
            kind: meta.kind,
            cells: row,
        });
    }
    assert!(bad.next().is_none());
}

/// One record as the naive reader reads it.
struct Naive {
    cells: Vec<Vec<u8>>,
    /// Bytes, line end excluded and included.
    content: usize,
    length: usize,
    breaks: u32,
    stray: bool,
    /// Whether a quote in the middle of a cell has its partner at the end of a later one.
    misplaced: bool,
    closed: bool,
}

fn naive_record(text: &[u8]) -> Naive {
    let (mut cells, mut cell) = (Vec::new(), Vec::new());
    let (mut quoted, mut start, mut after) = (false, true, false);
    let (mut breaks, mut stray, mut at) = (0, false, 0);
    let (mut middle, mut misplaced) = (None, false);
    while at < text.len() && (quoted || text[at] != b'\n') {
        let byte = text[at];
        let ends_line = byte == b'\r' && matches!(text[at + 1..], [] | [b'\n', ..]);
        match byte {
            b'"' if quoted && text.get(at + 1) == Some(&b'"') => {
                cell.push(b'"');
                at += 1;
            }
            b'"' if quoted => (quoted, after) = (false, true),
            b'"' if start => quoted = true,
            b',' if !quoted => {
                cells.push(std::mem::take(&mut cell));
                (start, after) = (true, false);
                at += 1;
                continue;
            }
            byte => {
                if byte == b'"' {
                    let ends = matches!(
                        text[at + 1..],
                        [] | [b',' | b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..]
                    );
                    if ends {
                        misplaced |= middle.is_some_and(|middle| middle < cells.len());
                    } else {
                        middle.get_or_insert(cells.len());
                    }
                }
                stray |= after && !quoted && !ends_line;
                breaks += u32::from(byte == b'\n');
                cell.push(byte);
                after = false;
            }
        }
        start = false;
        at += 1;
    }
    if text[..at].ends_with(b"\r") && !quoted {
        cell.pop();
    }
    cells.push(cell);
    let length = (at + 1).min(text.len());
    Naive {
        cells,
        content: at,
        length,
        breaks,
        stray,
        misplaced,
        closed: !quoted,
    }
}

/// The damage of a record whose quote closes: it is skipped as a whole.
const CLOSED: RecordDamage = RecordDamage::UnclosedQuote(UnclosedQuote::CellCount);

/// Reads one record, and returns its damage if it is too long or has an unclosed quote.
fn naive_damage(text: &[u8], rules: &FramingOptions) -> (Naive, Option<RecordDamage>) {
    let record = naive_record(text);
    let first = text
        .iter()
        .position(|byte| *byte == b'\n')
        .unwrap_or(text.len());
    let long = record.content > rules.record_bytes || record.breaks >= rules.record_lines;
    let damage = if first > rules.record_bytes {
        Some(RecordDamage::TooLong)
    } else if !record.closed || (record.breaks > 0 && (record.stray || long)) {
        Some(RecordDamage::UnclosedQuote(UnclosedQuote::EndOfFile))
    } else if record.breaks > 0 && Some(record.cells.len()) != rules.columns {
        Some(CLOSED)
    } else {
        None
    };
    (record, damage)
}

fn naive(text: &[u8], rules: &FramingOptions) -> (Vec<Outcome>, u64) {
    let (mut outcomes, mut blank) = (Vec::new(), 0);
    let (mut at, mut line) = (0, 1);
    let mut open: Option<(Outcome, u64)> = None;
    while at < text.len() {
        let rest = &text[at..];
        let first = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        if matches!(&rest[..first], b"\n" | b"\r\n" | b"\r") {
            *open.as_mut().map_or(&mut blank, |(_, blanks)| blanks) += 1;
            (at, line) = (at + first, line + 1);
            continue;
        }
        let (record, damage) = naive_damage(rest, rules);
        let fits = damage.is_none() && !record.stray && Some(record.cells.len()) == rules.columns;
        let (length, lines) = match damage {
            None | Some(CLOSED) => (record.length, record.breaks + 1),
            Some(_) => (first, 1),
        };
        match open.take() {
            Some((mut outcome, _)) if !fits => {
                outcome.last_line = line + lines - 1;
                open = Some((outcome, 0));
                (at, line) = (at + length, line + lines);
                continue;
            }
            Some((outcome, blanks)) => {
                outcomes.push(outcome);
                blank += blanks;
            }
            None => {}
        }
        let misplaced = record.misplaced && record.breaks == 0;
        let kind = match (damage, record.stray || misplaced) {
            (Some(_), _) => RecordKind::Damaged,
            (None, true) => RecordKind::StrayQuote,
            (None, false) => RecordKind::Clean,
        };
        let cells = if damage.is_none() {
            record.cells
        } else {
            Vec::new()
        };
        let outcome = Outcome {
            line,
            last_line: if damage == Some(CLOSED) {
                line + lines - 1
            } else {
                line
            },
            kind,
            cells,
        };
        match damage {
            Some(CLOSED) => outcomes.push(outcome),
            Some(RecordDamage::UnclosedQuote(_)) => open = Some((outcome, 0)),
            Some(RecordDamage::TooLong) | None => outcomes.push(outcome),
        }
        (at, line) = (at + length, line + lines);
    }
    if let Some((outcome, blanks)) = open {
        outcomes.push(outcome);
        blank += blanks;
    }
    (outcomes, blank)
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        4 => Just(b'a'), 3 => Just(b','), 3 => Just(b'"'), 3 => Just(b'\n'), 1 => Just(b'\r'),
    ];
    prop::collection::vec(byte, 0..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_text_is_framed_as_by_the_naive_reader(
        text in text(),
        sizes in prop::collection::vec(1_usize..9, 1..5),
        (fields, bytes, lines) in (1_usize..4, prop_oneof![Just(1000_usize), 1_usize..20], 1_u32..6),
    ) {
        let rules = rules(fields, bytes, lines);
        let expected = naive(&text, &rules);
        prop_assert_eq!(&read(&text, rules, &sizes), &expected);
        prop_assert_eq!(&read(&text, rules, &[]), &expected);
    }
}

/// Feeds `repeat` copies of `piece`. Returns the maximum memory reserved, the damaged records and the number of others.
fn reserve(head: &[u8], piece: &[u8], repeat: usize) -> (usize, Vec<DamagedRecord>, u64) {
    let (mut framer, mut block) = (
        RecordFramer::new(rules(3, 1024 * 1024, 10_000), 1, 0),
        RecordBlock::default(),
    );
    let (mut most, mut bad, mut clean) = (0, Vec::new(), 0);
    let pieces = std::iter::once(head).chain(std::iter::repeat_n(piece, repeat));
    for (at, mut piece) in pieces.enumerate() {
        while !piece.is_empty() {
            let accepted = framer.push(piece);
            piece = &piece[accepted..];
            if at == repeat && piece.is_empty() {
                framer.end_input();
            }
            while framer.next_block(&mut block) {
                clean += (block.records.len() - block.damaged.len()) as u64;
                bad.append(&mut block.damaged);
            }
            most = most.max(framer.capacity() + block.text.capacity());
        }
    }
    (most, bad, clean)
}

const FLAT: usize = 4 * 1024 * 1024;

#[test]
fn long_unclosed_quotes_are_read_in_bounded_memory() {
    let line = [vec![b'x'; 199], b"\n".to_vec()].concat().repeat(320);
    let (most, bad, clean) = reserve(b"a,\"b,c\n", &line, 1024);
    assert!(most <= FLAT, "{most}");
    assert_eq!((bad.len(), clean), (1, 0));
    assert_eq!((bad[0].line, bad[0].last_line), (1, 327_681));
    assert_eq!(
        bad[0].damage,
        RecordDamage::UnclosedQuote(UnclosedQuote::ByteLimit)
    );
}

#[test]
fn long_lines_are_skipped_in_bounded_memory() {
    let (most, bad, _) = reserve(b"a,\"b", &vec![b'x'; 64 * 1024], 1024);
    assert!(most <= FLAT, "{most}");
    assert_eq!(bad.len(), 1);
    assert_eq!(bad[0].damage, RecordDamage::TooLong);
    assert!(bad[0].clipped);
    assert_eq!(bad[0].text.len(), Rejection::CELLS_BYTES);
}

#[test]
fn unclosed_quotes_on_every_line_are_read_in_linear_time() {
    // Each line closes the open quote and opens the next, so every scan for the end of a record reads far ahead.
    let rules = FramingOptions {
        columns: Some(512),
        ..rules(3, 1024 * 1024, 10_000)
    };
    let (mut framer, mut block) = (RecordFramer::new(rules, 1, 0), RecordBlock::default());
    let line = b"a\",\"bbbbbbbb\n".repeat(8192);
    let mut bad = 0;
    for at in 0..320 {
        let mut rest = line.as_slice();
        while !rest.is_empty() {
            rest = &rest[framer.push(rest)..];
            if at == 319 && rest.is_empty() {
                framer.end_input();
            }
            while framer.next_block(&mut block) {
                bad += block.damaged.len();
            }
        }
    }
    let total = (line.len() * 320) as u64;
    assert!(framer.rescanned > RESCANNED_BYTES);
    assert!(framer.rescanned <= RESCANNED_BYTES + RESCANNED_FACTOR * total + 2 * 1024 * 1024);
    assert_eq!(bad, 1);
}

#[test]
fn byte_order_marks_within_the_file_are_text() {
    let mark = b"\xef\xbb\xbfa\n".repeat(3);
    let (outcomes, _) = read(&mark, rules(1, 100, 10), &[5]);
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.cells == [b"\xef\xbb\xbfa"])
    );
    assert_eq!(outcomes.len(), 3);
}

#[test]
fn short_records_take_a_short_buffer() {
    // A record stands over the end of every piece, so that the buffer is never quite read.
    let (most, bad, clean) = reserve(b"", &[&b"a,b,c\n".repeat(10_000)[..], b"a,"].concat(), 100);
    assert!(most <= 8 * BLOCK_BYTES, "{most} bytes");
    assert!(bad.len() + usize::try_from(clean).expect("fits") > 900_000);
}
