//! The Parquet file of a batch's events, which both stores produce: schema, encodings, writer and readers.
//! Format: <https://parquet.apache.org/docs/file-format/>; the footer carries `tallymill.schema=1`.

mod digest;
mod find;
mod read;

use std::{fs::File, io::Write, path::Path, sync::Arc};

use arrow_array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, TimeUnit};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
    },
    schema::types::ColumnPath,
};

use super::{Result, StoreError, corrupt, io};
use crate::model::{Columns, EventBlock, TextColumn, columns::FIXED_COLUMNS};

pub(super) use digest::{CheckedChunks, DigestWriter, open_checked};
pub(super) use find::find_events;
pub(super) use read::BlockReader;

/// Rows of a row group; a reader buffers one column of it.
const GROUP_ROWS: usize = 131_072;
/// Bytes of a row group, for files with long rows.
const GROUP_BYTES: usize = 64 << 20;
/// The footer key of the text bytes per row, averaged over the block with the longest rows. Readers size their steps by
/// it.
const ROW_BYTES: &str = "tallymill.row_bytes";

/// How an error names a file before [`of_file`] names it.
const UNNAMED: &str = "an event file";

fn damaged(why: &dyn std::fmt::Display) -> StoreError {
    corrupt(UNNAMED, why)
}

/// Adds the name of the file to the error of a damaged one.
pub(super) fn of_file(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Corrupt { what, why } if what == UNNAMED => corrupt(&name(path), &why),
        other => other,
    }
}

/// Returns the error of a failed write. Parquet wraps the error of the disk.
fn failed(why: ParquetError) -> StoreError {
    const WHAT: &str = "writing an event file";
    match why {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(why) => io(WHAT, *why),
            Err(source) => StoreError::Unavailable { what: WHAT, source },
        },
        other => StoreError::Unavailable {
            what: WHAT,
            source: Box::new(other),
        },
    }
}

/// Returns how errors name a file: by its path within the data directory, whose own path stays private.
fn name(path: &Path) -> String {
    let file = path.file_name().unwrap_or_default().display();
    format!("the event file batches/{file}")
}

/// Opens a complete file.
fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|why| match why.kind() {
        std::io::ErrorKind::NotFound => StoreError::Missing { what: name(path) },
        _ => read_failed(why),
    })
}

pub(super) fn read_failed(why: std::io::Error) -> StoreError {
    io("reading an event file", why)
}

/// Writes blocks to a file.
pub(super) struct BlockWriter<W: Write + Send> {
    schema: Arc<Schema>,
    out: ArrowWriter<W>,
    /// Text bytes per row, averaged over the block with the longest rows so far.
    row_bytes: usize,
}

impl<W: Write + Send> BlockWriter<W> {
    pub(super) fn new(out: W, columns: &Columns) -> Result<Self> {
        let schema = Arc::new(schema(&columns.stored_attributes()));
        let out =
            ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties())).map_err(failed)?;
        Ok(Self {
            schema,
            out,
            row_bytes: 0,
        })
    }

    pub(super) fn write(&mut self, block: EventBlock) -> Result<()> {
        let row_bytes = block.text_bytes().div_ceil(block.len().max(1));
        self.row_bytes = self.row_bytes.max(row_bytes);
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

    /// Returns the output, which may be drained: the writer never reads it back.
    pub(super) fn out(&mut self) -> &mut W {
        self.out.inner_mut()
    }

    /// Writes the footer.
    pub(super) fn finish(mut self) -> Result<W> {
        let row_bytes = KeyValue::new(ROW_BYTES.into(), self.row_bytes.to_string());
        self.out.append_key_value_metadata(row_bytes);
        self.out.into_inner().map_err(failed)
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
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(zstd))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_max_row_group_bytes(Some(GROUP_BYTES))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "tallymill.schema".into(),
            "1".to_owned(),
        )]));
    for numbers in ["row", "line", "timestamp"] {
        builder = builder
            .set_column_dictionary_enabled(column(numbers), false)
            .set_column_encoding(column(numbers), Encoding::DELTA_BINARY_PACKED);
    }
    // Ids are unique: a dictionary would be built and discarded.
    builder
        .set_column_dictionary_enabled(column("event_id"), false)
        .set_column_encoding(column("event_id"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .build()
}
