//! Where the header is and what separates its cells, found in a bounded head of the file.
//! A guess counts only if the header under it holds every required column, so no silly one can pass for a success.

use super::{
    cells::Cells,
    dialect::{Dialect, Escape, Wish},
    frame::{Block, Frame, Kind},
    scan::Rules,
};
use crate::parse::{
    Limits,
    header::Header,
    value::{
        field::{self, Required},
        timestamp::Timestamps,
    },
};

/// Text that a header is looked for in.
pub(crate) const HEAD_BYTES: usize = 128 * 1024;
/// Lines that may stand above the header: titles, comments, export notes.
const PREAMBLE_LINES: usize = 30;
/// Delimiters that are tried, the likeliest first.
pub(crate) const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];
/// Quotes that are tried.
const QUOTES: [u8; 2] = [b'"', b'\''];

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) dialect: Dialect,
    /// Bytes above the header.
    pub(crate) skip: usize,
    /// Lines above the header.
    pub(crate) lines: u32,
    /// Labels of the header; 0 if none was found.
    labels: usize,
}

/// What a header has to hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// What `columns=` says.
    pub(crate) mapped: &'a [(Required, String)],
    /// Whether the rows are said to have gone out to be mended.
    pub(crate) mended: bool,
    pub(crate) limits: Limits,
}

/// Looks for the header of a file that begins with `head`. Where there is none the first dialect is given back, so that
/// the reader says what it misses.
pub(crate) fn detect(head: &[u8], wish: Wish, asked: Asked<'_>) -> Found {
    let (stated, skip) = separator_line(head);
    let from = Found {
        dialect: Dialect::default(),
        skip,
        lines: u32::from(skip > 0),
        labels: 0,
    };
    let delimiters: Vec<u8> = match wish.delimiter.or(stated) {
        Some(one) => vec![one],
        None => DELIMITERS.to_vec(),
    };
    let quotes: Vec<u8> = match wish.quote {
        Some(one) => vec![one],
        None => QUOTES.to_vec(),
    };
    let first = Dialect {
        delimiter: delimiters[0],
        quote: quotes[0],
        escape: wish.escape.unwrap_or_default(),
    };
    for (skip, lines) in starts(head, from) {
        for &delimiter in &delimiters {
            for &quote in &quotes {
                let dialect = Dialect {
                    delimiter,
                    quote,
                    escape: first.escape,
                };
                if !dialect.is_usable() {
                    continue;
                }
                if let Some(labels) = labels(&head[skip..], dialect, asked) {
                    let dialect = match wish.quote {
                        None => like_the_rows(head, skip, dialect),
                        Some(_) => dialect,
                    };
                    let dialect = match wish.escape {
                        None => escaped_like_the_rows(&head[skip..], dialect, labels, asked.limits),
                        Some(_) => dialect,
                    };
                    return Found {
                        dialect,
                        skip,
                        lines,
                        labels,
                    };
                }
            }
        }
    }
    let dialect = match &delimiters[..] {
        [_] => first,
        several => Dialect {
            delimiter: likeliest(&head[skip..], several),
            ..first
        },
    };
    Found { dialect, ..from }
}

/// Of delimiters none of which gives a header, the one that the first line has most of: what it names can be told then.
fn likeliest(text: &[u8], delimiters: &[u8]) -> u8 {
    let line = text
        .split(|byte| *byte == b'\n')
        .find(|line| !line.trim_ascii().is_empty());
    let count = |delimiter: u8| memchr::memchr_iter(delimiter, line.unwrap_or_default()).count();
    // Of equals the first, which is the likelier one.
    let best = delimiters
        .iter()
        .copied()
        .rev()
        .max_by_key(|delimiter| count(*delimiter));
    best.unwrap_or(b',')
}

/// Excel's first line `sep=;`: its delimiter and its length.
fn separator_line(head: &[u8]) -> (Option<u8>, usize) {
    let end = memchr::memchr(b'\n', head).unwrap_or(head.len());
    let line = head[..end].strip_suffix(b"\r").unwrap_or(&head[..end]);
    match line {
        [s, e, p, b'=', delimiter] if [*s, *e, *p].eq_ignore_ascii_case(b"sep") => {
            (Some(*delimiter), (end + 1).min(head.len()))
        }
        _ => (None, 0),
    }
}

