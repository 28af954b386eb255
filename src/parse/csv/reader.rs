//! The reading of one file whose dialect is known: records are cut, split, and judged under the header.

use memchr::memchr;

use super::{
    cells::{Cells, Row},
    detect::{self, Asked},
    dialect::{Dialect, Wish},
    frame::{Bad, Block, Damage, Frame, Kind, Meta},
    scan::Rules,
};
use crate::parse::{
    Limits, LineEnding, ParseError, Parsed, Summary,
    header::Header,
    row::Rows,
    value::{
        field::{self, Required},
        timestamp::Timestamps,
    },
};

/// What is known before the first byte.
pub(crate) struct Setup {
    pub(crate) mapped: Vec<(Required, String)>,
    pub(crate) mended: bool,
    pub(crate) limits: Limits,
    pub(crate) wish: Wish,
    pub(crate) times: Option<Timestamps>,
}

/// A file whose dialect is known.
pub(crate) struct Reading {
    frame: Frame,
    block: Block,
    cells: Cells,
    stage: Stage,
    dialect: Dialect,
    /// Lines above the header.
    preamble: u32,
    /// Blank records above the header.
    blank: u64,
    /// Lines end in CR alone; it holds the text as if they ended in LF.
    old_mac: Option<Vec<u8>>,
}

enum Stage {
    /// The header is still to come.
    Head(Box<Head>),
    /// The header is read.
    Body(Box<Rows>),
}

/// What waits for the header.
struct Head {
    mapped: Vec<(Required, String)>,
    mended: bool,
    limits: Limits,
    dialect: Dialect,
    times: Option<Timestamps>,
    /// Whether other delimiters were tried.
    guessed: bool,
}

impl Reading {
    /// The reading of a file that begins with `head`, and how much of that stands above its header.
    pub(crate) fn new(setup: &mut Setup, head: &mut [u8]) -> Result<(Self, usize), ParseError> {
        let Setup {
            mapped,
            mended,
            limits,
            wish,
            times,
        } = setup;
        // As much as is waited for, whatever came with it: how a file is cut on its way must not change what it is.
        let seen = head.len().min(detect::HEAD_BYTES);
        let old_mac =
            memchr(b'\n', &head[..seen]).is_none() && memchr(b'\r', &head[..seen]).is_some();
        if old_mac {
            as_lines(head);
        }
        let asked = Asked {
            mapped,
            mended: *mended,
            limits: *limits,
        };
        let found = detect::detect(&head[..seen], *wish, asked);
        if let Some(times) = times
            && let Some(line) = detect::row_above(&head[..seen], &found, times)
        {
            let header = found.lines + 1;
            return Err(ParseError::RowAboveHeader { line, header });
        }
        let rules = Rules {
            dialect: found.dialect,
            record_bytes: limits.record_bytes,
            record_lines: limits.record_lines,
            fields: None,
        };
        let reading = Self {
            frame: Frame::new(rules, found.lines + 1, found.skip as u64),
            block: Block::default(),
            cells: Cells::new(found.dialect),
            stage: Stage::Head(Box::new(Head {
                mapped: std::mem::take(mapped),
                mended: *mended,
                limits: *limits,
                dialect: found.dialect,
                times: times.take(),
                guessed: wish.delimiter.is_none(),
            })),
            dialect: found.dialect,
            preamble: found.lines,
            blank: 0,
            old_mac: old_mac.then(Vec::new),
        };
        Ok((reading, found.skip))
    }

    pub(crate) fn feed(&mut self, text: &[u8]) -> Result<(), ParseError> {
        let Some(mut lines) = self.old_mac.take() else {
            return self.feed_lines(text);
        };
        lines.clear();
        lines.extend_from_slice(text);
        as_lines(&mut lines);
        let fed = self.feed_lines(&lines);
        self.old_mac = Some(lines);
        fed
    }

    pub(crate) fn feed_lines(&mut self, mut text: &[u8]) -> Result<(), ParseError> {
        while !text.is_empty() {
            let taken = self.frame.push(text);
            text = &text[taken..];
            self.read()?;
        }
        Ok(())
    }

    pub(crate) fn take(&mut self) -> Option<Parsed> {
        match &mut self.stage {
            Stage::Head(_) => None,
            Stage::Body(rows) => rows.take(),
        }
    }

    pub(crate) fn header(&self) -> Option<&Header> {
        match &self.stage {
            Stage::Head(_) => None,
            Stage::Body(rows) => Some(rows.header()),
        }
    }

