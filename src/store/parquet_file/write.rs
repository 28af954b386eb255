//! Writes the events of a batch. Columns are encoded while their rows arrive. Those of a wide file are collected and
//! encoded one after the other: an encoder with its dictionary and its compressor takes a few hundred kilobytes.

use std::{io::Write, sync::Arc};

use arrow_array::{ArrayRef, StringArray, TimestampMicrosecondArray, UInt32Array};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, FieldRef, Schema, TimeUnit};
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_writer::{
            ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves,
        },
    },
    basic::{Compression, Encoding, ZstdLevel},
    file::{
        metadata::KeyValue,
        properties::{EnabledStatistics, WriterProperties},
        writer::SerializedFileWriter,
    },
    schema::types::ColumnPath,
};

use super::{ROW_BYTES, Result, damaged, failed};
use crate::model::{Columns, EventBlock, TextColumn, columns::FIXED_COLUMNS};

/// Most rows of a row group; a reader buffers one column of it.
const GROUP_ROWS: usize = 131_072;
/// Most columns that are encoded while their rows arrive. Those of a wider file are collected first.
const NARROW_COLUMNS: usize = 24;
/// Bytes of the first row groups of a wide file, before they are encoded. A writer holds one group.
const GROUP_BYTES: usize = 6 << 20;
/// Row groups after which further ones are larger by [`GROUP_BYTES`]. The footer, held until the end of the file, has an
/// entry for each column of each group.
const GROWTH_GROUPS: usize = 16;
/// Most bytes of a row group, before they are encoded.
const MAX_GROUP_BYTES: usize = 32 << 20;
/// Share of the row groups without a user that a query for that user reads all the same.
const FALSE_MATCHES: f64 = 0.01;
/// Bytes of a value besides its text: its offset.
const OFFSET_BYTES: usize = size_of::<i32>();
/// Bytes of the row number, the line and the timestamp of an event.
const NUMBER_BYTES: usize = 2 * size_of::<u32>() + size_of::<i64>();

/// Writes blocks to a file.
pub(in crate::store) struct BlockWriter<W: Write + Send> {
    out: SerializedFileWriter<W>,
    columns: Vec<ColumnEncoder>,
    /// Rows and bytes of the row group in progress, before they are encoded.
    group_rows: usize,
    group_bytes: usize,
    /// Row groups written so far.
    groups: usize,
    /// Text bytes per row, averaged over the block with the longest rows so far.
    row_bytes: usize,
}

impl<W: Write + Send> BlockWriter<W> {
    pub(in crate::store) fn new(out: W, columns: &Columns) -> Result<Self> {
        let (schema, properties) = (schema(&columns.stored_attributes()), properties());
        let columns = schema.fields().iter();
        let columns = columns.map(|field| ColumnEncoder::new(field, &properties));
        let columns: Vec<_> = columns.collect::<Result<_>>()?;
        let out = ArrowWriter::try_new(out, Arc::new(schema), Some(properties)).map_err(failed)?;
        let (out, _) = out.into_serialized_writer().map_err(failed)?;
        Ok(Self {
            out,
            columns,
            group_rows: 0,
            group_bytes: 0,
            groups: 0,
            row_bytes: 0,
        })
    }

    pub(in crate::store) fn write(&mut self, block: EventBlock) -> Result<()> {
        let (rows, text_bytes) = (block.len(), block.text_bytes());
        self.row_bytes = self.row_bytes.max(text_bytes.div_ceil(rows.max(1)));
        if self.group_rows + rows > GROUP_ROWS {
            self.write_group()?;
        }
        let arrays = arrays(block)?;
        if arrays.len() != self.columns.len() {
            return Err(damaged(&"a block has other columns than the file"));
        }
        let (is_narrow, group) = (self.is_narrow(), self.groups);
        for (column, array) in self.columns.iter_mut().zip(arrays) {
            if is_narrow {
                column.encode(&array, group)?;
            } else {
                column.collected.push(array);
            }
        }
        self.group_rows += rows;
        self.group_bytes += text_bytes + rows * (NUMBER_BYTES + OFFSET_BYTES * self.columns.len());
        if self.group_bytes >= self.most_group_bytes() {
            self.write_group()?;
        }
        Ok(())
    }

    /// Whether all columns are encoded while their rows arrive.
    fn is_narrow(&self) -> bool {
        self.columns.len() <= NARROW_COLUMNS
    }

    fn most_group_bytes(&self) -> usize {
        let growth = 1 + self.groups / GROWTH_GROUPS;
        if self.is_narrow() {
            MAX_GROUP_BYTES
        } else {
            (growth * GROUP_BYTES).min(MAX_GROUP_BYTES)
        }
    }

    /// Ends the row group in progress.
    fn write_group(&mut self) -> Result<()> {
        if self.group_rows == 0 {
            return Ok(());
        }
        let mut out = self.out.next_row_group().map_err(failed)?;
        for column in &mut self.columns {
            for chunk in column.finish(self.groups)? {
                chunk.append_to_row_group(&mut out).map_err(failed)?;
            }
        }
        out.close().map_err(failed)?;
        self.groups += 1;
        (self.group_rows, self.group_bytes) = (0, 0);
        Ok(())
    }

    /// Returns the output, which may be drained: the writer never reads it back.
    pub(in crate::store) fn out(&mut self) -> &mut W {
        self.out.inner_mut()
    }

