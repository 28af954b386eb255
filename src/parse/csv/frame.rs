//! Cuts text into physical records and hands them on in blocks, with the true line of each.
//! An open quote costs the line it stands on and what it truly swallowed: reading goes on at the next line that is a
//! record of the right shape. Holds at most one record and one block, whatever comes.

use memchr::memchr;

use super::scan::{Cause, Rules, Scan, Step};
use crate::model::rejection::Rejection;

/// Text taken in at a time and handed on at a time: fits the processor's caches with its copies.
pub(crate) const BLOCK_BYTES: usize = 128 * 1024;

/// Bad records handed on at a time, since each may keep some text.
const BLOCK_BAD: usize = 256;

/// Text that may be looked at again after quotes were left open: so much, and this often the text consumed. Natural
/// files stay far below; beyond it records end with their line, which keeps hostile ones linear.
const REPEATED_BYTES: u64 = 16 * 1024 * 1024;
const REPEATED_TIMES: u64 = 4;

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the block's text.
    Clean,
    /// In the block's text, with text after a closing quote.
    Stray,
    /// Not in the text: the next of the block's bad ones.
    Bad,
}

/// One record of a block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta {
    /// Physical line it starts on.
    pub(crate) line: u32,
    /// Bytes of the text before it.
    pub(crate) byte: u64,
    /// What became of it.
    pub(crate) kind: Kind,
    /// Whether it ends in CR LF, so that its last cell ends in a CR that is not its own.
    pub(crate) crlf: bool,
}

/// What is wrong with a record that cannot be handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Its line is over the byte limit.
    TooLong,
    /// A quote is not closed.
    Unclosed(Cause),
}

/// A record that cannot be handed on.
#[derive(Debug, Clone)]
pub(crate) struct Bad {
    /// Physical line it starts on.
    pub(crate) line: u32,
    /// Bytes of the text before it.
    pub(crate) byte: u64,
    /// The last physical line that went with it.
    pub(crate) last_line: u32,
    /// What is wrong.
    pub(crate) damage: Damage,
    /// Its first line without the line end, cut at the bytes a rejection keeps.
    pub(crate) text: Vec<u8>,
    /// Whether `text` was cut.
    pub(crate) clipped: bool,
}

/// Whole records, end to end, each with a line end.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The records' text.
    pub(crate) text: Vec<u8>,
    /// One entry a record, bad ones included, in file order.
    pub(crate) metas: Vec<Meta>,
    /// The bad ones, in file order.
    pub(crate) bad: Vec<Bad>,
}

/// Line ends and blank lines met so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Lines without any text.
    pub(crate) blank: u64,
    /// Records and blank lines that end in LF alone.
    pub(crate) lf: u64,
    /// Records and blank lines that end in CR LF.
    pub(crate) crlf: u64,
}

/// A record whose quote is not closed, while the line to go on from is looked for.
#[derive(Debug)]
struct Pending {
    bad: Bad,
    /// Blank lines since its last line; they are its own only if more of it follows.
    blank: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Frame {
    rules: Rules,
    buffer: Vec<u8>,
    /// First byte of the current record.
    start: usize,
    /// First byte of the records cut but not yet copied into a block.
    run: usize,
    scan: Scan,
    /// Whether the rest of the current line is to be dropped.
    skipping: bool,
    pending: Option<Pending>,
    line: u32,
    /// Bytes of the file before the buffer.
    before: u64,
    /// Bytes looked at more than once.
    repeated: u64,
    ended: bool,
    tally: Tally,
}

impl Frame {
    /// A frame at the first byte of a line of a file, with so many bytes before it; `rules.fields` is set later, by
    /// [`Frame::expect`].
    pub(crate) fn new(rules: Rules, line: u32, before: u64) -> Self {
        Self {
            rules,
            buffer: Vec::new(),
            start: 0,
            run: 0,
            scan: Scan::default(),
            skipping: false,
            pending: None,
            line,
            before,
            repeated: 0,
            ended: false,
            tally: Tally::default(),
        }
    }

    /// Says how many cells a record has, once the header is read.
    pub(crate) fn expect(&mut self, fields: usize) {
        self.rules.fields = Some(fields);
    }

    /// Line ends and blank lines so far.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Bytes reserved, for tests of the memory bound.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    /// Says that no more text comes.
    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    /// Takes in a head of `text` and says how long; cut until nothing comes before the next.
    pub(crate) fn push(&mut self, text: &[u8]) -> usize {
        let limit = self.rules.record_bytes + 1 + BLOCK_BYTES;
        let take = text.len().min(BLOCK_BYTES);
        if self.start == self.buffer.len() || self.buffer.len() + take > limit {
            self.buffer.drain(..self.start);
            self.before += self.start as u64;
            (self.start, self.run) = (0, 0);
        }
        let take = take.min(limit - self.buffer.len());
        self.buffer.extend_from_slice(&text[..take]);
        take
    }

    /// Refills `block` with the records that are whole; false if there is none. Stops after each record while the
    /// number of cells is not known.
    pub(crate) fn cut(&mut self, block: &mut Block) -> bool {
        block.text.clear();
        block.metas.clear();
        block.bad.clear();
        while self.advance(block) {
            let full = self.start - self.run + block.text.len() >= BLOCK_BYTES;
            let heading = self.rules.fields.is_none() && !block.metas.is_empty();
            if full || heading || block.bad.len() >= BLOCK_BAD {
                break;
            }
        }
        self.flush(block);
        !block.metas.is_empty()
    }

