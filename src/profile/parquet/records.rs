use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescriptor;

use super::super::ProfileError;
use super::value::{AsValue, Value, unit};

/// How much of a column is decoded at once, in bytes, as far as the file tells how large its values are.
const MOST_BYTES: i64 = 4 << 20;

/// How many records are decoded at once.
const MOST_RECORDS: i64 = 4096;

/// One value of a record, or its absence, with its place in nested lists.
///
/// A record of a column that is not nested has one entry. Levels: Melnik et al., "Dremel: interactive
/// analysis of web-scale datasets", VLDB 2010.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    repetition: i16,
    definition: i16,
    pub(super) value: Option<Value<'a>>,
}

impl Entry<'_> {
    /// Appends what makes it different from other entries.
    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.repetition.to_le_bytes());
        bytes.extend(self.definition.to_le_bytes());
        if let Some(value) = &self.value {
            value.encode(bytes);
        }
    }
}

/// Shows the records of one column in one row group, one after the other.
pub(super) fn records<T>(
    mut reader: ColumnReaderImpl<T>,
    column: &ColumnDescriptor,
    metadata: &ColumnChunkMetaData,
    mut each: impl FnMut(&[Entry<'_>]) -> Result<(), ProfileError>,
) -> Result<(), ProfileError>
where
    T: DataType,
    T::T: AsValue,
{
    let size = metadata.uncompressed_size() / metadata.num_values().max(1);
    let most = (MOST_BYTES / size.max(1)).clamp(1, MOST_RECORDS) as usize;
    let unit = unit(column);
    let (mut definitions, mut repetitions, mut values) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        definitions.clear();
        repetitions.clear();
        values.clear();
        let (count, _, entries) =
            reader.read_records(most, Some(&mut definitions), Some(&mut repetitions), &mut values)?;
        if count == 0 {
            return Ok(());
        }
        let mut values = values.iter().map(AsValue::as_value);
        let mut record: Vec<Entry<'_>> = Vec::new();
        for place in 0..entries {
            // Levels that are always zero are not stored.
            let definition = definitions.get(place).copied().unwrap_or(0);
            let repetition = repetitions.get(place).copied().unwrap_or(0);
            if repetition == 0 && place > 0 {
                each(&record)?;
                record.clear();
            }
            let value = if definition == column.max_def_level() { values.next() } else { None };
            let value = value.map(|value| value.in_nanoseconds(unit));
            record.push(Entry { repetition, definition, value });
        }
        each(&record)?;
    }
}
