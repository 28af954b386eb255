//! Finds where one record ends: quote-aware, by the rules of csv-core, resumable at any byte.
//! Looks at each byte once; says when an open quote cannot be meant that way. Copies nothing.

use memchr::{memchr_iter, memchr2, memchr3};

use super::dialect::{Dialect, Escape};

/// What a record has to keep to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Delimiter and quote.
    pub(crate) dialect: Dialect,
    /// Longest record, its line end excluded.
    pub(crate) record_bytes: usize,
    /// Most physical lines of one record.
    pub(crate) record_lines: u32,
    /// Cells of a record; none while the header is not known.
    pub(crate) fields: Option<usize>,
}

/// Why a quote that was opened counts as never closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The file ends inside it.
    EndOfFile,
    /// The record reaches the byte limit inside it.
    TooManyBytes,
    /// The record reaches the line limit inside it.
    TooManyLines,
    /// It ends on another line, and text follows.
    TextAfterQuote,
    /// It ends on another line, and the record has this many cells, or at least as many.
    Fields(usize),
    /// So many quotes were left open before that lines are no longer joined.
    LinesNotJoined,
}

/// What a look at the text came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// No end in sight: more text is needed.
    More,
    /// A record up to this offset, its line end included.
    Whole(usize),
    /// The first physical line alone is over the byte limit.
    TooLong,
    /// A quote on the first line is not closed.
    Broken(Cause),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Plain,
    Quoted,
    /// After a quote inside quotes: it ends the cell or is the first of two.
    Closing,
}

/// How far the look at one record has come; offsets count from the record's first byte.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Scan {
    /// First byte not yet looked at.
    pub(crate) at: usize,
    /// Line ends inside quotes.
    pub(crate) breaks: u32,
    /// Where the second physical line starts; 0 while there is none.
    pub(crate) first_line: usize,
    /// Whether text follows a closing quote.
    pub(crate) stray: bool,
    mode: Mode,
    delimiters: usize,
    /// From here on delimiters are not counted yet.
    uncounted: usize,
}

impl Scan {
    /// Goes on over `text`, the record from its first byte and at most one byte over the limit; `last` = nothing
    /// follows it in the file; `join` = a record may span lines.
    #[inline]
    pub(crate) fn step(&mut self, text: &[u8], rules: &Rules, last: bool, join: bool) -> Step {
        loop {
            let step = match self.mode {
                Mode::Plain => self.plain(text, rules, last),
                Mode::Quoted => self.quoted(text, rules, last, join),
                Mode::Closing => self.closing(text, rules, last),
            };
            if let Some(step) = step {
                return step;
            }
        }
    }

    #[inline]
    fn plain(&mut self, text: &[u8], rules: &Rules, last: bool) -> Option<Step> {
        let Dialect {
            delimiter, quote, ..
        } = rules.dialect;
        let Some(found) = memchr2(quote, b'\n', &text[self.at..]) else {
            self.at = text.len();
            return Some(if last && text.len() <= rules.record_bytes {
                self.end(text, text.len(), rules)
            } else {
                self.more(text, rules)
            });
        };
        let found = self.at + found;
        self.at = found + 1;
        if text[found] == b'\n' {
            return Some(self.end(text, found, rules));
        }
        if found == 0 || text[found - 1] == delimiter {
            self.count(text, found, delimiter);
            self.mode = Mode::Quoted;
            return self.over(rules).map(Step::Broken);
        }
        None
    }

    fn quoted(&mut self, text: &[u8], rules: &Rules, last: bool, join: bool) -> Option<Step> {
        let Dialect { quote, escape, .. } = rules.dialect;
        let rest = &text[self.at..];
        let found = match escape {
            Escape::Doubled => memchr2(quote, b'\n', rest),
            Escape::Backslash => memchr3(quote, b'\n', b'\\', rest),
        };
        let Some(found) = found else {
            self.at = text.len();
            return Some(if last && text.len() <= rules.record_bytes {
                Step::Broken(Cause::EndOfFile)
            } else {
                self.more(text, rules)
            });
        };
        let found = self.at + found;
        self.at = found + 1;
        if text[found] == quote {
            self.mode = Mode::Closing;
            return None;
        }
        if text[found] != b'\n' {
            return self.escaped(text, found, rules, last);
        }
        self.breaks += 1;
        if self.breaks == 1 {
            self.first_line = self.at;
        }
        let cause = if !join {
            Some(Cause::LinesNotJoined)
        } else if self.stray {
            Some(Cause::TextAfterQuote)
        } else if self.breaks >= rules.record_lines {
            Some(Cause::TooManyLines)
        } else {
            self.over(rules)
        };
        cause.map(Step::Broken)
    }

    /// Passes the byte behind a backslash, but for a line end, which is counted.
    fn escaped(&mut self, text: &[u8], found: usize, rules: &Rules, last: bool) -> Option<Step> {
        match text.get(found + 1) {
            None if last && text.len() <= rules.record_bytes => {}
            None => {
                self.at = found;
                return Some(self.more(text, rules));
            }
            Some(b'\n') => {}
            Some(_) => self.at = found + 2,
        }
        None
    }

    fn closing(&mut self, text: &[u8], rules: &Rules, last: bool) -> Option<Step> {
        let Dialect {
            delimiter, quote, ..
        } = rules.dialect;
        let stray = match text[self.at..] {
            [] | [b'\r'] if !last || text.len() > rules.record_bytes => {
                return Some(self.more(text, rules));
            }
            [byte, ..] if byte == quote => {
                self.at += 1;
                self.mode = Mode::Quoted;
                return None;
            }
            [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..] => false,
            [byte, ..] => byte != delimiter,
        };
        self.mode = Mode::Plain;
        self.uncounted = self.at;
        self.stray |= stray;
        (stray && self.breaks > 0).then_some(Step::Broken(Cause::TextAfterQuote))
    }

    /// The end of the record, or the fault that shows only there; `content` excludes the line end.
    #[inline]
    fn end(&mut self, text: &[u8], content: usize, rules: &Rules) -> Step {
        if self.breaks > 0 {
            self.count(text, content, rules.dialect.delimiter);
            let fields = self.delimiters + 1;
            if rules.fields.is_some_and(|wanted| wanted != fields) {
                return Step::Broken(Cause::Fields(fields));
            }
        }
        Step::Whole(self.at)
    }

    fn more(&self, text: &[u8], rules: &Rules) -> Step {
        match (text.len() > rules.record_bytes, self.breaks) {
            (false, _) => Step::More,
            (true, 0) => Step::TooLong,
            (true, _) => Step::Broken(Cause::TooManyBytes),
        }
    }

    /// Whether a record of several lines has more cells than it may.
    fn over(&self, rules: &Rules) -> Option<Cause> {
        let fields = self.delimiters + 1;
        (self.breaks > 0 && rules.fields.is_some_and(|wanted| fields > wanted))
            .then_some(Cause::Fields(fields))
    }

    fn count(&mut self, text: &[u8], to: usize, delimiter: u8) {
        self.delimiters += memchr_iter(delimiter, &text[self.uncounted..to]).count();
        self.uncounted = to;
    }

    /// Cells of a record on one line that was found whole.
    pub(crate) fn fields(mut self, record: &[u8], delimiter: u8) -> usize {
        self.count(record, record.len(), delimiter);
        self.delimiters + 1
    }
}
