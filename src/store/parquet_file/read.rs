//! Reads the selected columns of a file as blocks, in row order.

use std::fs::File;

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

use super::{ROW_BYTES, damaged};
use crate::{
    model::{EventBlock, TextColumn, columns::FIXED_COLUMNS},
    store::{Attributes, Projection, Result},
};

/// Most rows of a block.
const SCAN_ROWS: usize = 8_192;
/// Approximate text bytes of a block.
const SCAN_BYTES: usize = 8 << 20;
/// Assumed text bytes per row of a file whose footer does not say.
const DEFAULT_ROW_BYTES: usize = 64 << 10;

/// Reads blocks, in row order.
pub(in crate::store) struct BlockReader {
    batches: ParquetRecordBatchReader,
    attributes: ReadAttributes,
}

impl BlockReader {
    /// Reads a complete file.
    pub(in crate::store) fn new(file: File, projection: &Projection) -> Result<Self> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|why| damaged(&why))?;
        let (mask, attributes) =
            columns(reader.metadata().file_metadata().schema_descr(), projection);
        let rows = match &projection.attributes {
            none if none.is_empty() => SCAN_ROWS,
            Attributes::Only(_) | Attributes::All => {
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

/// The attributes that a reader reads.
pub(super) struct ReadAttributes {
    /// Their indices.
    indices: Vec<usize>,
    /// The number of attributes in the file.
    total: usize,
}

/// Returns the columns of a projection.
pub(super) fn columns(
    schema: &parquet::schema::types::SchemaDescriptor,
    projection: &Projection,
) -> (ProjectionMask, ReadAttributes) {
    let fixed = FIXED_COLUMNS.iter().enumerate();
    let fixed = fixed.filter(|(_, name)| match **name {
        "line" => projection.line,
        "event_id" => projection.event_id,
        "user_id" => projection.user_id,
        _ => true,
    });
    let total = schema.num_columns().saturating_sub(FIXED_COLUMNS.len());
    let indices: Vec<_> = (0..total)
        .filter(|at| projection.attributes.contains(*at))
        .collect();
    let leaves = fixed.map(|(at, _)| at);
    let leaves = leaves.chain(indices.iter().map(|at| at + FIXED_COLUMNS.len()));
    let mask = ProjectionMask::leaves(schema, leaves);
    (mask, ReadAttributes { indices, total })
}

/// Returns how many rows of a file have about `bytes` of text, from 1 to `most`.
pub(super) fn rows_within(file: &ParquetMetaData, bytes: usize, most: usize) -> usize {
    let footer = file.file_metadata().key_value_metadata();
    let row_bytes = footer
        .into_iter()
        .flatten()
        .find(|pair| pair.key == ROW_BYTES);
    let row_bytes = row_bytes.and_then(|pair| pair.value.as_ref()?.parse::<usize>().ok());
    (bytes / row_bytes.unwrap_or(DEFAULT_ROW_BYTES).max(1)).clamp(1, most)
}

/// Converts a record batch to a block.
pub(super) fn block(batch: &RecordBatch, attributes: &ReadAttributes) -> Result<EventBlock> {
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
    if !attributes.indices.is_empty() {
        block.attributes = vec![TextColumn::default(); attributes.total];
        let first = batch.num_columns() - attributes.indices.len();
        for (at, column) in attributes.indices.iter().zip(&batch.columns()[first..]) {
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
