//! The newest events of a file that match a filter: first their places, found by instant and filter in bounded memory,
//! then these rows whole.

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
    file::statistics::Statistics,
};

use super::{
    damaged, open,
    read::{block, columns, rows_within},
};
use crate::{
    model::{EventBlock, receipt::FIXED_COLUMNS},
    store::{
        Attributes, EventFilter, FOUND_BYTES, Found, Position, Projection, Result, WHOLE_BYTES,
        WHOLE_ROWS,
    },
};

/// Rows looked at at once.
const LOOK_ROWS: usize = 8_192;

/// The first `limit` matching events after a position.
pub(in crate::store) fn newest(
    path: &Path,
    wanted: &EventFilter,
    after: Option<Position>,
    limit: usize,
) -> Result<Found> {
    let file = Opened::new(path)?;
    let mut places = file.places(wanted, after, limit + 1)?;
    let more = places.len() > limit;
    places.truncate(limit);
    let mut found = Found {
        events: EventBlock::default(),
        more,
    };
    for part in places.chunks(file.at_once()) {
        file.whole(part, &mut found.events)?;
        if found.events.text_bytes() >= FOUND_BYTES {
            found.more |= found.events.len() < places.len();
            break;
        }
    }
    Ok(found)
}

/// Where a row is: in which row group, and the how-manieth there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Placed {
    position: Position,
    group: usize,
    at: usize,
}

struct Opened {
    file: File,
    metadata: ArrowReaderMetadata,
}

impl Opened {
    fn new(path: &Path) -> Result<Self> {
        let file = open(path)?;
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
        Ok(Self {
            metadata: metadata.map_err(|why| damaged(&why))?,
            file,
        })
    }

    /// The places of the first `most` events that match, in order.
    fn places(
        &self,
        wanted: &EventFilter,
        after: Option<Position>,
        most: usize,
    ) -> Result<Vec<Placed>> {
        let mut first = BinaryHeap::with_capacity(most + 1);
        for (group, span) in self.groups(wanted, after) {
            let worst = first.peek().map(|worst: &Placed| worst.position);
            // Groups come by their newest event: what is in a later one comes later still.
            if first.len() == most && worst.is_some_and(|worst| span.end - 1 < worst.timestamp.0) {
                break;
            }
            self.look(group, wanted, after, most, &mut first)?;
        }
        Ok(first.into_sorted_vec())
    }

    /// The row groups that may hold events that match, by their newest instant, each with its span.
    fn groups(&self, wanted: &EventFilter, after: Option<Position>) -> Vec<(usize, Range<i64>)> {
        let column = FIXED_COLUMNS.iter().position(|name| *name == "timestamp");
        let spans = self.metadata.metadata().row_groups().iter().map(|group| {
            match column.and_then(|at| group.column(at).statistics()) {
                Some(Statistics::Int64(known)) => {
                    (known.min_opt().copied(), known.max_opt().copied())
                }
                Some(_) | None => (None, None),
            }
        });
        let mut groups: Vec<_> = spans
            .map(|(min, max)| min.unwrap_or(i64::MIN)..max.unwrap_or(i64::MAX - 1) + 1)
            .enumerate()
            .filter(|(_, span)| span.start < wanted.until && span.end > wanted.from)
            .filter(|(_, span)| after.is_none_or(|after| span.start <= after.timestamp.0))
            .collect();
        groups.sort_by_key(|(_, span)| Reverse(span.end));
        groups
    }

    fn look(
        &self,
        group: usize,
        wanted: &EventFilter,
        after: Option<Position>,
        most: usize,
        first: &mut BinaryHeap<Placed>,
    ) -> Result<()> {
        let projection = Projection {
            line: false,
            event_id: false,
            user_id: wanted.user_id.is_some(),
            attributes: Attributes::These(Vec::new()),
        };
        let schema = self.metadata.metadata().file_metadata().schema_descr();
        let (mask, attributes) = columns(schema, &projection);
        let mut at = 0;
        for batch in self.read(group, mask, LOOK_ROWS, None)? {
            let events = block(&batch.map_err(|why| damaged(&why))?, &attributes)?;
            for row in 0..events.len() {
                let position = Position::new(events.timestamp[row], events.rows[row]);
                let late = first.len() == most
                    && first.peek().is_some_and(|worst| position > worst.position);
                if !late && after.is_none_or(|after| position > after) && wanted.takes(&events, row)
                {
                    first.push(Placed {
                        position,
                        group,
                        at: at + row,
                    });
                    if first.len() > most {
                        first.pop();
                    }
                }
            }
            at += events.len();
        }
        Ok(())
    }

    /// Rows that are read whole at once: each may be as long as a record.
    fn at_once(&self) -> usize {
        rows_within(self.metadata.metadata(), WHOLE_BYTES, WHOLE_ROWS)
    }

    /// Appends these rows, in the order given, until there is enough text.
    fn whole(&self, places: &[Placed], into: &mut EventBlock) -> Result<()> {
        let schema = self.metadata.metadata().file_metadata().schema_descr();
        let (mask, attributes) = columns(schema, &Projection::WHOLE);
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for place in places {
            groups.entry(place.group).or_default().push(place.at);
        }
        let mut read: Vec<EventBlock> = Vec::new();
        let mut where_is: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (group, mut rows) in groups {
            rows.sort_unstable();
            for batch in self.read(group, mask.clone(), self.at_once(), Some(&rows))? {
                let events = block(&batch.map_err(|why| damaged(&why))?, &attributes)?;
                let numbered = events.rows.iter().enumerate();
                where_is.extend(numbered.map(|(at, row)| (*row, (read.len(), at))));
                read.push(events);
            }
        }
        for place in places {
            let (block, at) = where_is
                .get(&place.position.row)
                .ok_or_else(|| damaged(&"a row is not where it was"))?;
            into.push_from(&read[*block], *at);
            if into.text_bytes() >= FOUND_BYTES {
                break;
            }
        }
        Ok(())
    }

    /// Reads one row group, or some rows of it.
    fn read(
        &self,
        group: usize,
        mask: ProjectionMask,
        at_once: usize,
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
                .with_batch_size(at_once);
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
    fn the_longer_the_rows_the_fewer_are_read_whole_at_once() {
        let home = tempfile::tempdir().expect("a directory");
        for (cell, expected) in [(10, WHOLE_ROWS), (1 << 20, 3), (8 << 20, 1)] {
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
            let file = Opened::new(&path).expect("opens");
            assert_eq!(file.at_once(), expected, "cells of {cell} bytes");
        }
    }
}
