//! Finds the end of one record by the quoting rules of csv-core, and detects quotes that cannot be meant as quotes.
//! Reads each byte once, can be continued at any byte, and copies nothing.

use memchr::{memchr_iter, memchr2, memchr3};

use super::dialect::{Dialect, Escape};

/// The dialect and the bounds by which text is divided into records.
#[derive(Debug, Clone, Copy)]
pub(super) struct FramingOptions {
    /// Delimiter, quote and escape.
    pub(super) dialect: Dialect,
    /// Maximum bytes of a record, without its line end.
    pub(super) record_bytes: usize,
    /// Maximum physical lines of a record.
    pub(super) record_lines: u32,
    /// Cells of a record. None until the header is known.
    pub(super) columns: Option<usize>,
}

/// Why an opened quote is considered as never closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UnclosedQuote {
    /// The file ends within the quote.
    EndOfFile,
    /// The record reaches the byte limit within the quote.
    ByteLimit,
    /// The record reaches the line limit within the quote.
    LineLimit,
    /// The quote closes on a later line, and text follows it.
    TextAfterQuote,
    /// The quote closes on a later line, and the record has a wrong number of cells. Its lines may be those of a cell, or
    /// rows after a forgotten quote, so none of them is read as a row.
    CellCount,
    /// Lines are not joined any more, because too much text was read again after unclosed quotes.
    JoiningSuspended,
}

/// The result of scanning the text of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanOutcome {
    /// The record does not end in the text: more of it is needed.
    NeedsMoreText,
    /// The record has this length, its line end included.
    Complete(usize),
    /// The first physical line alone is over the byte limit.
    TooLong,
    /// A quote on the first line is not closed.
    UnclosedQuote(UnclosedQuote),
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum QuoteState {
    #[default]
    Unquoted,
    Quoted,
    /// After a quote inside quotes: it closes the cell, or is the first half of a doubled quote.
    AfterQuote,
}

/// The scan of one record. Offsets count from the first byte of the record.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct RecordScan {
    /// First byte not yet scanned.
    pub(super) at: usize,
    /// Line ends inside quotes.
    pub(super) line_breaks: u32,
    /// Start of the second physical line; 0 while there is none.
    pub(super) second_line: usize,
    /// Whether text follows a closing quote.
    pub(super) has_stray_quote: bool,
    /// Whether the separator before a quoted cell seems to be missing.
    pub(super) has_misplaced_quote: bool,
    state: QuoteState,
    /// One past a quote in the middle of an unquoted cell; 0 while there is none.
    middle_quote: usize,
    delimiters: usize,
    /// First byte at which delimiters are not counted yet.
    uncounted: usize,
}

impl RecordScan {
    /// Continues the scan over `text`, which starts with the record and is at most one byte longer than the limit.
    /// `is_last` means that the file ends with it; `may_join` that a record may span several lines.
    #[inline]
    pub(super) fn scan(
        &mut self,
        text: &[u8],
        options: &FramingOptions,
        is_last: bool,
        may_join: bool,
    ) -> ScanOutcome {
        loop {
            let outcome = match self.state {
                QuoteState::Unquoted => self.scan_unquoted(text, options, is_last),
                QuoteState::Quoted => self.scan_quoted(text, options, is_last, may_join),
                QuoteState::AfterQuote => self.scan_after_quote(text, options, is_last),
            };
            if let Some(outcome) = outcome {
                return outcome;
            }
        }
    }

    #[inline]
    fn scan_unquoted(
        &mut self,
        text: &[u8],
        options: &FramingOptions,
        is_last: bool,
    ) -> Option<ScanOutcome> {
        let Dialect {
            delimiter, quote, ..
        } = options.dialect;
        let Some(found) = memchr2(quote, b'\n', &text[self.at..]) else {
            self.at = text.len();
            return Some(if is_last && text.len() <= options.record_bytes {
                self.end_of_record(text, text.len(), options)
            } else {
                self.end_of_text(text, options)
            });
        };
        let found = self.at + found;
        self.at = found + 1;
        if text[found] == b'\n' {
            return Some(self.end_of_record(text, found, options));
        }
        if found == 0 || text[found - 1] == delimiter {
            self.count_delimiters(text, found, delimiter);
            self.state = QuoteState::Quoted;
            return None;
        }
        let ends_cell = match text[self.at..] {
            [] | [b'\r'] if !is_last || text.len() > options.record_bytes => {
                self.at = found;
                return Some(self.end_of_text(text, options));
            }
            [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..] => true,
            [byte, ..] => byte == delimiter,
        };
        self.middle_quote_at(text, found, ends_cell, delimiter);
        None
    }

