//! Row validation: turns each record into an event or a rejection, collected in blocks of bounded size.
//! Judges every record by itself and knows no file format. Never drops a record that it was given.

use std::collections::VecDeque;

use super::{
    Limits, ParsedRows, fault,
    header::Header,
    record::{Record, RecordCell, RecordPosition},
    rejected_cells::clip_cells,
    value::{
        Basis, Reading,
        field::{EventField, FieldFault, NullValues, field_text, has_mark, required_value},
        format_proposal::UnparsedTimestamps,
        timestamp::{TimestampFault, TimestampParser},
    },
};
use crate::model::{
    event::{EventBlock, TextColumn},
    proposal::Proposal,
    receipt::{Sightings, ValueCounts, Warning},
    rejection::{Fault, Rejection},
};

/// Maximum number of events in a block.
const BLOCK_EVENTS: usize = 8192;

/// Bytes of events at which a block is complete, and likewise bytes of rejections. An upload has about ten blocks between
/// its stages.
const BLOCK_BYTES: usize = 384 * 1024;

/// Bytes of a value besides its text.
const VALUE_BYTES: usize = size_of::<i32>();

/// Maximum number of rejections in a block.
const BLOCK_REJECTIONS: usize = 1000;

/// Maximum number of cell faults reported for a row. A fault takes more text than its cell, and a row may have
/// hundreds of cells.
const CELL_FAULTS: usize = 32;

/// The number of rows of each outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RowCounts {
    /// Events.
    pub(crate) inserted: u64,
    /// Rejections.
    pub(crate) failed: u64,
}

/// The values of the event fields of one valid row.
struct EventValues<'a> {
    event_type: &'a [u8],
    user_id: &'a [u8],
    event_id: &'a [u8],
    timestamp: Reading,
}

/// How values are read.
#[derive(Debug, Clone, Default)]
pub(crate) struct ValueOptions {
    /// What stands for a missing value.
    pub(crate) nulls: NullValues,
    /// Whether a row without a user is an event.
    pub(crate) keeps_anonymous: bool,
}

/// How the timestamps of the events were read.
#[derive(Debug, Default)]
struct TimestampTally {
    local: u64,
    days: u64,
    /// Wall times that were there twice.
    twice: Sightings,
    /// Markers of missing values, marks removed, and events without a user.
    nulls: u64,
    marks: u64,
    anonymous: u64,
}

/// Validates the rows of one file.
pub(crate) struct RowValidator {
    limits: Limits,
    timestamps: TimestampParser,
    /// The stated formats, as stated.
    timestamp_format: Option<String>,
    values: ValueOptions,
    unparsed_timestamps: UnparsedTimestamps,
    tally: TimestampTally,
    /// The labels of the event fields, in the order of [`EventField::ALL`].
    field_labels: [String; EventField::ALL.len()],
    /// Number of columns.
    columns: usize,
    /// Whether cells may contain the mark of an `errors.csv` that was not corrected.
    from_errors_csv: bool,
    counts: RowCounts,
    block: ParsedRows,
    /// Bytes of the block's events.
    event_bytes: usize,
    /// Bytes of the block's rejections.
    rejection_bytes: usize,
    complete_blocks: VecDeque<ParsedRows>,
}

impl RowValidator {
    /// Creates a validator for rows whose columns mean what `header` says.
    pub(crate) fn new(
        header: &Header,
        limits: Limits,
        timestamps: TimestampParser,
        timestamp_format: Option<String>,
        values: ValueOptions,
    ) -> Self {
        Self {
            limits,
            timestamps,
            timestamp_format,
            values,
            unparsed_timestamps: UnparsedTimestamps::default(),
            tally: TimestampTally::default(),
            field_labels: EventField::ALL.map(|field| header.label(field)),
            columns: header.labels.len(),
            from_errors_csv: header.from_errors_csv,
            counts: RowCounts::default(),
            block: ParsedRows {
                events: EventBlock::new(header.attributes.len()),
                rejections: Vec::new(),
            },
            event_bytes: 0,
            rejection_bytes: 0,
            complete_blocks: VecDeque::new(),
        }
    }

    /// Returns the counts of all rows so far.
    pub(crate) fn counts(&self) -> RowCounts {
        self.counts
    }

    /// Returns the number of the next row. Blank rows have none.
    #[inline]
    pub(crate) fn next_row(&self) -> u32 {
        // A row has at least one line, and a file with more lines than fit is refused.
        let rows = self.counts.inserted + self.counts.failed;
        u32::try_from(rows + 1).unwrap_or(u32::MAX)
    }

    /// Returns the options that would let rejected rows be read.
    pub(crate) fn proposals(&self) -> Vec<Proposal> {
        let stated = self.timestamp_format.as_deref();
        self.unparsed_timestamps
            .proposals(stated, self.counts.inserted)
    }

