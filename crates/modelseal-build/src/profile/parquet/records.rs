use parquet::basic::Repetition;
use parquet::column::reader::ColumnReaderImpl;
use parquet::data_type::DataType;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::super::ProfileError;
use super::value::{AsValue, Meaning, Value};

/// How many bytes of a column are decoded at once, as far as the file says how large its values are.
const MOST_BYTES: i64 = 4 << 20;

/// How many records are decoded at once.
const MOST_RECORDS: i64 = 4096;

/// One value of a record, or its absence, with its position in nested lists.
///
/// A record of a column that is not nested has one entry. For the levels, see Melnik et al., "Dremel: interactive
/// analysis of web-scale datasets", VLDB 2010.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    repetition: i16,
    /// The number of lists that contain it and are neither empty nor absent.
    lists: u8,
    pub(super) value: Option<Value<'a>>,
}

impl Entry<'_> {
    /// Appends what distinguishes it from other entries.
    pub(super) fn encode(&self, meaning: Meaning, bytes: &mut Vec<u8>) {
        bytes.extend([self.repetition as u8, self.lists, u8::from(self.value.is_some())]);
        if let Some(value) = &self.value {
            value.encode(meaning, bytes);
        }
    }
}

/// What is known of a column before it is read.
pub(super) struct Column<'a> {
    pub(super) descriptor: &'a ColumnDescriptor,
    pub(super) meaning: Meaning,
    /// By definition level: how many lists contain a value. Whether a column may have absent values is a property of
    /// the file, not of its rows.
    lists: Vec<u8>,
}

impl<'a> Column<'a> {
    pub(super) fn new(schema: &'a SchemaDescriptor, index: usize) -> Self {
        let descriptor = &schema.columns()[index];
        let mut lists: Vec<u8> = vec![0];
        let mut node = Some(schema.get_column_root(index));
        let mut parts = descriptor.path().parts().iter().skip(1);
        while let Some(current) = node {
            let info = current.get_basic_info();
            let repetition = if info.has_repetition() { info.repetition() } else { Repetition::REQUIRED };
            let open = lists.last().copied().unwrap_or(0);
            match repetition {
                Repetition::REQUIRED => {}
                Repetition::OPTIONAL => lists.push(open),
                Repetition::REPEATED => lists.push(open.saturating_add(1)),
            }
            node = match current.is_group() {
                true => parts
                    .next()
                    .and_then(|part| current.get_fields().iter().find(|field| field.name() == part))
                    .map(|field| &**field),
                false => None,
            };
        }
        Self { descriptor, meaning: Meaning::of(descriptor), lists }
    }
}

/// Passes the records of one column in one row group to `each`, one after the other.
pub(super) fn records<T>(
    mut reader: ColumnReaderImpl<T>,
    column: &Column<'_>,
    metadata: &ColumnChunkMetaData,
    mut each: impl FnMut(&[Entry<'_>]) -> Result<(), ProfileError>,
) -> Result<(), ProfileError>
where
    T: DataType,
    T::T: AsValue,
{
    let size = metadata.uncompressed_size() / metadata.num_values().max(1);
    let most = (MOST_BYTES / size.max(1)).clamp(1, MOST_RECORDS) as usize;
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
        let mut values = values.iter().map(|value| value.as_value(column.meaning));
        let mut record: Vec<Entry<'_>> = Vec::new();
        for place in 0..entries {
            // Levels that are always zero are not stored.
            let definition = definitions.get(place).copied().unwrap_or(0);
            let repetition = repetitions.get(place).copied().unwrap_or(0);
            if repetition == 0 && place > 0 {
                each(&record)?;
                record.clear();
            }
            let is_there = definition == column.descriptor.max_def_level();
            let value = if is_there { values.next() } else { None };
            let lists = column.lists.get(definition as usize).copied().unwrap_or(0);
            record.push(Entry { repetition, lists, value });
        }
        each(&record)?;
    }
}
