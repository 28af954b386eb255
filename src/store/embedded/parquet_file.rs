//! One batch's events as one Parquet file: its schema, its encodings, and the way back to blocks.
//! Format: <https://parquet.apache.org/docs/file-format/>; the footer carries `tallymill.schema=1`.

use std::{fs::File, path::Path, sync::Arc};

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array,
    cast::AsArray,
    types::{TimestampMicrosecondType, UInt32Type},
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::{
    arrow::{
        ArrowWriter, ProjectionMask,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};

use super::{corrupt, io};
use crate::{
    model::{Columns, EventBlock, TextColumn, receipt::FIXED_COLUMNS},
    store::{Projection, Result, StoreError},
};

/// Rows of a row group: what a reader must hold of one column.
const GROUP_ROWS: usize = 131_072;
/// Bytes of a row group, for files of wide rows.
const GROUP_BYTES: usize = 64 << 20;
/// Rows that a scan hands over at once.
const SCAN_ROWS: usize = 8_192;

fn damaged(why: &dyn std::fmt::Display) -> StoreError {
    corrupt("an event file", why)
}

fn failed(why: parquet::errors::ParquetError) -> StoreError {
    StoreError::Unavailable {
        what: "writing an event file",
        source: Box::new(why),
    }
}

/// Writes blocks into a file.
pub(super) struct BlockWriter {
    schema: Arc<Schema>,
    out: ArrowWriter<File>,
}

impl BlockWriter {
    pub(super) fn create(path: &Path, columns: &Columns) -> Result<Self> {
        let file = File::create(path).map_err(|why| io("an event file", why))?;
        let schema = Arc::new(schema(&columns.stored_attributes()));
        let out =
            ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties())).map_err(failed)?;
        Ok(Self { schema, out })
    }

    pub(super) fn write(&mut self, block: EventBlock) -> Result<()> {
        let EventBlock {
            rows,
            lines,
            event_id,
            user_id,
            event_type,
            timestamp,
            attributes,
        } = block;
        let has_id = NullBuffer::new(BooleanBuffer::collect_bool(event_id.len(), |at| {
            !event_id.get(at).is_empty()
        }));
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(UInt32Array::from(rows)),
            Arc::new(UInt32Array::from(lines)),
            text_array(event_id, Some(has_id))?,
            text_array(user_id, None)?,
            text_array(event_type, None)?,
            Arc::new(TimestampMicrosecondArray::from(timestamp).with_timezone("UTC")),
        ];
        for attribute in attributes {
            columns.push(text_array(attribute, None)?);
        }
        let batch =
            RecordBatch::try_new(Arc::clone(&self.schema), columns).map_err(|why| damaged(&why))?;
        self.out.write(&batch).map_err(failed)
    }

    /// Writes the footer; `sync` makes it durable.
    pub(super) fn finish(self, sync: bool) -> Result<()> {
        let file = self.out.into_inner().map_err(failed)?;
        if sync {
            file.sync_all().map_err(|why| io("an event file", why))?;
        }
        Ok(())
    }
}

/// Reads blocks back, in row order.
pub(super) struct BlockReader(ParquetRecordBatchReader);

impl BlockReader {
    pub(super) fn open(path: &Path, projection: Projection) -> Result<Self> {
        let file = File::open(path).map_err(|why| match why.kind() {
            std::io::ErrorKind::NotFound => StoreError::Missing {
                what: format!(
                    "the event file {}",
                    path.file_name().unwrap_or_default().display()
                ),
            },
            _ => io("an event file", why),
        })?;
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|why| damaged(&why))?;
        let mut wanted = vec!["row", "event_type", "timestamp"];
        wanted.extend(projection.event_id.then_some("event_id"));
        wanted.extend(projection.user_id.then_some("user_id"));
        let mask = ProjectionMask::columns(reader.parquet_schema(), wanted);
        let reader = reader
            .with_projection(mask)
            .with_batch_size(SCAN_ROWS)
            .build()
            .map_err(|why| damaged(&why))?;
        Ok(Self(reader))
    }

    pub(super) fn next(&mut self) -> Result<Option<EventBlock>> {
        self.0
            .next()
            .map(|batch| block(&batch.map_err(|why| damaged(&why))?))
            .transpose()
    }
}

fn block(batch: &RecordBatch) -> Result<EventBlock> {
    let text = |name: &str| -> Result<TextColumn> {
        let Some(column) = batch.column_by_name(name) else {
            return Ok(TextColumn::default());
        };
        let column = column
            .as_string_opt::<i32>()
            .ok_or_else(|| damaged(&format!("`{name}` is not text")))?;
        Ok(text_column(column))
    };
    let rows = batch
        .column_by_name("row")
        .and_then(|c| c.as_primitive_opt::<UInt32Type>())
        .ok_or_else(|| damaged(&"no rows"))?;
    let instants = batch
        .column_by_name("timestamp")
        .and_then(|c| c.as_primitive_opt::<TimestampMicrosecondType>());
    Ok(EventBlock {
        rows: rows.values().to_vec(),
        lines: Vec::new(),
        event_id: text("event_id")?,
        user_id: text("user_id")?,
        event_type: text("event_type")?,
        timestamp: instants
            .ok_or_else(|| damaged(&"no timestamps"))?
            .values()
            .to_vec(),
        attributes: Vec::new(),
    })
}

fn text_column(array: &StringArray) -> TextColumn {
    let offsets = array.value_offsets();
    let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
    let bytes = &array.value_data()
        [usize::try_from(first).unwrap_or(0)..usize::try_from(last).unwrap_or(0)];
    TextColumn {
        offsets: offsets.iter().map(|at| at - first).collect(),
        bytes: bytes.to_vec(),
    }
}

fn text_array(column: TextColumn, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let TextColumn { offsets, bytes } = column;
    let array = StringArray::try_new(
        OffsetBuffer::new(ScalarBuffer::from(offsets)),
        Buffer::from_vec(bytes),
        nulls,
    );
    Ok(Arc::new(array.map_err(|why| damaged(&why))?))
}

fn schema(attributes: &[String]) -> Schema {
    let fixed = FIXED_COLUMNS.iter().map(|name| {
        let kind = match *name {
            "row" | "line" => DataType::UInt32,
            "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            _ => DataType::Utf8,
        };
        Field::new(*name, kind, *name == "event_id")
    });
    let rest = attributes
        .iter()
        .map(|name| Field::new(name, DataType::Utf8, false));
    Schema::new(fixed.chain(rest).collect::<Vec<_>>())
}

fn properties() -> WriterProperties {
    let zstd = ZstdLevel::try_new(1).expect("level 1 is within 1 to 22");
    let column = |name: &str| ColumnPath::from(name);
    let mut to = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "tallymill.schema".into(),
            "1".to_owned(),
        )]));
    for numbers in ["row", "line", "timestamp"] {
        to = to
            .set_column_dictionary_enabled(column(numbers), false)
            .set_column_encoding(column(numbers), Encoding::DELTA_BINARY_PACKED);
    }
    // Ids are all different: a dictionary would only be built and thrown away.
    to.set_column_dictionary_enabled(column("event_id"), false)
        .set_column_encoding(column("event_id"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .build()
}
