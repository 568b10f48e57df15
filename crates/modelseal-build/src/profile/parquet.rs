//! Counts the records of Parquet files.
//!
//! The directory (footer) of such a file is at its end, so its records cannot be counted while it is hashed. The file
//! is read column by column. Memory holds a page of one column, and twelve bytes for each row of a row group.

mod footer;
mod records;
mod value;

use std::fmt::Display;
use std::fs::File;

use parquet::basic::ConvertedType;
use parquet::column::reader::ColumnReader;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::schema::types::{ColumnDescriptor, SchemaDescriptor};

use super::format::{Reading, RecordFormat};
use super::{Columns, Profile, ProfileError, sketch};
use records::{Column, Entry, records};
use value::{can_be_label, can_be_time};

/// The name of threads that run the Parquet library. The library panics on some damaged files. On these threads, a
/// panic prints nothing and becomes an ordinary error.
pub(super) const THREAD: &str = "parquet";

pub(super) struct Parquet;

impl RecordFormat for Parquet {
    fn endings(&self) -> &'static [&'static str] {
        &[".parquet"]
    }

    fn reading(&self) -> Reading {
        Reading::File(count)
    }
}

/// Counts the records of an open file.
///
/// # Errors
/// [`ProfileError`], also if the file is damaged.
fn count(file: File, columns: &Columns) -> Result<Profile, ProfileError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(THREAD.to_string());
        let thread = thread.spawn_scoped(scope, || read(file, columns)).map_err(|error| damaged(&error))?;
        thread.join().unwrap_or_else(|_| Err(damaged(&"its parts contradict each other")))
    })
}

fn read(file: File, columns: &Columns) -> Result<Profile, ProfileError> {
    match footer::check(&file).map_err(|error| damaged(&error))? {
        Ok(()) => {}
        Err(footer::Refused::Deep) => {
            return Err(damaged(&"its columns are nested more than 100 levels deep"));
        }
        Err(footer::Refused::Long) => return Err(damaged(&"its footer is longer than 256 MiB")),
    }
    let file = SerializedFileReader::new(file)?;
    let schema = file.metadata().file_metadata().schema_descr();
    let label = find(schema, columns.label.as_deref(), "labels", can_be_label)?;
    let time = find(schema, columns.timestamp.as_deref(), "times", can_be_time)?;
    let mut profile = Profile::default();
    for number in 0..file.num_row_groups() {
        let reader = file.get_row_group(number)?;
        let group = RowGroup { reader: &*reader, schema };
        // A label belongs to the time of its row, so the label column is read before all others, and again in its turn.
        let classes = match label {
            Some(index) => group.classes(index, &mut profile)?,
            None => Vec::new(),
        };
        if let Some(index) = time {
            group.times(index, &classes, &mut profile)?;
        }
        for hash in group.hashes()? {
            profile.rows += 1;
            profile.sketch.add(hash);
        }
    }
    match u64::try_from(file.metadata().file_metadata().num_rows()) {
        Ok(rows) if rows == profile.rows => Ok(profile),
        _ => Err(damaged(&UNEVEN)),
    }
}

/// The index of a column.
fn find(
    schema: &SchemaDescriptor,
    name: Option<&str>,
    role: &'static str,
    can_be: fn(&ColumnDescriptor) -> bool,
) -> Result<Option<usize>, ProfileError> {
    let Some(name) = name else { return Ok(None) };
    let mut found = schema.columns().iter().enumerate().filter(|(_, column)| column.path().string() == name);
    let Some((index, column)) = found.next() else {
        let columns = schema.columns().iter().map(|column| column.path().string()).collect();
        return Err(ProfileError::NoColumn { name: name.to_string(), columns });
    };
    if found.next().is_some() {
        return Err(ProfileError::TwoColumns(name.to_string()));
    }
    match column.max_rep_level() == 0 && can_be(column) {
        true => Ok(Some(index)),
        false => Err(ProfileError::ColumnType { name: name.to_string(), found: type_of(column), role }),
    }
}

/// The type of a column, as named in the format's specification.
fn type_of(column: &ColumnDescriptor) -> String {
    match (column.max_rep_level(), column.converted_type()) {
        (1.., _) => "LIST".to_string(),
        (_, ConvertedType::NONE) => column.physical_type().to_string(),
        (_, converted) => converted.to_string(),
    }
}

struct RowGroup<'a> {
    reader: &'a dyn RowGroupReader,
    schema: &'a SchemaDescriptor,
}

