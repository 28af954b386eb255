//! The first rows below a header, by whose values columns are distinguished.

use std::cell::Cell;

use crate::{
    model::{Evidence, Fault, Proposal, ProposalScope},
    parse::value::{
        Basis,
        field::{EventField, field_text, is_null_marker},
        format_proposal::UnparsedTimestamps,
        timestamp::TimestampParser,
    },
};

/// A row below the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SampleRow {
    /// The physical line where it starts.
    pub(crate) line: u32,
    /// Its cells, as far as they are text.
    pub(crate) cells: Vec<String>,
}

/// The first rows of a file, and how their timestamps are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample<'a> {
    pub(crate) rows: &'a [SampleRow],
    pub(crate) timestamps: Option<&'a TimestampParser>,
    /// What may still be spent on telling columns apart; none is no bound.
    pub(crate) budget: Option<&'a Cell<u32>>,
}

/// What may be spent on the columns of one file: a value read costs 1.
pub(crate) const BUDGET: u32 = 400_000;
/// The cost of a search for the format of a value.
const SEARCH_COST: u32 = 100;

/// What the values of a column are, as far as they are not missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ValueKinds {
    pub(crate) values: usize,
    /// Timestamps in an accepted form.
    pub(crate) timestamps: usize,
    /// Of these, days without a time, and digits alone.
    pub(crate) days: usize,
    pub(crate) digits: usize,
    /// Timestamps that some format reads.
    pub(crate) formatted: usize,
}

impl Sample<'_> {
    /// A sample without rows.
    pub(crate) const NONE: Self = Self {
        rows: &[],
        timestamps: None,
        budget: None,
    };

    /// Returns the cells of every row, if all rows have the same number.
    pub(crate) fn width(&self) -> Option<usize> {
        let width = self.rows.first()?.cells.len();
        let is_same = |row: &SampleRow| row.cells.len() == width;
        self.rows.iter().all(is_same).then_some(width)
    }

    /// Whether several rows prove a number of cells. A single row may be a bad one, and a backslash may be an escape, by
    /// which the cells are to be split otherwise.
    pub(crate) fn proves_width(&self, width: usize) -> bool {
        let mut cells = self.rows.iter().flat_map(|row| &row.cells);
        self.rows.len() > 1 && self.width() == Some(width) && !cells.any(|cell| cell.contains('\\'))
    }

    /// Returns the values of the columns, joined with spaces, with row and line. Missing values are left out.
    pub(crate) fn values(&self, columns: &[usize]) -> Vec<(u32, u32, String)> {
        let value = |(row, sample): (u32, &SampleRow)| {
            let cells = columns
                .iter()
                .map(|at| sample.cells.get(*at).map_or("", |cell| cell.as_str()));
            let cells: Vec<_> = cells.map(str::trim).collect();
            let joined = cells.join(" ");
            let text = field_text(joined.as_bytes());
            let is_missing = text.is_empty() || is_null_marker(text);
            let text = String::from_utf8_lossy(text).into_owned();
            (!is_missing).then_some((row, sample.line, text))
        };
        (1..).zip(self.rows).filter_map(value).collect()
    }

    /// Spends some of the budget. Returns false once it is used up.
    fn spend(&self, cost: u32) -> bool {
        self.budget.is_none_or(|budget| {
            let left = budget.get().checked_sub(cost);
            budget.set(left.unwrap_or(0));
            left.is_some()
        })
    }

    /// Whether all values of a column are times of day.
    pub(crate) fn are_clocks(&self, column: usize) -> bool {
        let cells = self.rows.iter().filter_map(|row| row.cells.get(column));
        let mut values = cells
            .map(|cell| field_text(cell.trim().as_bytes()))
            .filter(|text| !text.is_empty() && !is_null_marker(text))
            .peekable();
        values.peek().is_some() && values.all(|value| self.spend(1) && is_clock(value))
    }

    /// Returns what the values of columns are; nothing once the budget is used up.
    pub(crate) fn kinds(&self, columns: &[usize]) -> ValueKinds {
        let mut kinds = ValueKinds::default();
        let Some(timestamps) = self.timestamps else {
            return kinds;
        };
        let mut unparsed = UnparsedTimestamps::default();
        let cost = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        if !self.spend(cost) {
            return kinds;
        }
        for (row, line, value) in self.values(columns) {
            let value = value.as_bytes();
            kinds.values += 1;
            match timestamps.read(value) {
                Ok(reading) => {
                    kinds.timestamps += 1;
                    kinds.days += usize::from(reading.basis == Basis::Day);
                    let is_number =
                        |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'.' | b',');
                    kinds.digits += usize::from(value.iter().all(is_number));
                }
                Err(_) if !self.spend(SEARCH_COST) => {}
                Err(found) => {
                    let formats = unparsed.add((row, line), value, found, timestamps);
                    let is_number = formats
                        .iter()
                        .all(|format| *format == "excel" || *format == "%s");
                    kinds.formatted += usize::from(!is_number);
                }
            }
        }
        kinds
    }

    /// Whether the values of columns may be those of a field. Without values, any may.
    pub(crate) fn fits(&self, columns: &[usize], field: EventField) -> bool {
        if self.rows.is_empty() || self.timestamps.is_none() {
            return true;
        }
        let kinds = self.kinds(columns);
        let ValueKinds {
            values,
            timestamps,
            digits,
            formatted,
            ..
        } = kinds;
        match field {
            EventField::Timestamp => values > 0 && (timestamps + formatted) * 2 > values,
            EventField::EventType | EventField::UserId => {
                values > 0 && (timestamps - digits + formatted) * 2 <= values
            }
            EventField::EventId => values > 0,
        }
    }

    /// Returns the formats that the timestamps in columns need, and the zone of an abbreviation.
    pub(crate) fn format_proposals(
        &self,
        columns: &[usize],
        stated: Option<&str>,
    ) -> Vec<Proposal> {
        let Some(timestamps) = self.timestamps else {
            return Vec::new();
        };
        let (mut unparsed, mut read) = (UnparsedTimestamps::default(), 0);
        for (row, line, value) in self.values(columns) {
            match timestamps.read(value.as_bytes()) {
                Ok(_) => read += 1,
                Err(found) => drop(unparsed.add((row, line), value.as_bytes(), found, timestamps)),
            }
        }
        let mut proposals = unparsed.proposals(stated, read);
        for proposal in &mut proposals {
            proposal.scope = ProposalScope::File;
        }
        proposals
    }

    /// Returns the first value of columns.
    pub(crate) fn evidence(&self, columns: &[usize]) -> Option<Evidence> {
        let (row, line, value) = self.values(columns).into_iter().next()?;
        Some(Evidence {
            row,
            line,
            value: Fault::clip(value.as_bytes()),
        })
    }
}

/// Whether a value is a time of day, such as `9:58:10 AM`.
fn is_clock(value: &[u8]) -> bool {
    let digits = value
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let rest = &value[digits.min(value.len())..];
    (1..=2).contains(&digits)
        && matches!(rest, [b':' | b'.', b'0'..=b'9', b'0'..=b'9', ..])
        && rest
            .iter()
            .all(|byte| byte.is_ascii_digit() || b":., AaPpMm".contains(byte))
        && rest
            .iter()
            .filter(|byte| matches!(byte, b':' | b'.'))
            .count()
            <= 3
}
