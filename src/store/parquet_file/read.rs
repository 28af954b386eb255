//! From a file back to blocks, of the columns that are asked for.

use std::path::Path;

use arrow_array::{
    RecordBatch, StringArray,
    cast::AsArray,
    types::{TimestampMicrosecondType, UInt32Type},
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    file::metadata::ParquetMetaData,
};

use super::{ROW_BYTES, damaged, open};
use crate::{
    model::{EventBlock, TextColumn, receipt::FIXED_COLUMNS},
    store::{Attributes, Projection, Result},
};

/// Rows that a scan hands over at once.
const SCAN_ROWS: usize = 8_192;
/// Bytes of text that it hands over at once, about.
const SCAN_BYTES: usize = 8 << 20;
/// Bytes that a row is taken for in a file that does not say how long they are.
const UNKNOWN_BYTES: usize = 64 << 10;

/// Reads blocks, in row order.
pub(in crate::store) struct BlockReader {
    batches: ParquetRecordBatchReader,
    attributes: Places,
}

impl BlockReader {
    pub(in crate::store) fn open(path: &Path, projection: &Projection) -> Result<Self> {
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(open(path)?).map_err(|why| damaged(&why))?;
        let (mask, attributes) =
            columns(reader.metadata().file_metadata().schema_descr(), projection);
        let rows = match &projection.attributes {
            none if none.is_none() => SCAN_ROWS,
            Attributes::These(_) | Attributes::All => {
                rows_within(reader.metadata(), SCAN_BYTES, SCAN_ROWS)
            }
        };
        let batches = reader
            .with_projection(mask)
            .with_batch_size(rows)
            .build()
            .map_err(|why| damaged(&why))?;
        Ok(Self {
            batches,
            attributes,
        })
    }

    pub(in crate::store) fn next(&mut self) -> Result<Option<EventBlock>> {
        let next = self.batches.next().transpose();
        let next = next.map_err(|why| damaged(&why))?;
        next.map(|batch| block(&batch, &self.attributes))
            .transpose()
    }
}

/// Which attributes a batch has, and of how many.
pub(super) struct Places {
    read: Vec<usize>,
    all: usize,
}

/// The columns of a projection.
pub(super) fn columns(
    schema: &parquet::schema::types::SchemaDescriptor,
    projection: &Projection,
) -> (ProjectionMask, Places) {
    let fixed = FIXED_COLUMNS.iter().enumerate();
    let fixed = fixed.filter(|(_, name)| match **name {
        "line" => projection.line,
        "event_id" => projection.event_id,
        "user_id" => projection.user_id,
        _ => true,
    });
    let all = schema.num_columns().saturating_sub(FIXED_COLUMNS.len());
    let read: Vec<_> = (0..all)
        .filter(|at| projection.attributes.has(*at))
        .collect();
    let leaves = fixed.map(|(at, _)| at);
    let leaves = leaves.chain(read.iter().map(|at| at + FIXED_COLUMNS.len()));
    let mask = ProjectionMask::leaves(schema, leaves);
    (mask, Places { read, all })
}

/// As many rows of a file as have so many bytes of text, about, and `most` of them.
pub(super) fn rows_within(file: &ParquetMetaData, bytes: usize, most: usize) -> usize {
    let footer = file.file_metadata().key_value_metadata();
    let row_bytes = footer
        .into_iter()
        .flatten()
        .find(|pair| pair.key == ROW_BYTES);
    let row_bytes = row_bytes.and_then(|pair| pair.value.as_ref()?.parse::<usize>().ok());
    (bytes / row_bytes.unwrap_or(UNKNOWN_BYTES).max(1)).clamp(1, most)
}

/// The rows of a record batch.
pub(super) fn block(batch: &RecordBatch, attributes: &Places) -> Result<EventBlock> {
    let text = |name: &str| -> Result<TextColumn> {
        let column = batch.column_by_name(name);
        column.map_or_else(|| Ok(TextColumn::default()), text_column)
    };
    let numbers = |name: &str| {
        let column = batch.column_by_name(name)?;
        Some(column.as_primitive_opt::<UInt32Type>()?.values().to_vec())
    };
    let instants = batch
        .column_by_name("timestamp")
        .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    let mut block = EventBlock {
        rows: numbers("row").ok_or_else(|| damaged(&"no rows"))?,
        lines: numbers("line").unwrap_or_default(),
        event_id: text("event_id")?,
        user_id: text("user_id")?,
        event_type: text("event_type")?,
        timestamp: instants
            .ok_or_else(|| damaged(&"no timestamps"))?
            .values()
            .to_vec(),
        attributes: Vec::new(),
    };
    if !attributes.read.is_empty() {
        block.attributes = vec![TextColumn::default(); attributes.all];
        let first = batch.num_columns() - attributes.read.len();
        for (at, column) in attributes.read.iter().zip(&batch.columns()[first..]) {
            block.attributes[*at] = text_column(column)?;
        }
    }
    Ok(block)
}

fn text_column(column: &arrow_array::ArrayRef) -> Result<TextColumn> {
    let array: &StringArray = column
        .as_string_opt::<i32>()
        .ok_or_else(|| damaged(&"a column is not text"))?;
    let offsets = array.value_offsets();
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let bytes = &array.value_data()
        [usize::try_from(first).unwrap_or(0)..usize::try_from(last).unwrap_or(0)];
    Ok(TextColumn {
        offsets: offsets.iter().map(|at| at - first).collect(),
        bytes: bytes.to_vec(),
    })
}
