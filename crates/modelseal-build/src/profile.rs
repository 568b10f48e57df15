//! Describes the records of a data set: how many there are, how often each label occurs, their times, and which records
//! they are.
//!
//! A profile needs one streaming pass, which shares the read with hashing, and bounded memory. Profiles of the parts of
//! a data set merge into the profile of the whole, in any order.

mod csv;
mod format;
mod formats;
mod jsonl;
mod labels;
#[cfg(feature = "parquet")]
mod parquet;
mod sketch;
mod time;
mod timeline;

use std::io::{self, Write};

use jiff::Timestamp;

use format::{Reading, RecordStream};
use formats::reading_of;
use labels::Labels;
use modelseal_format::digest::Consumer;
use modelseal_format::manifest::{LONGEST_EXAMPLE, MOST_EXAMPLES, RowSketch, TimeForms, Timeline};
use sketch::Sketch;
use time::{Form, TimeReader};
use timeline::Buckets;

pub use formats::{count_file, is_counted, known_endings, needs_second_read};
pub use sketch::{Overlap, overlap};

/// Longest record and longest header line, in bytes.
const LONGEST_RECORD: usize = 16 << 20;

/// The columns to profile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Columns {
    pub label: Option<String>,
    pub timestamp: Option<String>,
}

impl Columns {
    /// Whether no column is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Why the records of a file cannot be counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    #[error(
        "there is no column {}; the columns are {}",
        modelseal_format::display::name(name),
        list(columns)
    )]
    NoColumn { name: String, columns: Vec<String> },
    #[error("two columns are named {}", modelseal_format::display::name(.0))]
    TwoColumns(String),
    #[error("line {line} has {found} fields, the header has {expected}")]
    Ragged { line: u64, found: usize, expected: usize },
    #[error("the record at line {0} is longer than 16 MiB")]
    TooLong(u64),
    #[error("line {0} is not UTF-8")]
    NotUtf8(u64),
    #[error("line {line} is not a JSON object: {reason}")]
    NotAnObject { line: u64, reason: String },
    #[error("the {what} at line {line} is a list or an object")]
    NotAValue { line: u64, what: &'static str },
    #[error("the gzip stream is damaged: {0}")]
    Gzip(String),
    #[error("the Parquet file is damaged, or uses an unsupported feature: {0}")]
    Parquet(String),
    #[error(
        "the column {} is of type {found}, which cannot be read as {role}",
        modelseal_format::display::name(name)
    )]
    ColumnType { name: String, found: String, role: &'static str },
    #[error("the label of row {0} is not UTF-8")]
    LabelNotUtf8(u64),
}

fn list(names: &[String]) -> String {
    let shown: Vec<String> =
        names.iter().take(20).map(|name| modelseal_format::display::name(name)).collect();
    let more = if names.len() > 20 { ", …" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// The profile of a data set, or of a part of one.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Profile {
    pub rows: u64,
    /// Rows without a label.
    pub nulls: u64,
    labels: Labels,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// Rows without a readable time.
    pub unparsed: u64,
    /// The first few unreadable times, for messages.
    pub unparsed_examples: Vec<String>,
    pub time_forms: TimeForms,
    times: TimeReader,
    buckets: Buckets,
    sketch: Sketch,
}

/// The values of a row in the two profiled columns. The outer `None` means that the column was not requested.
#[derive(Debug, Clone, Copy, Default)]
struct Cells<'a> {
    label: Option<Option<&'a str>>,
    time: Option<Option<&'a str>>,
}

impl Profile {
    /// Rows by class; `None` if there were too many classes, or labels too long for a class.
    pub fn labels(&self) -> Option<std::collections::BTreeMap<String, u64>> {
        self.labels.counts()
    }

    /// How the rows and classes are distributed over time; `None` without a single readable time.
    pub fn timeline(&self) -> Option<Timeline> {
        self.buckets.timeline(&self.labels)
    }

    pub fn sketch(&self) -> RowSketch {
        self.sketch.sealed()
    }

    /// Pairs of classes that a person would take for one: they differ only in case and in white space at the ends.
    pub fn lookalikes(&self) -> Vec<(String, String)> {
        lookalikes(self.labels().unwrap_or_default().keys().map(String::as_str))
    }

    /// Adds the profile of another part.
    pub fn merge(&mut self, other: Profile) {
        self.rows += other.rows;
        self.nulls += other.nulls;
        self.unparsed += other.unparsed;
        self.time_forms.seconds += other.time_forms.seconds;
        self.time_forms.milliseconds += other.time_forms.milliseconds;
        self.time_forms.dates += other.time_forms.dates;
        for time in [other.oldest, other.newest].into_iter().flatten() {
            self.widen(time);
        }
        let room = MOST_EXAMPLES.saturating_sub(self.unparsed_examples.len());
        self.unparsed_examples.extend(other.unparsed_examples.into_iter().take(room));
        let classes = self.labels.merge(&other.labels);
        self.buckets.merge(&other.buckets, &classes);
        self.sketch.merge(&other.sketch);
    }