    pub(crate) fn finish(&mut self) -> Result<Summary, ParseError> {
        self.frame.end();
        self.read()?;
        let Stage::Body(rows) = &mut self.stage else {
            return Err(ParseError::Empty);
        };
        rows.close();
        let (counts, tally) = (rows.counts(), self.frame.tally());
        if counts.inserted + counts.failed == 0 {
            return Err(ParseError::HeaderOnly);
        }
        let blank = counts.blank + counts.repeated_headers + self.blank + tally.blank;
        Ok(Summary {
            received: counts.inserted + counts.failed + blank,
            inserted: counts.inserted,
            failed: counts.failed,
            blank,
            repeated_headers: counts.repeated_headers,
            preamble_lines: self.preamble,
            line_ending: match (tally.lf, tally.crlf) {
                _ if self.old_mac.is_some() => LineEnding::Cr,
                (_, 0) => LineEnding::Lf,
                (0, _) => LineEnding::CrLf,
                (_, _) => LineEnding::Mixed,
            },
            dialect: self.dialect,
            proposal: rows.proposal(),
        })
    }

    fn read(&mut self) -> Result<(), ParseError> {
        while self.frame.cut(&mut self.block) {
            // One look at a whole block costs a tenth of one at each cell, and is nearly always enough.
            let text = &self.block.text;
            let sound = memchr(0, text).is_none() && std::str::from_utf8(text).is_ok();
            self.cells.load(&mut self.block.text);
            let mut bad = self.block.bad.iter();
            for meta in &self.block.metas {
                if meta.kind == Kind::Bad {
                    let bad = bad.next().ok_or(ParseError::Misread { line: meta.line })?;
                    match &mut self.stage {
                        Stage::Head(head) => return Err(head.damaged(bad)),
                        Stage::Body(rows) => rows.bad(bad),
                    }
                    continue;
                }
                let row = self
                    .cells
                    .next()
                    .ok_or(ParseError::Misread { line: meta.line })?;
                let row = if meta.crlf { row.without_cr() } else { row };
                match &mut self.stage {
                    Stage::Body(rows) => {
                        rows.record(row, *meta, sound);
                        if let Some(line) = rows.other_header() {
                            return Err(ParseError::AnotherHeader { line });
                        }
                    }
                    Stage::Head(head) => match head.read(row, *meta, sound)? {
                        Some(rows) => {
                            self.frame.expect(rows.header().labels.len());
                            self.stage = Stage::Body(Box::new(rows));
                        }
                        None => self.blank += 1,
                    },
                }
            }
        }
        Ok(())
    }
}

impl Head {
    /// The rows to come under the header in `row`; none if it is blank.
    fn read(&mut self, row: Row<'_>, meta: Meta, sound: bool) -> Result<Option<Rows>, ParseError> {
        let line = meta.line;
        if row.iter().all(|cell| field::trim(cell).is_empty()) {
            return Ok(None);
        }
        if row.iter().any(has_lone_cr) {
            return Err(ParseError::CarriageReturnOnly { line });
        }
        if row.len() > self.limits.columns {
            let (found, limit) = (row.len(), self.limits.columns);
            return Err(ParseError::TooManyColumns { found, limit });
        }
        let cells: Result<Vec<_>, _> = row.iter().map(std::str::from_utf8).collect();
        let (Ok(cells), true) = (cells, sound) else {
            return Err(ParseError::HeaderNotText { line });
        };
        let header = Header::read(&cells, &self.mapped, &self.limits, self.mended)
            .map_err(|why| why.after_tries(self.guessed))?;
        let times = self.times.take().ok_or(ParseError::Misread { line })?;
        Ok(Some(Rows::new(header, self.limits, self.dialect, times)))
    }

    /// The fault of a file whose header is no whole record.
    fn damaged(&self, bad: &Bad) -> ParseError {
        let (line, limit) = (bad.line, self.limits.record_bytes);
        match bad.damage {
            _ if has_lone_cr(&bad.text) => ParseError::CarriageReturnOnly { line },
            Damage::TooLong => ParseError::HeaderTooLong { line, limit },
            Damage::Unclosed(_) => ParseError::HeaderUnclosedQuote { line },
        }
    }
}

/// Makes lines of text whose lines end in CR.
fn as_lines(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| **byte == b'\r') {
        *byte = b'\n';
    }
}

fn has_lone_cr(text: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', text).any(|at| text.get(at + 1) != Some(&b'\n'))
}