    /// Returns how the values of the events were read.
    pub(crate) fn value_counts(&self) -> ValueCounts {
        ValueCounts {
            time_zone: self.timestamps.zones.file.name().to_owned(),
            local_times: self.tally.local + self.tally.twice.rows,
            days: self.tally.days,
            null_values: self.tally.nulls,
            marks_removed: self.tally.marks,
            anonymous: self.tally.anonymous,
        }
    }

    /// Returns warnings about how values were read.
    pub(crate) fn warnings(&self, header: &Header) -> Vec<Warning> {
        let column = header.label(EventField::Timestamp);
        let zone = self.timestamps.zones.file.name();
        let twice = self.tally.twice.warning("local-time-twice", &column, |first| {
            format!(
                "the clocks of {zone} were set back, so that `{}` was there twice: the earlier of the two instants is \
                 taken; write the offset from UTC if the later one is meant",
                first.value
            )
        });
        twice.into_iter().collect()
    }

    /// Returns the next complete block.
    pub(crate) fn next_block(&mut self) -> Option<ParsedRows> {
        self.complete_blocks.pop_front()
    }

    /// Completes the last block.
    pub(crate) fn finish(&mut self) {
        if !self.block.events.is_empty() || !self.block.rejections.is_empty() {
            self.complete_block();
        }
    }

    /// Adds the record as an event. Returns false, and adds nothing, if it is not a valid event.
    #[inline]
    pub(crate) fn insert(&mut self, record: &impl Record) -> bool {
        if !record.is_intact() || self.has_incomplete_cell(record) {
            return false;
        }
        let Some(values) = self.event_values(record) else {
            return false;
        };
        if values.event_id.len() < record.value(EventField::EventId).len()
            || values.user_id.len() < record.value(EventField::UserId).len()
            || values.event_type.len() < record.value(EventField::EventType).len()
        {
            Self::count_cleaned(&mut self.tally, &self.values.nulls, record);
        }
        self.tally.anonymous += u64::from(values.user_id.is_empty());
        let row = self.next_row();
        let events = &mut self.block.events;
        events.rows.push(row);
        events.lines.push(record.position().line);
        events.event_id.push(values.event_id);
        events.user_id.push(values.user_id);
        events.event_type.push(values.event_type);
        events.timestamp.push(values.timestamp.instant);
        match values.timestamp.basis {
            Basis::Stated => {}
            Basis::Local => self.tally.local += 1,
            Basis::Day => self.tally.days += 1,
            Basis::LocalTwice => {
                let (line, value) = (record.position().line, record.value(EventField::Timestamp));
                self.tally.twice.add(row, line, value);
            }
        }
        for (column, value) in events.attributes.iter_mut().zip(record.attributes()) {
            column.push(value);
        }
        self.counts.inserted += 1;
        self.event_bytes += record.text_bytes() + self.columns * VALUE_BYTES;
        if self.block.events.len() >= BLOCK_EVENTS || self.event_bytes >= BLOCK_BYTES {
            self.complete_block();
        }
        true
    }

    /// Counts the markers of missing values and the invisible marks of a row.
    #[cold]
    fn count_cleaned(tally: &mut TimestampTally, nulls: &NullValues, record: &impl Record) {
        for field in EventField::ALL {
            let cell = record.value(field);
            tally.nulls += u64::from(nulls.is_null(field_text(cell)));
            tally.marks += u64::from(has_mark(cell));
        }
    }

    /// Adds the record as a rejection with all its faults.
    #[cold]
    pub(crate) fn reject(&mut self, record: &impl Record) {
        let RecordPosition { line, byte } = record.position();
        Self::count_cleaned(&mut self.tally, &self.values.nulls, record);
        let mut faults = self.faults(record);
        self.note_unparsed_timestamp(record, &mut faults);
        if fault::is_totals_row(record) {
            fault::hint_at_totals_row(&mut faults);
        }
        let (cells, clipped) = clip_cells(record.cells().map(|cell| cell.value), self.columns);
        self.push_rejection(Rejection {
            row: self.next_row(),
            line,
            last_line: line,
            byte_offset: byte,
            cells,
            clipped,
            faults,
        });
    }

    /// Adds a rejection that the reader of the file made itself, of a record that could not be split into values.
    pub(crate) fn push_rejection(&mut self, rejection: Rejection) {
        self.rejection_bytes += size_of_val(&*rejection.cells) + rejection.text_bytes();
        self.counts.failed += 1;
        self.block.rejections.push(rejection);
        if self.block.rejections.len() >= BLOCK_REJECTIONS || self.rejection_bytes >= BLOCK_BYTES {
            self.complete_block();
        }
    }

    /// Whether the record comes from an `errors.csv` and still has a cell that the user must complete.
    fn has_incomplete_cell(&self, record: &impl Record) -> bool {
        let is_incomplete =
            |cell: RecordCell<'_>| cell.label.is_some() && fault::is_incomplete(cell.value);
        self.from_errors_csv && record.cells().any(is_incomplete)
    }

