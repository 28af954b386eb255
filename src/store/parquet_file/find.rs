//! Pages of matching events, newest first, in two passes: the first locates rows by instant and filter in bounded
//! memory, the second reads all columns of the located rows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fs::File,
    ops::Range,
    path::Path,
};

use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder, RowSelection,
        },
    },
    bloom_filter::Sbbf,
    file::statistics::Statistics,
};

use super::{
    damaged,
    read::{block, columns, rows_within},
};
use crate::{
    model::{EventBlock, columns::FIXED_COLUMNS},
    store::{
        Attributes, EVENT_PAGE_BYTES, EventFilter, EventPage, EventPosition, Projection,
        READ_BYTES, READ_ROWS, Result,
    },
};

/// Rows filtered in one step.
const FILTER_ROWS: usize = 8_192;

/// Returns the first matching events after a position, at most `limit`.
pub(in crate::store) fn find_events(
    path: &Path,
    filter: &EventFilter,
    after: Option<EventPosition>,
    limit: usize,
) -> Result<EventPage> {
    let file = EventFileReader::open(path)?;
    let mut rows = file.locate(filter, after, limit + 1)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let mut page = EventPage {
        events: EventBlock::default(),
        more,
    };
    for step in rows.chunks(file.rows_per_read()) {
        file.read_rows(step, &mut page.events)?;
        if page.events.text_bytes() >= EVENT_PAGE_BYTES {
            page.more |= page.events.len() < rows.len();
            break;
        }
    }
    Ok(page)
}

/// The location of a matching row; sorts by position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RowLocation {
    position: EventPosition,
    group: usize,
    index_in_group: usize,
}

/// An open event file.
struct EventFileReader {
    file: File,
    metadata: ArrowReaderMetadata,
}

impl EventFileReader {
    fn open(path: &Path) -> Result<Self> {
        let file = super::open(path)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
        Ok(Self {
            metadata: metadata.map_err(|why| damaged(&why))?,
            file,
        })
    }

    /// Returns the locations of the first `most` matching events, in order.
    fn locate(
        &self,
        filter: &EventFilter,
        after: Option<EventPosition>,
        most: usize,
    ) -> Result<Vec<RowLocation>> {
        let mut first = BinaryHeap::with_capacity(most + 1);
        for (group, span) in self.groups(filter, after)? {
            let last = first.peek().map(|last: &RowLocation| last.position);
            // Groups are sorted by their newest event: later ones have only older events.
            if first.len() == most && last.is_some_and(|last| span.end - 1 < last.timestamp.0) {
                break;
            }
            self.filter_group(group, filter, after, most, &mut first)?;
        }
        Ok(first.into_sorted_vec())
    }

    /// Returns the row groups that may have matching events, each with its time range, newest first.
    fn groups(
        &self,
        filter: &EventFilter,
        after: Option<EventPosition>,
    ) -> Result<Vec<(usize, Range<i64>)>> {
        let column = FIXED_COLUMNS.iter().position(|name| *name == "timestamp");
        let spans = self.metadata.metadata().row_groups().iter().map(|group| {
            match column.and_then(|at| group.column(at).statistics()) {
                Some(Statistics::Int64(range)) => {
                    (range.min_opt().copied(), range.max_opt().copied())
                }
                Some(_) | None => (None, None),
            }
        });
        let mut groups: Vec<_> = spans
            .map(|(min, max)| min.unwrap_or(i64::MIN)..max.unwrap_or(i64::MAX - 1) + 1)
            .enumerate()
            .filter(|(_, span)| span.start < filter.until && span.end > filter.from)
            .filter(|(_, span)| after.is_none_or(|after| span.start <= after.timestamp.0))
            .collect();
        groups.sort_by_key(|(_, span)| Reverse(span.end));
        let Some(user) = &filter.user_id else {
            return Ok(groups);
        };
        let mut of_user = Vec::with_capacity(groups.len());
        for (group, span) in groups {
            if self.may_have_user(group, user)? {
                of_user.push((group, span));
            }
        }
        Ok(of_user)
    }

    /// Whether a row group may have events of a user. Files of older versions do not say.
    fn may_have_user(&self, group: usize, user: &str) -> Result<bool> {
        let column = FIXED_COLUMNS.iter().position(|name| *name == "user_id");
        let group = self.metadata.metadata().row_group(group);
        let Some(column) = column.filter(|at| *at < group.num_columns()) else {
            return Ok(true);
        };
        let users = Sbbf::read_from_column_chunk(group.column(column), &self.file);
        let users = users.map_err(|why| damaged(&why))?;
        Ok(users.is_none_or(|users| users.check(user)))
    }