/// The starts of the lines that may be the header, each with the lines above it. Blank ones in front of the first are
/// left to the reader, who counts them.
fn starts(head: &[u8], from: Found) -> impl Iterator<Item = (usize, u32)> {
    let mut at = from.skip;
    let mut line = from.lines;
    let mut above = 0;
    let mut first = true;
    std::iter::from_fn(move || {
        while at < head.len() && above <= PREAMBLE_LINES {
            let length = memchr::memchr(b'\n', &head[at..]).map_or(head.len() - at, |end| end + 1);
            let (start, lines) = (at, line);
            let blank = head[at..at + length].trim_ascii().is_empty();
            at += length;
            line += 1;
            if blank && !first {
                continue;
            }
            above += 1;
            if blank {
                // A header behind blank lines alone: they stay with the reader.
                continue;
            }
            let start = if std::mem::take(&mut first) {
                (from.skip, from.lines)
            } else {
                (start, lines)
            };
            return Some(start);
        }
        None
    })
}

/// How many labels the first record of `text` has, if it names every required column.
fn labels(text: &[u8], dialect: Dialect, asked: Asked<'_>) -> Option<usize> {
    let Asked {
        mapped,
        mended,
        limits,
    } = asked;
    let rules = rules(dialect, limits, None);
    let (mut frame, mut block, mut cells) = (
        Frame::new(rules, 1, 0),
        Block::default(),
        Cells::new(dialect),
    );
    frame.push(text);
    frame.end();
    if !frame.cut(&mut block) || block.metas.iter().any(|meta| meta.kind == Kind::Bad) {
        return None;
    }
    let crlf = block.metas.first().is_some_and(|meta| meta.crlf);
    cells.load(&mut block.text);
    let row = cells.next()?;
    let row = if crlf { row.without_cr() } else { row };
    let labels: Result<Vec<_>, _> = row.iter().map(std::str::from_utf8).collect();
    let labels = labels.ok()?;
    let header = Header::read(&labels, mapped, &limits, mended).ok()?;
    Some(header.labels.len())
}

fn rules(dialect: Dialect, limits: Limits, fields: Option<usize>) -> Rules {
    Rules {
        dialect,
        record_bytes: limits.record_bytes,
        record_lines: limits.record_lines,
        fields,
    }
}

/// The first line above the header that is no title but a row: as wide as the header, with three cells or more that are
/// not blank, one of them a timestamp. Passed over, it would be lost.
pub(crate) fn row_above(head: &[u8], found: &Found, times: &Timestamps) -> Option<u32> {
    let above = &head[..found.skip];
    let mut cells = Cells::new(found.dialect);
    (1..)
        .zip(above.split(|byte| *byte == b'\n'))
        .find_map(|(line, text)| {
            let mut record = [text.strip_suffix(b"\r").unwrap_or(text), b"\n"].concat();
            cells.load(&mut record);
            let row = cells.next()?;
            let filled = || row.iter().map(field::trim).filter(|cell| !cell.is_empty());
            let is_row = row.len() == found.labels
                && filled().count() >= 3
                && filled().any(|cell| times.read(cell).is_ok());
            is_row.then_some(line)
        })
}

/// A header seldom has quotes: which one the file uses shows in its rows. An apostrophe counts only if cells begin and
/// end with it, few merely begin with it, and there is no other quote.
fn like_the_rows(head: &[u8], skip: usize, dialect: Dialect) -> Dialect {
    let rows = &head[skip..];
    if dialect.quote != b'"' || memchr::memchr(b'"', rows).is_some() {
        return dialect;
    }
    let (mut whole, mut half) = (0, 0);
    // The last line may be cut off by the end of the head.
    let end = memchr::memrchr(b'\n', rows).unwrap_or(rows.len());
    for line in rows[..end].split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        for cell in line.split(|byte| *byte == dialect.delimiter) {
            match cell {
                [b'\'', .., b'\''] => whole += 1,
                [b'\'', ..] => half += 1,
                _ => {}
            }
        }
    }
    // A quoted cell that holds the delimiter looks like a half one.
    if whole >= 2 && whole > 2 * half + 1 {
        return Dialect {
            quote: b'\'',
            ..dialect
        };
    }
    dialect
}

/// Whether quotes are escaped by a backslash: only if more records are whole then, since a cell may well end in one.
fn escaped_like_the_rows(text: &[u8], dialect: Dialect, labels: usize, limits: Limits) -> Dialect {
    let escaped = Dialect {
        escape: Escape::Backslash,
        ..dialect
    };
    let mark = [b'\\', dialect.quote];
    if !escaped.is_usable() || memchr::memmem::find(text, &mark).is_none() {
        return dialect;
    }
    let whole = |dialect| whole_records(text, rules(dialect, limits, Some(labels)));
    if whole(escaped) > whole(dialect) {
        escaped
    } else {
        dialect
    }
}