impl RowGroup<'_> {
    /// Counts the labels. Returns the class number of each row.
    fn classes(&self, index: usize, profile: &mut Profile) -> Result<Vec<Option<u16>>, ProfileError> {
        let mut classes = Vec::new();
        self.read(index, |entries| {
            let label = entries.first().and_then(|entry| entry.value).and_then(|value| value.label());
            let row = profile.rows + classes.len() as u64 + 1;
            let label = label.transpose().map_err(|_| ProfileError::LabelNotUtf8(row))?;
            let class = profile.count_label(label.as_deref());
            classes.push(class.and_then(|class| class.try_into().ok()));
            Ok(())
        })?;
        Ok(classes)
    }

    fn times(
        &self,
        index: usize,
        classes: &[Option<u16>],
        profile: &mut Profile,
    ) -> Result<(), ProfileError> {
        let mut row = 0;
        self.read(index, |entries| {
            let class = classes.get(row).copied().flatten().map(usize::from);
            row += 1;
            match entries.first().and_then(|entry| entry.value) {
                None => profile.count_unparsed(None),
                Some(value) => match value.time(&mut profile.times) {
                    Ok((time, form)) => profile.count_time(time, form, class),
                    Err(text) => profile.count_unparsed(Some(&text)),
                },
            }
            Ok(())
        })
    }

    /// Returns one hash for each row, of its values in all columns. The hash does not depend on names, nor on how the
    /// file is divided, compressed and encoded.
    fn hashes(&self) -> Result<Vec<u64>, ProfileError> {
        let mut hashes: Vec<u64> = Vec::new();
        let mut bytes = Vec::new();
        for index in 0..self.schema.num_columns() {
            let mut row = 0;
            let meaning = Column::new(self.schema, index).meaning;
            self.read(index, |entries| {
                if index == 0 {
                    hashes.push(0);
                }
                let Some(hash) = hashes.get_mut(row) else { return Err(damaged(&UNEVEN)) };
                row += 1;
                bytes.clear();
                bytes.extend(hash.to_le_bytes());
                entries.iter().for_each(|entry| entry.encode(meaning, &mut bytes));
                *hash = sketch::hash(&bytes);
                Ok(())
            })?;
            if row != hashes.len() {
                return Err(damaged(&UNEVEN));
            }
        }
        match u64::try_from(self.reader.metadata().num_rows()) {
            Ok(rows) if rows == hashes.len() as u64 => Ok(hashes),
            _ => Err(damaged(&UNEVEN)),
        }
    }

    /// Passes the records of a column to `each`, one after the other.
    fn read(
        &self,
        index: usize,
        each: impl FnMut(&[Entry<'_>]) -> Result<(), ProfileError>,
    ) -> Result<(), ProfileError> {
        let column = &Column::new(self.schema, index);
        let metadata = self.reader.metadata().column(index);
        if metadata.num_values() / self.reader.metadata().num_rows().max(1) > MOST_ENTRIES {
            return Err(damaged(&"a row has more than a million values in one column"));
        }
        match self.reader.get_column_reader(index)? {
            ColumnReader::BoolColumnReader(reader) => records(reader, column, metadata, each),
            ColumnReader::Int32ColumnReader(reader) => records(reader, column, metadata, each),
            ColumnReader::Int64ColumnReader(reader) => records(reader, column, metadata, each),
            ColumnReader::Int96ColumnReader(reader) => records(reader, column, metadata, each),
            ColumnReader::FloatColumnReader(reader) => records(reader, column, metadata, each),
            ColumnReader::DoubleColumnReader(reader) => records(reader, column, metadata, each),
            ColumnReader::ByteArrayColumnReader(reader) => records(reader, column, metadata, each),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => records(reader, column, metadata, each),
        }
    }
}

/// Most values that a row may have in one column, on average: they are in memory at the same time.
const MOST_ENTRIES: i64 = 1_000_000;

const UNEVEN: &str = "its columns have different numbers of rows";

fn damaged(reason: &dyn Display) -> ProfileError {
    ProfileError::Parquet(modelseal_format::display::message(reason))
}

impl From<ParquetError> for ProfileError {
    fn from(error: ParquetError) -> Self {
        let text = error.to_string();
        // The library's prefixes say nothing: `Parquet error: `, `EOF: `.
        if text.contains("brotli") {
            return damaged(&"it is compressed with Brotli: write it with zstd or snappy");
        }
        let said = ["Parquet error: ", "EOF: "].iter().find_map(|prefix| text.strip_prefix(prefix));
        damaged(&said.unwrap_or(&text))
    }
}