    /// Goes one record or line further; false if that takes more text.
    #[inline]
    fn advance(&mut self, block: &mut Block) -> bool {
        if self.skipping && !self.skip() {
            return false;
        }
        let rest = &self.buffer[self.start..];
        if self.scan.at == 0 {
            match *rest {
                [] => return self.close(block),
                [b'\r'] if !self.ended => return false,
                [b'\n', ..] => return self.blank(1, block),
                [b'\r'] => return self.blank(1, block),
                [b'\r', b'\n', ..] => return self.blank(2, block),
                _ => {}
            }
        }
        // One byte over the limit is enough to see that it is over, however much has come.
        let window = &rest[..rest.len().min(self.rules.record_bytes + 1)];
        let last = self.ended && window.len() == rest.len();
        let spent = self.before + self.start as u64;
        let join = self.repeated <= REPEATED_BYTES + REPEATED_TIMES * spent;
        match self.scan.step(window, &self.rules, last, join) {
            Step::More => false,
            Step::Whole(length) => self.whole(length, block),
            Step::TooLong => self.damaged(Damage::TooLong, block),
            Step::Broken(cause) => self.damaged(Damage::Unclosed(cause), block),
        }
    }

    #[inline]
    fn whole(&mut self, length: usize, block: &mut Block) -> bool {
        let scan = std::mem::take(&mut self.scan);
        if self.pending.is_some() {
            let record = &self.buffer[self.start..self.start + length];
            let fields = || scan.fields(record, self.rules.dialect.delimiter);
            // A record of several lines has been counted on the way.
            if scan.breaks == 0 && (scan.stray || self.rules.fields != Some(fields())) {
                return self.absorb(length, block);
            }
            self.settle(block);
        }
        let kind = if scan.stray { Kind::Stray } else { Kind::Clean };
        let end = self.start + length;
        let (ended, crlf) = self.line_end(end);
        block.metas.push(Meta {
            line: self.line,
            byte: self.before + self.start as u64,
            kind,
            crlf,
        });
        self.start = end;
        self.line = self.line.saturating_add(scan.breaks + 1);
        if !ended {
            self.flush(block);
            block.text.push(b'\n');
        }
        true
    }

    /// Whether the text before `end` ends in a line end, which is counted, and whether its last byte before it is CR.
    #[inline]
    fn line_end(&mut self, end: usize) -> (bool, bool) {
        let line = &self.buffer[self.start..end];
        let ended = line.last() == Some(&b'\n');
        let content = &line[..line.len() - usize::from(ended)];
        let crlf = content.last() == Some(&b'\r');
        self.tally.crlf += u64::from(ended && crlf);
        self.tally.lf += u64::from(ended && !crlf);
        (ended, crlf)
    }

    fn blank(&mut self, length: usize, block: &mut Block) -> bool {
        self.line_end(self.start + length);
        match &mut self.pending {
            Some(pending) => pending.blank += 1,
            None => self.tally.blank += 1,
        }
        self.pass(length, block);
        true
    }

    /// Leaves out `length` bytes, which are a line.
    fn pass(&mut self, length: usize, block: &mut Block) {
        self.flush(block);
        self.start += length;
        self.run = self.start;
        self.line = self.line.saturating_add(1);
    }

    /// Leaves out a record that cannot be handed on: its first line only, for the next may be a good one.
    fn damaged(&mut self, damage: Damage, block: &mut Block) -> bool {
        let rest = &self.buffer[self.start..];
        let scan = std::mem::take(&mut self.scan);
        let length = match (damage, scan.first_line) {
            (Damage::TooLong, _) | (Damage::Unclosed(_), 0) => scan.at.min(rest.len()),
            (Damage::Unclosed(_), first) => first,
        };
        self.repeated += (scan.at - length) as u64;
        self.skipping = damage == Damage::TooLong;
        if self.pending.is_some() {
            return self.absorb(length, block);
        }
        let line = rest[..length]
            .strip_suffix(b"\n")
            .unwrap_or(&rest[..length]);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let kept = line.len().min(Rejection::CELLS_BYTES);
        let bad = Bad {
            line: self.line,
            byte: self.before + self.start as u64,
            last_line: self.line,
            damage,
            text: line[..kept].to_vec(),
            clipped: kept < line.len() || self.skipping,
        };
        self.line_end(self.start + length);
        self.pass(length, block);
        self.pending = Some(Pending { bad, blank: 0 });
        if damage == Damage::TooLong || self.rules.fields.is_none() {
            self.settle(block);
        }
        true
    }

    /// Adds a line to the record whose quote is not closed.
    fn absorb(&mut self, length: usize, block: &mut Block) -> bool {
        if let Some(pending) = &mut self.pending {
            pending.bad.last_line = self.line;
            pending.blank = 0;
        }
        self.line_end(self.start + length);
        self.pass(length, block);
        true
    }

    /// Hands on the record whose quote is not closed: the line to go on from is found.
    fn settle(&mut self, block: &mut Block) {
        if let Some(Pending { bad, blank }) = self.pending.take() {
            self.tally.blank += blank;
            block.metas.push(Meta {
                line: bad.line,
                byte: bad.byte,
                kind: Kind::Bad,
                crlf: false,
            });
            block.bad.push(bad);
        }
    }

    /// At the end of the text held: hands on what waits if it is the end of the file, too.
    fn close(&mut self, block: &mut Block) -> bool {
        if self.ended {
            self.settle(block);
        }
        false
    }

    /// Drops what is left of a line; false if its end has not come.
    fn skip(&mut self) -> bool {
        let rest = &self.buffer[self.start..];
        let end = memchr(b'\n', rest);
        self.start += end.map_or(rest.len(), |at| at + 1);
        self.run = self.start;
        self.skipping = end.is_none() && !self.ended;
        !self.skipping
    }

    fn flush(&mut self, block: &mut Block) {
        block
            .text
            .extend_from_slice(&self.buffer[self.run..self.start]);
        self.run = self.start;
    }
}

#[cfg(test)]
mod tests;