    /// Adds the matching rows of a group to the first `most`.
    fn filter_group(
        &self,
        group: usize,
        filter: &EventFilter,
        after: Option<EventPosition>,
        most: usize,
        first: &mut BinaryHeap<RowLocation>,
    ) -> Result<()> {
        let projection = Projection {
            line: false,
            event_id: false,
            user_id: filter.user_id.is_some(),
            attributes: Attributes::Only(Vec::new()),
        };
        let schema = self.metadata.metadata().file_metadata().schema_descr();
        let (mask, attributes) = columns(schema, &projection);
        let mut read = 0;
        for batch in self.read(group, mask, FILTER_ROWS, None)? {
            let events = block(&batch.map_err(|why| damaged(&why))?, &attributes)?;
            for row in 0..events.len() {
                let position = EventPosition::new(events.timestamp[row], events.rows[row]);
                let late = first.len() == most
                    && first.peek().is_some_and(|last| position > last.position);
                if !late
                    && after.is_none_or(|after| position > after)
                    && filter.matches(&events, row)
                {
                    first.push(RowLocation {
                        position,
                        group,
                        index_in_group: read + row,
                    });
                    if first.len() > most {
                        first.pop();
                    }
                }
            }
            read += events.len();
        }
        Ok(())
    }

    /// Returns the number of rows to read with all columns in one step.
    fn rows_per_read(&self) -> usize {
        rows_within(self.metadata.metadata(), READ_BYTES, READ_ROWS)
    }

    /// Appends rows with all columns, in the given order, until the text exceeds a page.
    fn read_rows(&self, rows: &[RowLocation], into: &mut EventBlock) -> Result<()> {
        let schema = self.metadata.metadata().file_metadata().schema_descr();
        let (mask, attributes) = columns(schema, &Projection::ALL);
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for row in rows {
            groups
                .entry(row.group)
                .or_default()
                .push(row.index_in_group);
        }
        let mut blocks: Vec<EventBlock> = Vec::new();
        // Row number to (block, index).
        let mut index: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (group, mut in_group) in groups {
            in_group.sort_unstable();
            for batch in self.read(group, mask.clone(), self.rows_per_read(), Some(&in_group))? {
                let events = block(&batch.map_err(|why| damaged(&why))?, &attributes)?;
                let numbered = events.rows.iter().enumerate();
                index.extend(numbered.map(|(at, row)| (*row, (blocks.len(), at))));
                blocks.push(events);
            }
        }
        for row in rows {
            let (block, at) = index
                .get(&row.position.row)
                .ok_or_else(|| damaged(&"a row is not where it was"))?;
            into.push_from(&blocks[*block], *at);
            if into.text_bytes() >= EVENT_PAGE_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Reads one row group, or only the rows with these sorted indices.
    fn read(
        &self,
        group: usize,
        mask: ProjectionMask,
        batch_rows: usize,
        rows: Option<&[usize]>,
    ) -> Result<ParquetRecordBatchReader> {
        let file = self
            .file
            .try_clone()
            .map_err(|why| super::io("an event file", why))?;
        let mut reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![group])
                .with_projection(mask)
                .with_batch_size(batch_rows);
        if let Some(rows) = rows {
            let all = self.metadata.metadata().row_group(group).num_rows();
            let ranges = rows.iter().map(|at| *at..at + 1);
            let all = usize::try_from(all).map_err(|why| damaged(&why))?;
            reader = reader.with_row_selection(RowSelection::from_consecutive_ranges(ranges, all));
        }
        reader.build().map_err(|why| damaged(&why))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::BlockWriter, *};
    use crate::model::{Columns, TextColumn};

    fn text(rows: usize, cell: &str) -> TextColumn {
        let mut column = TextColumn::default();
        (0..rows).for_each(|_| column.push(cell.as_bytes()));
        column
    }

    #[test]
    fn row_groups_without_a_user_are_not_read() {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join("events");
        let file = File::create(&path).expect("a file");
        let mut writer = BlockWriter::new(file, &Columns::default()).expect("begins");
        let block = EventBlock {
            rows: vec![1, 2],
            lines: vec![2, 3],
            event_id: text(2, ""),
            user_id: text(2, "ann"),
            event_type: text(2, "click"),
            timestamp: vec![1, 2],
            attributes: Vec::new(),
        };
        writer.write(block).expect("writes");
        writer.finish().expect("ends");
        let file = EventFileReader::open(&path).expect("opens");
        for (user, groups) in [("ann", 1), ("bob", 0)] {
            let filter = EventFilter {
                from: 0,
                until: 9,
                gaps: Vec::new(),
                user_id: Some(user.into()),
                event_type: None,
            };
            assert_eq!(file.groups(&filter, None).expect("reads").len(), groups);
        }
    }

    #[test]
    fn longer_rows_are_read_in_smaller_steps() {
        let home = tempfile::tempdir().expect("a directory");
        for (cell, expected) in [(10, READ_ROWS), (1 << 20, 3), (8 << 20, 1)] {
            let path = home.path().join(cell.to_string());
            let file = File::create(&path).expect("a file");
            let mut writer = BlockWriter::new(file, &Columns::default()).expect("begins");
            let block = EventBlock {
                rows: vec![1, 2],
                lines: vec![2, 3],
                event_id: text(2, ""),
                user_id: text(2, &"u".repeat(cell)),
                event_type: text(2, "click"),
                timestamp: vec![1, 2],
                attributes: Vec::new(),
            };
            writer.write(block).expect("writes");
            writer.finish().expect("ends");
            let file = EventFileReader::open(&path).expect("opens");
            assert_eq!(file.rows_per_read(), expected, "cells of {cell} bytes");
        }
    }
}