    /// Returns the values of an event, or none if one of them is invalid.
    #[inline]
    fn event_values<'a>(&self, record: &'a impl Record) -> Option<EventValues<'a>> {
        let limits = &self.limits;
        let cells_fit = record.text_bytes() <= limits.cell_bytes
            || record
                .cells()
                .all(|cell| cell.value.len() <= limits.cell_bytes);
        let ValueOptions {
            nulls,
            keeps_anonymous,
        } = &self.values;
        let event_id = nulls.empty(field_text(record.value(EventField::EventId)));
        if !cells_fit || event_id.len() > limits.event_id_bytes {
            return None;
        }
        let event_type = record.value(EventField::EventType);
        let user_id = record.value(EventField::UserId);
        let timestamp = field_text(record.value(EventField::Timestamp));
        let user_id = match required_value(user_id, limits.user_id_bytes, nulls) {
            Err(FieldFault::Missing) if *keeps_anonymous => b"",
            user_id => user_id.ok()?,
        };
        Some(EventValues {
            event_type: required_value(event_type, limits.event_type_bytes, nulls).ok()?,
            user_id,
            event_id,
            timestamp: self.timestamps.read(timestamp).ok()?,
        })
    }

    /// Records which formats read a timestamp that could not be read, and names them in its fault.
    fn note_unparsed_timestamp(&mut self, record: &impl Record, faults: &mut [Fault]) {
        if !record.has_one_cell_per_column() {
            return;
        }
        let cell = record.value(EventField::Timestamp);
        if let Ok(value) = required_value(cell, self.limits.cell_bytes, &self.values.nulls)
            && let Err(found) = self.timestamps.read(value)
        {
            let at = (self.next_row(), record.position().line);
            let formats = self
                .unparsed_timestamps
                .add(at, value, found, &self.timestamps);
            let label = &self.field_labels[EventField::Timestamp as usize];
            let mut faults = faults.iter_mut();
            let fault = faults.find(|fault| fault.column.as_ref() == Some(label));
            if let (Some(fault), false) = (fault, found == TimestampFault::ZoneAbbreviation) {
                fault::hint_at_formats(fault, &formats);
            }
        }
    }

    fn faults(&self, record: &impl Record) -> Vec<Fault> {
        let mut faults = record.structural_faults();
        let values_are_in_place = faults.is_empty();
        let cell_fault = |RecordCell { label, value }: RecordCell<'_>| {
            let label = label?;
            let incomplete = || {
                self.from_errors_csv
                    .then(|| fault::incomplete(label, value))?
            };
            fault::cell(label, value, self.limits.cell_bytes).or_else(incomplete)
        };
        faults.extend(record.cells().filter_map(cell_fault).take(CELL_FAULTS));
        if values_are_in_place {
            let values = EventField::ALL
                .into_iter()
                .filter_map(|field| self.value_fault(record, field));
            let is_reported =
                |fault: &Fault| faults.iter().any(|other| other.column == fault.column);
            let values: Vec<_> = values.filter(|fault| !is_reported(fault)).collect();
            faults.extend(values);
        }
        faults
    }

    fn value_fault(&self, record: &impl Record, field: EventField) -> Option<Fault> {
        let cell = record.value(field);
        let label = self.field_labels[field as usize].as_str();
        let limit = field.limit(&self.limits);
        match (field, required_value(cell, limit, &self.values.nulls)) {
            (EventField::EventId, Err(FieldFault::Missing)) => None,
            (EventField::UserId, Err(FieldFault::Missing)) if self.values.keeps_anonymous => None,
            (_, Err(found)) => Some(fault::value(label, cell, (limit, field.setting()), found)),
            (EventField::Timestamp, Ok(value)) => {
                let found = self.timestamps.read(value).err()?;
                Some(fault::timestamp(label, value, found, &self.timestamps))
            }
            (EventField::EventType | EventField::UserId | EventField::EventId, Ok(_)) => None,
        }
    }

    fn complete_block(&mut self) {
        let next = with_capacity_of(&self.block.events);
        let events = std::mem::replace(&mut self.block.events, next);
        let rejections = std::mem::take(&mut self.block.rejections);
        (self.event_bytes, self.rejection_bytes) = (0, 0);
        self.complete_blocks
            .push_back(ParsedRows { events, rejections });
    }
}

/// Returns an empty block with room for as much as `last` contains.
fn with_capacity_of(last: &EventBlock) -> EventBlock {
    // Somewhat more: a column that outgrows its room doubles it.
    let room = |last: usize| last + last / 8;
    let column = |last: &TextColumn| {
        let mut next = TextColumn {
            offsets: Vec::with_capacity(room(last.offsets.len())),
            bytes: Vec::with_capacity(room(last.bytes.len())),
        };
        next.offsets.push(0);
        next
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