/// Records of the right number of cells, without text behind a closing quote.
fn whole_records(mut text: &[u8], rules: Rules) -> usize {
    let (mut frame, mut block) = (Frame::new(rules, 1, 0), Block::default());
    let mut cells = Cells::new(rules.dialect);
    let mut whole = 0;
    while !text.is_empty() {
        text = &text[frame.push(text)..];
        if text.is_empty() {
            frame.end();
        }
        while frame.cut(&mut block) {
            cells.load(&mut block.text);
            for meta in block.metas.iter().filter(|meta| meta.kind != Kind::Bad) {
                let fits = cells
                    .next()
                    .is_some_and(|row| Some(row.len()) == rules.fields);
                whole += usize::from(fits && meta.kind == Kind::Clean);
            }
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Asked<'static> {
        Asked {
            mapped: &[],
            mended: false,
            limits: Limits::default(),
        }
    }

    fn found(head: &str) -> (char, char, usize, u32) {
        let Found {
            dialect,
            skip,
            lines,
            labels: _,
        } = detect(head.as_bytes(), Wish::default(), asked());
        (dialect.delimiter.into(), dialect.quote.into(), skip, lines)
    }

    #[test]
    fn the_header_tells_the_delimiter() {
        for delimiter in [',', ';', '\t', '|'] {
            let head = ["event_type", "timestamp", "user_id"].join(&delimiter.to_string());
            assert_eq!(found(&format!("{head}\nx\n")), (delimiter, '"', 0, 0));
            let quoted = format!(
                "\"{}\"\n",
                head.replace(delimiter, &format!("\"{delimiter}\""))
            );
            assert_eq!(found(&quoted), (delimiter, '"', 0, 0));
            assert_eq!(found(&quoted.replace('"', "'")), (delimiter, '\'', 0, 0));
        }
    }

    #[test]
    fn lines_above_the_header_are_passed_but_blank_ones_are_left() {
        let header = "type,time,user\n";
        assert_eq!(found(&format!("\n \n{header}")), (',', '"', 0, 0));
        assert_eq!(
            found(&format!("Events of May\n\n{header}")),
            (',', '"', 15, 2)
        );
        assert_eq!(
            found(&format!("# a, b\r\n# c\r\n{header}")),
            (',', '"', 13, 2)
        );
        assert_eq!(
            found(&format!("sep=;\r\n{}", header.replace(',', ";"))),
            (';', '"', 7, 1)
        );
        assert_eq!(
            found(&format!("sep=^\n{}", header.replace(',', "^"))),
            ('^', '"', 6, 1)
        );
        let long = "title\n".repeat(40);
        assert_eq!(found(&format!("{long}{header}")), (',', '"', 0, 0));
    }

    #[test]
    fn rows_tell_an_apostrophe_from_a_quote() {
        let header = "type,time,user,note\n";
        let row = |note: &str| format!("{header}a,2025-11-10,u,{note}\n'b',2025-11-10,'u',x\n");
        assert_eq!(found(&row("'n'")).1, '\'');
        assert_eq!(found(&row("'tis so")).1, '"');
        assert_eq!(found(&row("\"n\"")).1, '"');
        assert_eq!(
            found(&format!("{header}a,b,c,'n'\n")).1,
            '"',
            "one is no habit"
        );
    }

    #[test]
    fn rows_tell_a_backslash_that_escapes_from_one_that_does_not() {
        let escape = |rows: &str| {
            let head = format!("type,time,user,note\n{rows}");
            let found = detect(head.as_bytes(), Wish::default(), asked());
            found.dialect.escape
        };
        for (rows, expected) in [
            ("a,b,c,\"x \\\"y\\\" z\"\n", Escape::Backslash),
            ("a,b,c,\"x \\\", y\"\n", Escape::Backslash),
            ("a,b,c,\"C:\\dir\\\"\n", Escape::Doubled),
            ("a,b,\"C:\\\",\"D:\\\"\n", Escape::Doubled),
            ("a,b,c,\"x \"\"y\"\"\"\n", Escape::Doubled),
            ("a,b,c,x \\\"y\n", Escape::Doubled),
        ] {
            assert_eq!(escape(rows), expected, "{rows}");
        }
    }

    #[test]
    fn no_guess_passes_without_every_required_column() {
        assert_eq!(found("a;b;c\n1;2;3\n"), (';', '"', 0, 0));
        assert_eq!(found(""), (',', '"', 0, 0));
        assert_eq!(found("type;time,user\n"), (',', '"', 0, 0));
    }
}
