//! From cells to events in columns and rejections, cut into blocks of bounded size.
//! Decides about each row by itself and accounts for every one: inserted, failed or blank.

use std::collections::VecDeque;

use super::{
    Limits, Parsed,
    csv::{
        cells::Row,
        dialect::Dialect,
        frame::{Bad, Kind, Meta},
    },
    fault,
    header::{self, Header},
    rejected_cells::{EXTRA_CELLS, keep, split},
    value::{
        field::{self, Required},
        format_proposal::Unread,
        timestamp::Timestamps,
    },
};
use crate::model::{
    event::{EventBlock, TextColumn},
    receipt::FormatProposal,
    rejection::{Fault, Rejection},
};

/// Events of a block.
const BLOCK_EVENTS: usize = 8192;

/// Text of a block's events, and likewise of its rejections.
const BLOCK_TEXT: usize = 4 * 1024 * 1024;

/// Rejections of a block.
const BLOCK_REJECTIONS: usize = 1000;

/// Faults of cells told of one row: each takes more text than the cell it is of, and a row has hundreds of cells.
const CELL_FAULTS: usize = 32;

/// How many rows came to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Events.
    pub(super) inserted: u64,
    /// Rejections.
    pub(super) failed: u64,
    /// Records of empty cells.
    pub(super) blank: u64,
    /// The header once more, as files that were glued together have it.
    pub(super) repeated_headers: u64,
}

/// The values of a row that is an event.
struct Values<'a> {
    event_type: &'a [u8],
    user_id: &'a [u8],
    event_id: &'a [u8],
    timestamp: i64,
}

/// Judges the rows of one file.
pub(super) struct Rows {
    header: Header,
    limits: Limits,
    dialect: Dialect,
    times: Timestamps,
    unread: Unread,
    other_header: Option<u32>,
    counts: Counts,
    block: Parsed,
    /// Text of the block's events.
    inserted: usize,
    /// Text kept with the block's rejections.
    rejected: usize,
    ready: VecDeque<Parsed>,
}

impl Rows {
    /// Before the first row under `header`.
    pub(super) fn new(header: Header, limits: Limits, dialect: Dialect, times: Timestamps) -> Self {
        let block = EventBlock::new(header.attributes.len());
        Self {
            header,
            limits,
            dialect,
            times,
            unread: Unread::default(),
            other_header: None,
            counts: Counts::default(),
            block: Parsed {
                events: block,
                rejections: Vec::new(),
            },
            inserted: 0,
            rejected: 0,
            ready: VecDeque::new(),
        }
    }

    /// The meaning of the columns.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    /// What the rows so far came to.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The format that the timestamps which could not be read prove.
    pub(super) fn proposal(&self) -> Option<FormatProposal> {
        self.unread.proposal()
    }

    /// The next block that is full, or the last one after [`Rows::close`].
    pub(super) fn take(&mut self) -> Option<Parsed> {
        self.ready.pop_front()
    }

    /// Hands on the last block.
    pub(super) fn close(&mut self) {
        if !self.block.events.is_empty() || !self.block.rejections.is_empty() {
            self.cut();
        }
    }

    /// Judges one record; `text` = its cells are known to be UTF-8 without NUL.
    #[inline]
    pub(super) fn record(&mut self, row: Row<'_>, meta: Meta, text: bool) {
        let row = if self.header.mended {
            row.restored()
        } else {
            row
        };
        let sound = meta.kind == Kind::Clean && (text || row.is_text()) && self.is_mended(row);
        let Some(values) = self.values(row).filter(|_| sound) else {
            return self.refuse(row, meta);
        };
        let at = (number(self.counts), meta.line);
        Self::insert(&mut self.block.events, &self.header, row, &values, at);
        self.counts.inserted += 1;
        self.inserted += row.text_bytes();
        if self.block.events.len() >= BLOCK_EVENTS || self.inserted >= BLOCK_TEXT {
            self.cut();
        }
    }

    /// Whether nothing is left to be filled in by hand.
    fn is_mended(&self, row: Row<'_>) -> bool {
        !self.header.mended || !self.own(row).any(|(_, cell)| fault::is_marked(cell))
    }