    /// Writes the last row group and the footer.
    pub(in crate::store) fn finish(mut self) -> Result<W> {
        self.write_group()?;
        let row_bytes = KeyValue::new(ROW_BYTES.into(), self.row_bytes.to_string());
        self.out.append_key_value_metadata(row_bytes);
        self.out.into_inner().map_err(failed)
    }
}

/// Encodes one column of each row group.
struct ColumnEncoder {
    field: FieldRef,
    encoders: ArrowRowGroupWriterFactory,
    /// Arrays of the row group in progress that are not encoded yet.
    collected: Vec<ArrayRef>,
    /// The encoder of the row group in progress, once it is needed.
    open: Vec<ArrowColumnWriter>,
}

impl ColumnEncoder {
    /// Creates an encoder of its own for a column. That of a complete schema has the compressors of all columns at once.
    fn new(field: &FieldRef, properties: &WriterProperties) -> Result<Self> {
        let schema = Arc::new(Schema::new([Arc::clone(field)]));
        let column = ArrowWriter::try_new(std::io::sink(), schema, Some(properties.clone()));
        let (_, encoders) = column
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(failed)?;
        Ok(Self {
            field: Arc::clone(field),
            encoders,
            collected: Vec::new(),
            open: Vec::new(),
        })
    }

    /// Encodes an array of a row group.
    fn encode(&mut self, array: &ArrayRef, group: usize) -> Result<()> {
        if self.open.is_empty() {
            let encoders = self.encoders.create_column_writers(group);
            self.open = encoders.map_err(failed)?;
        }
        let leaves = compute_leaves(&self.field, array).map_err(failed)?;
        for (encoder, leaf) in self.open.iter_mut().zip(leaves) {
            encoder.write(&leaf).map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the column of a row group. Each array is dropped once it is encoded.
    fn finish(&mut self, group: usize) -> Result<Vec<ArrowColumnChunk>> {
        for array in std::mem::take(&mut self.collected) {
            self.encode(&array, group)?;
        }
        let chunks = std::mem::take(&mut self.open).into_iter();
        let chunks = chunks.map(ArrowColumnWriter::close);
        chunks.map(|chunk| chunk.map_err(failed)).collect()
    }
}

/// Returns the columns of a block in the order of the schema.
fn arrays(block: EventBlock) -> Result<Vec<ArrayRef>> {
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
    Ok(columns)
}

fn text_array(column: TextColumn, nulls: Option<NullBuffer>) -> Result<ArrayRef> {
    let TextColumn { offsets, mut bytes } = column;
    if bytes.is_empty() {
        // The statistics compare every two texts. Without an allocation they would be at an address that is not mapped,
        // where the vector instructions of memcmp trap into microcode, even for zero bytes.
        bytes.reserve_exact(1);
    }
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
    // A query for one user skips the row groups without events of that user.
    builder = builder
        .set_column_bloom_filter_enabled(column("user_id"), true)
        .set_column_bloom_filter_fpp(column("user_id"), FALSE_MATCHES)
        .set_column_bloom_filter_max_ndv(column("user_id"), GROUP_ROWS as u64);
    // Ids are unique: a dictionary would be built and discarded.
    builder
        .set_column_dictionary_enabled(column("event_id"), false)
        .set_column_encoding(column("event_id"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .build()
}

#[cfg(test)]
mod tests {
    use arrow_array::Array;
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;
    use crate::model::ColumnRole;

    fn text(rows: usize, cell: &str) -> TextColumn {
        let mut column = TextColumn::default();
        (0..rows).for_each(|_| column.push(cell.as_bytes()));
        column
    }

    #[test]
    fn texts_of_an_empty_column_have_an_address() {
        let array = text_array(text(3, ""), None).expect("an array");
        // A dangling pointer has no allocation behind it.
        assert!(array.to_data().buffers()[1].capacity() > 0);
    }

    #[test]
    fn row_groups_of_a_wide_file_are_bounded_in_bytes() {
        const COLUMNS: usize = 500;
        let labels: Vec<_> = (0..COLUMNS).map(|n| format!("c{n}")).collect();
        let columns = Columns {
            roles: vec![ColumnRole::Attribute; COLUMNS],
            labels,
            hint: None,
        };
        let mut writer = BlockWriter::new(Vec::new(), &columns).expect("begins");
        for block in 0..80_u32 {
            let rows: Vec<_> = (block * 100 + 1..=block * 100 + 100).collect();
            let block = EventBlock {
                lines: rows.clone(),
                rows,
                event_id: text(100, ""),
                user_id: text(100, "u"),
                event_type: text(100, "click"),
                timestamp: vec![1; 100],
                attributes: vec![text(100, "12345"); COLUMNS],
            };
            writer.write(block).expect("writes");
            assert!(writer.group_bytes < GROUP_BYTES, "it is written before");
            let open = writer
                .columns
                .iter()
                .filter(|column| !column.open.is_empty());
            assert_eq!(open.count(), 0, "no encoder is kept");
        }
        let file = writer.finish().expect("ends");
        let file = SerializedFileReader::new(bytes::Bytes::from(file)).expect("opens");
        let groups: Vec<_> = (0..file.num_row_groups())
            .map(|at| file.metadata().row_group(at).num_rows())
            .collect();
        assert_eq!(groups.iter().sum::<i64>(), 8_000);
        assert!(groups.len() > 4, "{groups:?}");
    }
}