    /// Counts one row. `row` is its text without the line ending, by which the row is recognised again.
    fn count(&mut self, row: &[u8], cells: Cells<'_>) {
        self.count_hashed(sketch::hash(row), cells);
    }

    fn count_hashed(&mut self, hash: u64, cells: Cells<'_>) {
        self.rows += 1;
        self.sketch.add(hash);
        let class = cells.label.and_then(|label| self.count_label(label));
        if let Some(text) = cells.time {
            match text.and_then(|text| self.times.read(text)) {
                Some((time, form)) => self.count_time(time, form, class),
                None => self.count_unparsed(text),
            }
        }
    }

    /// The number of the class, if there is one.
    fn count_label(&mut self, label: Option<&str>) -> Option<usize> {
        match label {
            None | Some("") => {
                self.nulls += 1;
                None
            }
            Some(label) => self.labels.count(label),
        }
    }

    fn count_time(&mut self, time: Timestamp, form: Form, class: Option<usize>) {
        *form.of(&mut self.time_forms) += 1;
        self.widen(time);
        self.buckets.count(time.as_second(), class);
    }

    fn count_unparsed(&mut self, text: Option<&str>) {
        self.unparsed += 1;
        if self.unparsed_examples.len() < MOST_EXAMPLES {
            self.unparsed_examples.push(text.unwrap_or_default().chars().take(LONGEST_EXAMPLE).collect());
        }
    }

    fn widen(&mut self, time: Timestamp) {
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
    }
}

/// Pairs of names that a person would take for one: they differ only in case and in white space at the ends.
pub fn lookalikes<'a>(sorted: impl Iterator<Item = &'a str>) -> Vec<(String, String)> {
    let mut seen: std::collections::BTreeMap<String, &str> = Default::default();
    let mut pairs = Vec::new();
    for label in sorted {
        match seen.get(&label.trim().to_lowercase()) {
            Some(other) => pairs.push((other.to_string(), label.to_string())),
            None => {
                seen.insert(label.trim().to_lowercase(), label);
            }
        }
    }
    pairs
}

/// Counts the records of one file while it is hashed.
pub struct Profiler {
    decoder: Decoder,
    /// An error found while reading. Hashing continues, so that the file is read to its end either way.
    error: Option<ProfileError>,
}

enum Decoder {
    Plain(Records),
    Gzip(Box<flate2::write::MultiGzDecoder<Records>>),
}

/// Receives the decompressed text.
struct Records(Box<dyn RecordStream>);

/// Whether a panic on this thread is reported like any other error.
pub fn panics_are_errors() -> bool {
    #[cfg(feature = "parquet")]
    return std::thread::current().name() == Some(parquet::THREAD);
    #[cfg(not(feature = "parquet"))]
    false
}

impl Profiler {
    /// Returns `None` if the records of such a file are not counted while it is hashed.
    pub fn for_file(path: &str, columns: &Columns) -> Option<Self> {
        let (Reading::Stream(begin), compressed) = reading_of(path)? else { return None };
        let records = Records(begin(columns));
        let decoder = if compressed {
            Decoder::Gzip(Box::new(flate2::write::MultiGzDecoder::new(records)))
        } else {
            Decoder::Plain(records)
        };
        Some(Self { decoder, error: None })
    }

    /// Ends the last record.
    ///
    /// # Errors
    /// [`ProfileError`]: the first problem that was found.
    pub fn finish(self) -> Result<Profile, ProfileError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let records = match self.decoder {
            Decoder::Plain(records) => records,
            Decoder::Gzip(decoder) => decoder.finish().map_err(|error| profile_error(&error))?,
        };
        records.0.finish()
    }
}

impl Consumer for Profiler {
    fn consume(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.error.is_some() {
            return Ok(());
        }
        let result = match &mut self.decoder {
            Decoder::Plain(records) => records.write_all(chunk),
            Decoder::Gzip(decoder) => decoder.write_all(chunk),
        };
        self.error = result.err().map(|error| profile_error(&error));
        Ok(())
    }
}

impl Write for Records {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.push(text).map(|()| text.len()).map_err(io::Error::other)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns this module's own error, which the decoder passed through, or else the decoder's error.
fn profile_error(error: &io::Error) -> ProfileError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ProfileError>()) {
        Some(own) => own.clone(),
        None => ProfileError::Gzip(modelseal_format::display::message(&error)),
    }
}

#[cfg(test)]
mod tests;