    /// The cells of the file's own columns, with their labels.
    fn own<'a>(&'a self, row: Row<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let Header { labels, added, .. } = &self.header;
        let cells = labels.iter().zip(row.iter()).enumerate();
        let own = cells.filter(|(at, _)| !added.contains(at));
        own.map(|(_, (label, cell))| (label.as_str(), cell))
    }

    #[inline]
    fn values<'a>(&self, row: Row<'a>) -> Option<Values<'a>> {
        let Self { header, limits, .. } = self;
        let cells_fit = row.text_bytes() <= limits.cell_bytes
            || row.iter().all(|cell| cell.len() <= limits.cell_bytes);
        if row.len() != header.labels.len() || !cells_fit {
            return None;
        }
        let event_id = header.event_id.map_or(&b""[..], |at| {
            field::null_is_empty(field::trim(row.cell(at)))
        });
        if event_id.len() > limits.event_id_bytes {
            return None;
        }
        Some(Values {
            event_type: field::value(row.cell(header.event_type), limits.event_type_bytes).ok()?,
            user_id: field::value(row.cell(header.user_id), limits.user_id_bytes).ok()?,
            event_id,
            timestamp: self
                .times
                .read(field::trim(row.cell(header.timestamp)))
                .ok()?,
        })
    }

    #[inline]
    fn insert(
        events: &mut EventBlock,
        header: &Header,
        row: Row<'_>,
        values: &Values<'_>,
        (number, line): (u32, u32),
    ) {
        events.rows.push(number);
        events.lines.push(line);
        events.event_id.push(values.event_id);
        events.user_id.push(values.user_id);
        events.event_type.push(values.event_type);
        events.timestamp.push(values.timestamp);
        for (column, at) in events.attributes.iter_mut().zip(&header.attributes) {
            column.push(row.cell(*at));
        }
    }

    /// Takes in a row that is no event: a blank one is counted, any other is rejected with all its faults.
    #[cold]
    fn refuse(&mut self, row: Row<'_>, meta: Meta) {
        // DOS ends a file with Ctrl-Z.
        let end_mark = row.len() == 1 && row.cell(0) == b"\x1a";
        if end_mark || row.iter().all(|cell| field::trim(cell).is_empty()) {
            self.counts.blank += 1;
            return;
        }
        if self.is_header(row) {
            self.counts.repeated_headers += 1;
            return;
        }
        if self.is_other_header(row) {
            self.other_header.get_or_insert(meta.line);
        }
        let mut faults = self.faults(row, meta.kind);
        if fault::is_totals(row) {
            fault::say_totals(&mut faults);
        }
        self.note_time(row, meta.line);
        let (cells, clipped) = keep(row.iter(), self.header.labels.len() + EXTRA_CELLS);
        self.reject(Rejection {
            row: number(self.counts),
            line: meta.line,
            last_line: meta.line,
            byte_offset: meta.byte,
            cells,
            clipped,
            faults,
        });
    }

    /// Keeps what a timestamp that could not be read says about its format.
    fn note_time(&mut self, row: Row<'_>, line: u32) {
        if self.times.format.is_some() || row.len() != self.header.labels.len() {
            return;
        }
        let cell = row.cell(self.header.timestamp);
        if let Ok(value) = field::value(cell, self.limits.cell_bytes)
            && let Err(found) = self.times.read(value)
        {
            self.unread.add(line, value, found);
        }
    }

    /// Whether every cell says what the header says there.
    fn is_header(&self, row: Row<'_>) -> bool {
        let labels = &self.header.labels;
        let same = |(cell, label): (&[u8], &String)| {
            std::str::from_utf8(cell).is_ok_and(|cell| header::fold(cell) == header::fold(label))
        };
        row.len() == labels.len() && row.iter().zip(labels).all(same)
    }

    /// Whether it is a header under which the columns mean something else: read on, they would be swapped in silence.
    fn is_other_header(&self, row: Row<'_>) -> bool {
        let own = self.header.labels[self.header.timestamp].as_bytes();
        let is_time = |cell: &[u8]| {
            let cell = field::trim(cell);
            let named = |name: &str| cell.eq_ignore_ascii_case(name.as_bytes());
            cell.eq_ignore_ascii_case(own) || Required::Timestamp.names().any(named)
        };
        if !row.iter().any(is_time) {
            return false;
        }
        let cells: Result<Vec<_>, _> = row.iter().map(std::str::from_utf8).collect();
        let Ok(cells) = cells else {
            return false;
        };
        let sorted = |labels: &mut dyn Iterator<Item = &str>| {
            let mut all: Vec<_> = labels.map(header::fold).collect();
            all.sort_unstable();
            all
        };
        let labels = &mut self.header.labels.iter().map(String::as_str);
        sorted(&mut cells.iter().copied()) == sorted(labels)
            || Header::read(&cells, &[], &self.limits, false).is_ok()
    }

    /// The line of a header under which the columns would mean something else, if there was one.
    pub(super) fn other_header(&self) -> Option<u32> {
        self.other_header
    }

    fn faults(&self, row: Row<'_>, kind: Kind) -> Vec<Fault> {
        let header = &self.header;
        let (wanted, found) = (header.labels.len(), row.len());
        let mut faults = Vec::new();
        if found < wanted {
            faults.push(fault::missing_cell(header, found));
        } else if found > wanted {
            faults.push(fault::extra_cell(header, row, self.dialect.quote));
        }
        if kind == Kind::Stray {
            faults.push(fault::stray_quote());
        }
        let cell = |(label, cell)| {
            let marked = || header.mended.then(|| fault::not_mended(label, cell))?;
            fault::cell(label, cell, self.limits.cell_bytes).or_else(marked)
        };
        faults.extend(self.own(row).filter_map(cell).take(CELL_FAULTS));
        // With cells missing or moved, the values stand under wrong labels.
        if found == wanted && kind != Kind::Stray {
            let values = Required::ALL
                .into_iter()
                .filter_map(|column| self.value_fault(row, column));
            let known = |fault: &Fault| faults.iter().any(|other| other.column == fault.column);
            let values: Vec<_> = values.filter(|fault| !known(fault)).collect();
            faults.extend(values);
        }
        faults
    }

    fn value_fault(&self, row: Row<'_>, column: Required) -> Option<Fault> {
        let cell = row.cell(self.header.column(column)?);
        let label = fault::label(&self.header, column);
        let limit = column.limit(&self.limits);
        match (column, field::value(cell, limit)) {
            (Required::EventId, Err(field::ValueFault::Missing)) => None,
            (_, Err(found)) => Some(fault::value(label, cell, (limit, column.setting()), found)),
            (Required::Timestamp, Ok(value)) => {
                let found = self.times.read(value).err()?;
                Some(fault::time(label, value, found, &self.times))
            }
            (Required::EventType | Required::UserId | Required::EventId, Ok(_)) => None,
        }
    }

    /// Takes in a record that could not be handed on as cells.
    pub(super) fn bad(&mut self, bad: &Bad) {
        let split = split(&bad.text, self.dialect);
        let limits = (self.limits.record_bytes, self.limits.record_lines);
        let fault = fault::damage(bad, &self.header, split.len(), limits);
        let cells = split.iter().map(Vec::as_slice);
        let (cells, clipped) = keep(cells, self.header.labels.len() + EXTRA_CELLS);
        self.reject(Rejection {
            row: number(self.counts),
            line: bad.line,
            last_line: bad.last_line,
            byte_offset: bad.byte,
            cells,
            clipped: clipped || bad.clipped || bad.last_line > bad.line,
            faults: vec![fault],
        });
    }

    fn reject(&mut self, rejection: Rejection) {
        self.rejected += size_of_val(&*rejection.cells) + rejection.text_bytes();
        self.counts.failed += 1;
        self.block.rejections.push(rejection);
        if self.block.rejections.len() >= BLOCK_REJECTIONS || self.rejected >= BLOCK_TEXT {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let fresh = like(&self.block.events);
        let events = std::mem::replace(&mut self.block.events, fresh);
        let rejections = std::mem::take(&mut self.block.rejections);
        (self.inserted, self.rejected) = (0, 0);
        self.ready.push_back(Parsed { events, rejections });
    }
}

/// The number of the row after these; blank ones have none.
#[inline]
fn number(counts: Counts) -> u32 {
    u32::try_from(counts.inserted + counts.failed + 1).unwrap_or(u32::MAX)
}

/// An empty block with room for as much as `last` held.
fn like(last: &EventBlock) -> EventBlock {
    let column = |last: &TextColumn| {
        let mut fresh = TextColumn {
            offsets: Vec::with_capacity(last.offsets.len()),
            bytes: Vec::with_capacity(last.bytes.len()),
        };
        fresh.offsets.push(0);
        fresh
    };
    EventBlock {
        rows: Vec::with_capacity(last.len()),
        lines: Vec::with_capacity(last.len()),
        event_id: column(&last.event_id),
        user_id: column(&last.user_id),
        event_type: column(&last.event_type),
        timestamp: Vec::with_capacity(last.len()),
        attributes: last.attributes.iter().map(column).collect(),
    }
}