    /// Notes a quote inside an unquoted cell. A quote in the middle of one cell and a quote at the end of a later one are
    /// those of a quoted cell whose separator is missing: its delimiters would shift the cells after it.
    #[cold]
    fn middle_quote_at(&mut self, text: &[u8], at: usize, ends_cell: bool, delimiter: u8) {
        if !ends_cell {
            if self.middle_quote == 0 {
                self.middle_quote = at + 1;
            }
        } else if self.middle_quote > 0 && text[self.middle_quote..at].contains(&delimiter) {
            self.has_misplaced_quote = true;
        }
    }

    fn scan_quoted(
        &mut self,
        text: &[u8],
        options: &FramingOptions,
        is_last: bool,
        may_join: bool,
    ) -> Option<ScanOutcome> {
        let Dialect { quote, escape, .. } = options.dialect;
        let rest = &text[self.at..];
        let found = match escape {
            Escape::Doubled => memchr2(quote, b'\n', rest),
            Escape::Backslash => memchr3(quote, b'\n', b'\\', rest),
        };
        let Some(found) = found else {
            self.at = text.len();
            return Some(if is_last && text.len() <= options.record_bytes {
                ScanOutcome::UnclosedQuote(UnclosedQuote::EndOfFile)
            } else {
                self.end_of_text(text, options)
            });
        };
        let found = self.at + found;
        self.at = found + 1;
        if text[found] == quote {
            self.state = QuoteState::AfterQuote;
            return None;
        }
        if text[found] != b'\n' {
            return self.scan_escaped(text, found, options, is_last);
        }
        self.line_breaks += 1;
        if self.line_breaks == 1 {
            self.second_line = self.at;
        }
        let cause = if !may_join {
            UnclosedQuote::JoiningSuspended
        } else if self.has_stray_quote {
            UnclosedQuote::TextAfterQuote
        } else if self.line_breaks >= options.record_lines {
            UnclosedQuote::LineLimit
        } else {
            return None;
        };
        Some(ScanOutcome::UnclosedQuote(cause))
    }

    /// Skips the byte after a backslash, unless it is a line end, which must be counted.
    fn scan_escaped(
        &mut self,
        text: &[u8],
        backslash: usize,
        options: &FramingOptions,
        is_last: bool,
    ) -> Option<ScanOutcome> {
        match text.get(backslash + 1) {
            None if is_last && text.len() <= options.record_bytes => {}
            None => {
                self.at = backslash;
                return Some(self.end_of_text(text, options));
            }
            Some(b'\n') => {}
            Some(_) => self.at = backslash + 2,
        }
        None
    }

    fn scan_after_quote(
        &mut self,
        text: &[u8],
        options: &FramingOptions,
        is_last: bool,
    ) -> Option<ScanOutcome> {
        let Dialect {
            delimiter, quote, ..
        } = options.dialect;
        let is_stray = match text[self.at..] {
            [] | [b'\r'] if !is_last || text.len() > options.record_bytes => {
                return Some(self.end_of_text(text, options));
            }
            [byte, ..] if byte == quote => {
                self.at += 1;
                self.state = QuoteState::Quoted;
                return None;
            }
            [] | [b'\n', ..] | [b'\r'] | [b'\r', b'\n', ..] => false,
            [byte, ..] => byte != delimiter,
        };
        self.state = QuoteState::Unquoted;
        self.uncounted = self.at;
        self.has_stray_quote |= is_stray;
        (is_stray && self.line_breaks > 0)
            .then_some(ScanOutcome::UnclosedQuote(UnclosedQuote::TextAfterQuote))
    }

    /// Returns the outcome at the end of the record; `content` is its length without the line end.
    #[inline]
    fn end_of_record(
        &mut self,
        text: &[u8],
        content: usize,
        options: &FramingOptions,
    ) -> ScanOutcome {
        if self.line_breaks > 0 {
            self.count_delimiters(text, content, options.dialect.delimiter);
            let cells = self.delimiters + 1;
            if options.columns.is_some_and(|columns| columns != cells) {
                return ScanOutcome::UnclosedQuote(UnclosedQuote::CellCount);
            }
        }
        ScanOutcome::Complete(self.at)
    }

    /// Returns the outcome at the end of the text, within the record.
    fn end_of_text(&self, text: &[u8], options: &FramingOptions) -> ScanOutcome {
        match (text.len() > options.record_bytes, self.line_breaks) {
            (false, _) => ScanOutcome::NeedsMoreText,
            (true, 0) => ScanOutcome::TooLong,
            (true, _) => ScanOutcome::UnclosedQuote(UnclosedQuote::ByteLimit),
        }
    }

    fn count_delimiters(&mut self, text: &[u8], to: usize, delimiter: u8) {
        self.delimiters += memchr_iter(delimiter, &text[self.uncounted..to]).count();
        self.uncounted = to;
    }

    /// Returns the number of cells of a complete record on one line.
    pub(super) fn cells(mut self, record: &[u8], delimiter: u8) -> usize {
        self.count_delimiters(record, record.len(), delimiter);
        self.delimiters + 1
    }
}
